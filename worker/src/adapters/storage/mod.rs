//! Blob stores.

pub mod azure;
mod below;
mod buffers;
pub mod folder;
mod kept;
pub mod retry;

pub use kept::{MEMORY_BYTES, Spool};
