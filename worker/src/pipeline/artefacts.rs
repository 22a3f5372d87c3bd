//! What goes beside a document.

use std::collections::BTreeMap;

use bytes::Bytes;
use nightread_domain::result::ArtefactFacts;
use nightread_domain::storing::artefact_blob;
use nightread_domain::{BlobRef, ErrorCode, Job, JobError, Stage, WriteCondition, WriteOutcome};
use sha2::{Digest, Sha256};

use super::document::Progress;
use super::tools::Tools;
use crate::compute::models::Model;
use crate::readings::Artefact;

/// Larger files are none of ours.
const MAX_BYTES: u64 = 16 << 30;

/// Stores artefacts before the document that names them. One that is there already stays, because a document may name it;
/// the facts are those of the bytes that lie there, whoever wrote them.
///
/// # Errors
/// `result_contended` when one comes and goes; what storage says.
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
            job.study.name(),
            progress.sha256.as_deref().unwrap_or_default(),
            &suffix,
        )?;
        let stored = store(tools, &blob, body).await?;
        let bytes = stored.len() as u64;
        // Maps of a scan are large enough to hold up whatever else the reactor has to do.
        let digest = move || Ok(hex::encode(Sha256::digest(&stored)));
        written.push(ArtefactFacts {
            kind,
            path: blob.name().to_owned(),
            media_type: kind.media_type().to_owned(),
            bytes,
            sha256: tools.reader.cpu.run(Stage::Report, digest).await?,
            of,
        });
    }
    Ok(written)
}

/// What lies under the name afterwards: `body`, or what was there before. Another split of the cores may give other last
/// bits, so that the two need not be the same.
async fn store(tools: &Tools, blob: &BlobRef, body: Bytes) -> Result<Bytes, JobError> {
    let condition = WriteCondition::IfAbsent;
    match tools.results.write(blob, body.clone(), &BTreeMap::new(), condition).await? {
        WriteOutcome::Written(_) => Ok(body),
        WriteOutcome::ConditionFailed => {
            drop(body);
            let there = tools.results.read(blob, MAX_BYTES).await?;
            there.map(|(stored, _)| stored).ok_or_else(|| {
                let text = "what goes beside the document was there, and then was not";
                JobError::new(Stage::Store, ErrorCode::ResultContended, text)
            })
        }
    }
}
