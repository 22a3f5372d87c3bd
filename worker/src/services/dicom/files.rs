//! The files beside a document that go into its objects.

use bytes::Bytes;
use nightread_domain::result::{ArtefactFacts, ArtefactKind};
use nightread_domain::{ErrorCode, JobError, ResultDocument, Stage};
use sha2::{Digest, Sha256};

/// A heatmap is some hundred kilobytes, the label map of a long CT series some megabytes.
pub const MOST_FILE_BYTES: u64 = 256 << 20;

/// The files that objects are made of, in the document's order: heatmaps; the label map and the preview of a CT volume.
pub fn files_of(document: &ResultDocument) -> impl Iterator<Item = &ArtefactFacts> {
    document.artefacts.iter().filter(|artefact| match artefact.kind {
        ArtefactKind::Heatmap => artefact.of.is_some(),
        ArtefactKind::LabelMap | ArtefactKind::Preview => true,
        _ => false,
    })
}

/// One of these files, by the path that the document names it by.
///
/// # Errors
/// `artefact_changed` where it is gone or has other bytes than those that the document names.
pub fn file(artefact: &ArtefactFacts, bytes: Option<Bytes>) -> Result<(String, Bytes), JobError> {
    let problem = match &bytes {
        None => "is gone",
        Some(bytes) if hex::encode(Sha256::digest(bytes)) != artefact.sha256 => {
            "has other bytes than those that the document names"
        }
        Some(_) => return Ok((artefact.path.clone(), bytes.unwrap_or_default())),
    };
    Err(changed(artefact, problem))
}

/// The bytes of the file that the document names.
///
/// # Errors
/// `artefact_changed` where it was not handed over.
pub(super) fn bytes_of<'f>(
    artefact: &ArtefactFacts,
    files: &'f [(String, Bytes)],
) -> Result<&'f Bytes, JobError> {
    let found = files.iter().find(|(path, _)| *path == artefact.path);
    found.map(|(_, bytes)| bytes).ok_or_else(|| changed(artefact, "is gone"))
}

/// `artefact_changed`. Which file that is stands in the document; its path has the study's name in it, which no log may hold.
pub(super) fn changed(artefact: &ArtefactFacts, problem: &str) -> JobError {
    let what = match (artefact.kind, &artefact.of) {
        (ArtefactKind::LabelMap, _) => "the label map".to_owned(),
        (ArtefactKind::Preview, _) => "the preview".to_owned(),
        (_, Some(label)) => format!("the heatmap of {label:?}"),
        (_, None) => "a file".to_owned(),
    };
    JobError::new(Stage::Report, ErrorCode::ArtefactChanged, format!("{what} {problem}"))
}
