//! Shorthands for the errors this crate gives birth to: all belong to the decode stage.

use nightread_domain::error::{ErrorCode, JobError, Stage};

pub(crate) fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Decode, code, message)
}
