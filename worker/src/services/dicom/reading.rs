//! How the source of a result is read once more, and what its faults are called.

use std::sync::Arc;

use nightread_archive::{ArchiveError, Fault};
use nightread_ct::CtLimits;
use nightread_dicom::IsolatedCodec;
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::app;
use crate::settings::Limits;

/// How sources are read.
#[derive(Clone, Debug)]
pub struct SourceReading {
    pub(super) max_inflated_bytes: u64,
    pub(super) volumes: CtLimits,
    pub(super) codec: Option<Arc<dyn IsolatedCodec>>,
}

impl SourceReading {
    /// By the limits of the settings. `codec`: of CT series that have several compressed images at one place, for only their pixels
    /// tell which belong to the volume; not needed for radiographs.
    pub fn new(limits: &Limits, codec: Option<Arc<dyn IsolatedCodec>>) -> Self {
        let volumes = CtLimits {
            max_inflated_bytes: limits.inflated_bytes,
            max_voxels: limits.voxels,
            // Where the reading was told otherwise it failed, and there is nothing to write.
            interpolate_missing: true,
            ..CtLimits::default()
        };
        Self { max_inflated_bytes: app::decode_limits(limits).max_inflated_bytes, volumes, codec }
    }
}

pub(super) fn as_job_error(error: ArchiveError) -> JobError {
    let code = match error.fault {
        Fault::NoIdentity | Fault::Source => ErrorCode::NoDicomIdentity,
        Fault::NoResult => ErrorCode::NoDicomResult,
        Fault::ArtefactChanged => ErrorCode::ArtefactChanged,
        Fault::Contradiction | Fault::Internal => ErrorCode::Internal,
        Fault::TooLarge => ErrorCode::TooManyPixels,
    };
    let text = error.to_string();
    match error.into_cause() {
        // A picture that is no DICOM has no identity either; what a header says of itself stays the cause.
        Some(cause) => JobError::new(Stage::Report, code, "the source is no DICOM file that can be read")
            .with_source(cause),
        None => JobError::new(Stage::Report, code, text),
    }
}

pub(super) fn no_identity(text: impl Into<String>) -> JobError {
    JobError::new(Stage::Report, ErrorCode::NoDicomIdentity, text)
}
