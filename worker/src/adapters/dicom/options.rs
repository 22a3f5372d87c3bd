//! How an archive is reached, and the errors of whoever reaches it.

use std::sync::Arc;
use std::time::Duration;

use nightread_domain::{ErrorCode, JobError, Stage};
use rustls::pki_types::CertificateDer;

use super::reports::Reports;

/// How an archive is reached.
#[derive(Debug)]
pub struct ArchiveOptions {
    /// `https://host/dicom-web`, `dicom://TITLE@host:port` or `dicom+tls://TITLE@host:port`.
    pub address: String,
    /// The value of the header `Authorization`, where the archive asks for one.
    pub authorization: Option<String>,
    /// Our own application entity title.
    pub calling_title: String,
    /// Authorities that are believed beside the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// For a whole sending, and for a question.
    pub timeout: Duration,
    /// Whether each object that was stored is looked for by QIDO-RS.
    pub read_back: bool,
    /// Whether an archive that is reached by associations is asked to commit itself to what it stored.
    pub commitment: Option<CommitmentOptions>,
}

/// How an archive is asked for storage commitment.
#[derive(Clone, Debug)]
pub struct CommitmentOptions {
    /// For the request and the report together.
    pub patience: Duration,
    /// Where reports come in that archives bring by associations of their own.
    pub reports: Arc<Reports>,
}

pub(super) fn wrong_address() -> JobError {
    let text = "[deliver] archive: https://HOST/PATH, dicom://TITLE@HOST:PORT or dicom+tls://TITLE@HOST:PORT is expected";
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text)
}

pub(super) fn failed(code: ErrorCode, text: impl Into<String>) -> JobError {
    JobError::new(Stage::Deliver, code, text)
}
