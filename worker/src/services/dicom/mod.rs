//! DICOM objects of results.

pub mod objects;
mod result;
pub(crate) mod send;
pub(crate) mod write;
