//! From a document and its source to objects, with the errors of a job.

use bytes::Bytes;
use nightread_archive::{ArchiveError, Concept, Fault, Object, Options, Panel, Source, of_radiograph};
use nightread_domain::result::{ArtefactFacts, ArtefactKind};
use nightread_domain::{ErrorCode, JobError, ResultDocument, Stage, Task};
use nightread_engine::Manifest;
use sha2::{Digest, Sha256};

/// A heatmap is some hundred kilobytes.
pub const MOST_PANEL_BYTES: u64 = 32 << 20;

/// The codes that a manifest gives its labels.
pub fn codes(manifest: &Manifest) -> Vec<(String, Concept)> {
    let coded = manifest.labels.iter().filter_map(|label| {
        let code = label.code.as_ref()?;
        let concept =
            Concept { value: code.value.clone(), scheme: code.scheme.clone(), meaning: code.meaning.clone() };
        Some((label.name.clone(), concept))
    });
    coded.collect()
}

/// Labels of a document that go under the private scheme.
pub fn uncoded<'a>(document: &'a ResultDocument, codes: &[(String, Concept)]) -> Vec<&'a str> {
    let has_code = |label: &str| codes.iter().any(|(name, _)| name == label);
    document
        .findings()
        .iter()
        .map(|finding| finding.label.as_str())
        .filter(|label| !has_code(label))
        .collect()
}

/// The heatmaps that a document names, in its order.
pub fn panels_of(document: &ResultDocument) -> impl Iterator<Item = &ArtefactFacts> {
    document
        .artefacts
        .iter()
        .filter(|artefact| artefact.kind == ArtefactKind::Heatmap && artefact.of.is_some())
}

/// What of a heatmap's file goes into an object.
///
/// # Errors
/// `artefact_changed` where it is gone or has other bytes than those that the document names.
pub fn panel(artefact: &ArtefactFacts, bytes: Option<Bytes>) -> Result<(String, Bytes), JobError> {
    let label = artefact.of.clone().unwrap_or_default();
    let problem = match &bytes {
        None => "is gone",
        Some(bytes) if hex::encode(Sha256::digest(bytes)) != artefact.sha256 => {
            "has other bytes than those that the document names"
        }
        Some(_) => return Ok((label, bytes.unwrap_or_default())),
    };
    let text = format!("the heatmap of {label:?} {problem}: {}", artefact.path);
    Err(JobError::new(Stage::Report, ErrorCode::ArtefactChanged, text))
}

/// The objects of a result, in the order in which they are sent.
///
/// # Errors
/// `source_changed` where the source is not the one that was read; `no_dicom_identity`, `no_dicom_result`, `artefact_changed`; those
/// of a header that cannot be read.
pub fn objects(
    document: &ResultDocument,
    source: &Bytes,
    panels: &[(String, Bytes)],
    codes: &[(String, Concept)],
    options: &Options<'_>,
    max_inflated_bytes: u64,
) -> Result<Vec<Object>, JobError> {
    let is_read =
        document.study.sha256.as_ref().is_some_and(|read| *read == hex::encode(Sha256::digest(source)));
    if !is_read {
        let text = "the source has other bytes than those that the result was read from";
        return Err(JobError::new(Stage::Report, ErrorCode::SourceChanged, text));
    }
    if document.task != Task::Radiograph {
        let text = format!("no DICOM object is made of a reading of {}", document.task.studies());
        return Err(JobError::new(Stage::Report, ErrorCode::NoDicomResult, text));
    }
    let source = Source::open(source, max_inflated_bytes).map_err(as_job_error)?;
    let panels: Vec<_> = panels.iter().map(|(label, png)| Panel { label, png }).collect();
    of_radiograph(&source, document, codes, &panels, options).map_err(as_job_error)
}

fn as_job_error(error: ArchiveError) -> JobError {
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
