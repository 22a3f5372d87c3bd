//! The language of Nightread, free of I/O: jobs, results, errors, and the ports that adapters implement.

pub mod error;
pub mod media;
pub mod warning;

pub use error::{ErrorClass, ErrorCode, JobError, Stage};
pub use media::{Media, Modality};
pub use warning::Warning;
