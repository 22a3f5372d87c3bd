//! Writes a result document so that many writers, in any order, end with the right one.

use bytes::Bytes;
use nightread_domain::result::ResultDocument;
use nightread_domain::storing::{Candidate, Verdict, before_reading, before_writing};
use nightread_domain::{BlobRef, BlobStore, ErrorCode, JobError, Stage, WriteCondition, WriteOutcome};

/// A document larger than this is not one of ours.
const MAX_DOCUMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Rounds against other writers of one result before the job is put off.
const MAX_ROUNDS: u32 = 6;

/// What became of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Written,
    /// The same reading was already there, or one of a newer source version.
    Superseded,
}

/// The document that is already there, if it is one.
pub async fn existing(results: &dyn BlobStore, path: &BlobRef) -> Result<Option<ResultDocument>, JobError> {
    let found = results.read(path, MAX_DOCUMENT_BYTES).await?;
    Ok(found.and_then(|(body, _)| serde_json::from_slice(&body).ok()))
}

/// Whether an existing document makes this job's work unnecessary.
pub async fn already_done(
    results: &dyn BlobStore,
    path: &BlobRef,
    ours: &Candidate<'_>,
) -> Result<Option<ResultDocument>, JobError> {
    let Some(document) = existing(results, path).await? else { return Ok(None) };
    Ok(match before_reading(&document, ours)? {
        Verdict::AlreadyDone | Verdict::NewerExists => Some(document),
        Verdict::Replace | Verdict::AskSource => None,
    })
}

/// Stores `document` at `path`. The loop ends because every lost round means that another writer won one.
pub async fn store(
    source: &dyn BlobStore,
    results: &dyn BlobStore,
    path: &BlobRef,
    document: &ResultDocument,
    ours: &Candidate<'_>,
) -> Result<Stored, JobError> {
    let body = Bytes::from(serde_json::to_vec_pretty(document).map_err(|error| {
        JobError::new(Stage::Report, ErrorCode::Internal, "the result does not serialise").with_source(error)
    })?);
    let metadata = document.metadata();
    for _ in 0..MAX_ROUNDS {
        let condition = WriteCondition::IfAbsent;
        if let WriteOutcome::Written(_) = results.write(path, body.clone(), &metadata, condition).await? {
            return Ok(Stored::Written);
        }
        let Some((found, etag)) = results.read(path, MAX_DOCUMENT_BYTES).await? else { continue };
        let verdict = match serde_json::from_slice::<ResultDocument>(&found) {
            Ok(existing) => before_writing(&existing, ours, document.status)?,
            // A torn or foreign file under our name is no result.
            Err(_) => Verdict::Replace,
        };
        let replace = match verdict {
            Verdict::Replace => true,
            Verdict::AlreadyDone | Verdict::NewerExists => false,
            Verdict::AskSource => is_current(source, document).await?,
        };
        if !replace {
            return Ok(Stored::Superseded);
        }
        let condition = WriteCondition::IfMatch(etag);
        if let WriteOutcome::Written(_) = results.write(path, body.clone(), &metadata, condition).await? {
            return Ok(Stored::Written);
        }
    }
    Err(JobError::new(Stage::Store, ErrorCode::ResultContended, "other writers kept changing this result"))
}

async fn is_current(source: &dyn BlobStore, document: &ResultDocument) -> Result<bool, JobError> {
    let blob = BlobRef::new(&document.source.container, &document.source.blob)?;
    match source.properties(&blob).await {
        Ok(properties) => Ok(Some(properties.etag) == document.source.etag),
        Err(gone) if gone.code == ErrorCode::BlobNotFound => Ok(false),
        Err(error) => Err(error),
    }
}
