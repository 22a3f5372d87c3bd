//! What goes beside a document.

use std::collections::BTreeMap;

use nightread_domain::result::ArtefactFacts;
use nightread_domain::storing::artefact_blob;
use nightread_domain::{Job, JobError, WriteCondition};
use sha2::{Digest, Sha256};

use super::document::Progress;
use super::tools::Tools;
use crate::compute::models::Model;
use crate::readings::Artefact;

/// Stores artefacts before the document that names them. A name always means the same bytes: a second writer has nothing
/// to do.
///
/// # Errors
/// What storage says.
pub(super) async fn write(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    model: &Model,
    artefacts: Vec<Artefact>,
) -> Result<Vec<ArtefactFacts>, JobError> {
    let facts = &model.facts;
    let mut written = Vec::with_capacity(artefacts.len());
    for Artefact { kind, of, suffix, body } in artefacts {
        let blob = artefact_blob(
            &tools.results_container,
            &facts.name,
            &facts.version_in_paths(),
            &job.source,
            progress.sha256.as_deref().unwrap_or_default(),
            &suffix,
        )?;
        written.push(ArtefactFacts {
            kind,
            path: blob.name().to_owned(),
            media_type: kind.media_type().to_owned(),
            bytes: body.len() as u64,
            sha256: hex::encode(Sha256::digest(&body)),
            of,
        });
        tools.results.write(&blob, body, &BTreeMap::new(), WriteCondition::IfAbsent).await?;
    }
    Ok(written)
}
