//! One file beside a document, and many writers of both: whatever their order, the document names the bytes that lie there.
//!
//! Files are written before the document that names them, and a forced reading replaces them. So of two at once one may
//! write its files last and the other its document. Whoever meets a document or leaves one that others may have written
//! too therefore looks once more ([`settle`]): the last one that looks has every file and every document behind it.

use std::collections::BTreeMap;

use bytes::Bytes;
use nightread_domain::result::{ArtefactFacts, ResultDocument, SCHEMA};
use nightread_domain::{BlobRef, BlobStore, ETag, ErrorCode, JobError, Stage, WriteCondition, WriteOutcome};
use sha2::{Digest, Sha256};

use super::store::{MAX_ROUNDS, serialised, with_mark};
use crate::compute::cpu::CpuPool;

/// Larger files are none of ours.
const MAX_BYTES: u64 = 16 << 30;

/// What lies under a name, and its mark.
#[derive(Clone, Debug)]
pub(super) struct Lying {
    pub body: Bytes,
    pub etag: ETag,
}

/// A file beside the document as its reading left it.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub blob: BlobRef,
    pub facts: ArtefactFacts,
    /// Of the bytes that the facts are of.
    pub etag: ETag,
}

/// Writes `body`, or leaves what lies there, unless `replace`; gives what lies there then. Another split of the cores may
/// give other last bits, so that the two need not be the same.
///
/// # Errors
/// `result_contended` when one comes and goes; what storage says.
pub(super) async fn put(
    results: &dyn BlobStore,
    blob: &BlobRef,
    body: Bytes,
    replace: bool,
) -> Result<Lying, JobError> {
    let metadata = BTreeMap::new();
    let mut condition = WriteCondition::IfAbsent;
    for _ in 0..MAX_ROUNDS {
        match results.write(blob, body.clone(), &metadata, condition).await? {
            WriteOutcome::Written(etag) => return Ok(Lying { body, etag }),
            WriteOutcome::ConditionFailed => {
                condition = match results.read(blob, MAX_BYTES).await? {
                    Some((there, etag)) if !replace || there == body => {
                        return Ok(Lying { body: there, etag });
                    }
                    Some((_, etag)) => WriteCondition::IfMatch(etag),
                    None => WriteCondition::IfAbsent,
                };
            }
        }
    }
    Err(contended())
}

/// Makes the document at `path` tell of the files `beside` it what lies there now, and `ours` too.
///
/// # Errors
/// `result_contended` when others keep writing; what storage says.
pub(super) async fn settle(
    results: &dyn BlobStore,
    cpu: &CpuPool,
    path: &BlobRef,
    beside: &[Beside],
    ours: &mut ResultDocument,
) -> Result<(), JobError> {
    if beside.is_empty() {
        return Ok(());
    }
    for _ in 0..MAX_ROUNDS {
        // The document first: files that change after this are their writer's to settle.
        let there = match with_mark(results, path).await {
            Ok(there) => there,
            // A newer worker's, whose files have names of their own.
            Err(error) if error.code == ErrorCode::ResultNewerSchema => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some((mut document, etag)) = there.filter(|(document, _)| document.schema == SCHEMA) else {
            return Ok(());
        };
        let told = document.artefacts.clone();
        for file in beside {
            let Some(facts) = lying_now(results, cpu, file).await? else { continue };
            for artefacts in [&mut document.artefacts, &mut ours.artefacts] {
                if let Some(it) = artefacts.iter_mut().find(|it| it.path == facts.path) {
                    (it.bytes, it.sha256) = (facts.bytes, facts.sha256.clone());
                }
            }
        }
        if document.artefacts == told {
            return Ok(());
        }
        let (body, metadata) = (serialised(&document, "the result")?, document.metadata());
        let condition = WriteCondition::IfMatch(etag);
        if let WriteOutcome::Written(_) = results.write(path, body, &metadata, condition).await? {
            return Ok(());
        }
    }
    Err(contended())
}

/// The facts of a file as it lies there now; read only if it is another than its reading left. `None` where it is gone.
async fn lying_now(
    results: &dyn BlobStore,
    cpu: &CpuPool,
    file: &Beside,
) -> Result<Option<ArtefactFacts>, JobError> {
    let blob = &file.blob;
    match results.properties(blob).await {
        Ok(properties) if properties.etag == file.etag => return Ok(Some(file.facts.clone())),
        Ok(_) => {}
        Err(error) if error.code == ErrorCode::BlobNotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some((body, _)) = results.read(blob, MAX_BYTES).await? else { return Ok(None) };
    let (bytes, sha256) = measured(cpu, body).await?;
    Ok(Some(ArtefactFacts { bytes, sha256, ..file.facts.clone() }))
}

/// Length and SHA-256. Maps of a scan are large enough to hold up whatever else the reactor has to do.
pub(super) async fn measured(cpu: &CpuPool, body: Bytes) -> Result<(u64, String), JobError> {
    let bytes = body.len() as u64;
    let sha256 = cpu.run(Stage::Report, move || Ok(hex::encode(Sha256::digest(&body)))).await?;
    Ok((bytes, sha256))
}

fn contended() -> JobError {
    let text = "what goes beside the document kept changing";
    JobError::new(Stage::Store, ErrorCode::ResultContended, text)
}

#[cfg(test)]
mod tests;
