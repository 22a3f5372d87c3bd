//! Blob stores.

pub mod azure;
pub mod folder;
pub mod retry;
