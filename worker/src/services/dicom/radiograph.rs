//! The objects of a radiograph: its headers, and the heatmaps beside the document.

use nightread_archive::{Object, Panel, SourceInstance, of_radiograph};
use nightread_domain::JobError;
use nightread_domain::result::ArtefactKind;

use super::files::{bytes_of, files_of};
use super::ingredients::Ingredients;
use super::reading::as_job_error;
use crate::readings::unreadable;

/// # Errors
/// As [`super::objects::objects`].
pub(super) fn objects(of: &Ingredients<'_>) -> Result<Vec<Object>, JobError> {
    let &Ingredients { document, study, files, codes, options, reading } = of;
    let bytes = study.clone().into_only()?.body.into_bytes().map_err(unreadable)?;
    let source = SourceInstance::open(&bytes, reading.max_inflated_bytes).map_err(as_job_error)?;
    let mut panels = Vec::new();
    for artefact in files_of(document).filter(|artefact| artefact.kind == ArtefactKind::Heatmap) {
        let label = artefact.of.as_deref().unwrap_or_default();
        panels.push(Panel { label, png: bytes_of(artefact, files)? });
    }
    of_radiograph(&source, document, codes, &panels, options).map_err(as_job_error)
}
