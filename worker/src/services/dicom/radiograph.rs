//! The objects of a radiograph: its headers, and the heatmaps beside the document.

use bytes::Bytes;
use nightread_archive::{Concept, Object, Options, Panel, SourceInstance, of_radiograph};
use nightread_domain::result::ArtefactKind;
use nightread_domain::{FetchedStudy, JobError, ResultDocument};

use super::files::{bytes_of, files_of};
use super::reading::{SourceReading, as_job_error};
use crate::readings::unreadable;

/// # Errors
/// As [`super::objects::objects`].
pub(super) fn objects(
    document: &ResultDocument,
    study: &FetchedStudy,
    files: &[(String, Bytes)],
    codes: &[(String, Concept)],
    options: &Options<'_>,
    reading: &SourceReading,
) -> Result<Vec<Object>, JobError> {
    let bytes = study.clone().into_only()?.body.into_bytes().map_err(unreadable)?;
    let source = SourceInstance::open(&bytes, reading.max_inflated_bytes).map_err(as_job_error)?;
    let mut panels = Vec::new();
    for artefact in files_of(document).filter(|artefact| artefact.kind == ArtefactKind::Heatmap) {
        let label = artefact.of.as_deref().unwrap_or_default();
        panels.push(Panel { label, png: bytes_of(artefact, files)? });
    }
    of_radiograph(&source, document, codes, &panels, options).map_err(as_job_error)
}
