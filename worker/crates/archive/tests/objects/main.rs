//! Objects as others read them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bytes;
mod fixtures;
mod judged;
mod judges;
mod meaning;
mod refused;
mod series;
