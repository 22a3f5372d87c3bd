//! DICOM objects of results.

mod files;
pub mod objects;
mod reading;
mod result;
pub(crate) mod send;
mod source;
mod volume;
pub(crate) mod write;
