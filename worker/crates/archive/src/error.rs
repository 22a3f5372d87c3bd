//! Why there is no object.

use std::error::Error;
use std::fmt;

use nightread_domain::JobError;

/// Which fault it is, for whoever gives it a code of the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The source is no DICOM file, or lacks a UID that its results need.
    NoIdentity,
    /// The document is of a study that was not read, or of one that no object is made of.
    NoResult,
    /// A file beside the document is not the one that the document names.
    ArtefactChanged,
    /// What was handed over contradicts itself.
    Contradiction,
    /// More than a DICOM object has room for.
    TooLarge,
    /// The source cannot be read: its own error says why.
    Source,
    /// A fault of this crate.
    Internal,
}

/// Why there is no object, in words that name no patient.
#[derive(Clone, Debug)]
pub struct ArchiveError {
    pub fault: Fault,
    text: String,
    cause: Option<JobError>,
}

impl ArchiveError {
    pub(crate) fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into(), cause: None }
    }

    pub(crate) fn contradiction(text: impl Into<String>) -> Self {
        Self::new(Fault::Contradiction, text)
    }

    /// Of a source, what reading it said.
    pub fn into_cause(self) -> Option<JobError> {
        self.cause
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ArchiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl From<JobError> for ArchiveError {
    fn from(cause: JobError) -> Self {
        Self { fault: Fault::Source, text: cause.message.clone(), cause: Some(cause) }
    }
}
