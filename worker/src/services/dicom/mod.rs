//! DICOM objects of results.

mod files;
mod ingredients;
pub mod objects;
mod radiograph;
mod reading;
mod result;
pub(crate) mod send;
mod source;
pub(crate) mod tasks;
mod volume;
pub(crate) mod write;
