//! The crate through its public face: series made here, every trap of geometry, archives, and real series where they are at
//! hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod fixtures;
mod geometry;
mod layout;
mod nifti;
mod numbers;
mod real_data;
mod selection;
mod turned;
