//! Models in a container: `PREFIX/NAME/DIGEST/FILE`, where the digest is that of the list of the version's files, `SHA256SUMS`,
//! which lies beside them. A version is published once and never changed, and is there when its list is.

mod cache;
mod digest;
mod fetch;
mod lease;
mod push;
mod sums;
mod versions;

pub use self::cache::{Cache, Extent};
pub use self::fetch::{cached, fetch};
pub use self::push::{Pushed, push};
pub use self::versions::Registry;

#[cfg(test)]
mod tests;
