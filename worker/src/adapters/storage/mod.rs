//! Blob stores.

pub mod azure;
pub mod folder;
mod kept;
pub mod retry;

pub use kept::{MEMORY_BYTES, Spool};
