//! Writes a result document so that many writers, in any order, end with the right one.

use bytes::Bytes;
use nightread_domain::result::{Parsed, ResultDocument};
use nightread_domain::storing::{Candidate, Identity, Verdict, before_reading, before_writing, completed};
use nightread_domain::{
    BlobRef, BlobStore, ETag, ErrorClass, ErrorCode, JobError, Stage, Study, WriteCondition, WriteOutcome,
};
use serde::Serialize;

use super::fetching;
use super::resolving::{Shelves, resolve};

/// A document larger than this is not one of ours.
const MAX_DOCUMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Rounds against other writers of one blob before the job is put off.
pub(super) const MAX_ROUNDS: u32 = 6;

/// What became of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Written,
    /// Over one that was there.
    Replaced,
    /// A reading of the same version was already there, and stands.
    AlreadyDone,
    /// One of a newer version of the source was there, and stands.
    Superseded,
}

impl Stored {
    /// Whether it is the job's own document that stands.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Written | Self::Replaced)
    }
}

/// The document that is already there, if it is one.
///
/// Errors: `result_newer_schema`; what storage says.
pub async fn existing(results: &dyn BlobStore, path: &BlobRef) -> Result<Option<ResultDocument>, JobError> {
    Ok(with_mark(results, path).await?.map(|(document, _)| document))
}

/// The same, and the mark of its version.
pub(super) async fn with_mark(
    results: &dyn BlobStore,
    path: &BlobRef,
) -> Result<Option<(ResultDocument, ETag)>, JobError> {
    let Some((body, etag)) = results.read(path, MAX_DOCUMENT_BYTES).await? else { return Ok(None) };
    Ok(parsed(&body)?.map(|document| (document, etag)))
}

/// The document in these bytes, or nothing where they are torn or somebody else's. One that is whole and of a form that this
/// worker does not know is neither: a newer worker made it, and it must stay. Its name is the message's or the person's, and no
/// log's.
fn parsed(body: &[u8]) -> Result<Option<ResultDocument>, JobError> {
    match ResultDocument::parse(body) {
        Parsed::Document(document) => Ok(Some(*document)),
        Parsed::NoDocument => Ok(None),
        Parsed::Unknown(why) => {
            let text = format!("the result that is there {why}");
            Err(JobError::new(Stage::Store, ErrorCode::ResultNewerSchema, text))
        }
    }
}

/// A run over a folder has no newer worker beside it that could take the job later.
fn alone(error: JobError, ours: &Candidate<'_>) -> JobError {
    match ours.identity {
        Identity::Content if error.code == ErrorCode::ResultNewerSchema => {
            error.with_class(ErrorClass::Permanent)
        }
        Identity::Content | Identity::Version => error,
    }
}

/// What an existing document means to a job.
#[derive(Debug)]
pub enum Before {
    /// It makes the job's work unnecessary.
    Done(ResultDocument),
    /// It stands, but files that are asked for are not beside it.
    Incomplete(ResultDocument),
    /// There is one, and it does not count: it is of other bytes, or their digest would have to tell.
    Undone,
    Absent,
}

/// Whether an existing document makes this job's work unnecessary.
pub async fn before(
    results: &dyn BlobStore,
    path: &BlobRef,
    ours: &Candidate<'_>,
) -> Result<Before, JobError> {
    let Some(document) = existing(results, path).await.map_err(|error| alone(error, ours))? else {
        return Ok(Before::Absent);
    };
    Ok(match before_reading(&document, ours)? {
        Verdict::AlreadyDone | Verdict::NewerExists => Before::Done(document),
        Verdict::Complete => Before::Incomplete(document),
        Verdict::Replace | Verdict::AskSource => Before::Undone,
    })
}

/// Stores `document` at `path`, completed by the files of one that it completes. Gives back the document that stands then: this
/// one, or the one that was there. The loop ends because every lost round means that another writer won one.
///
/// # Errors
/// `result_newer_schema`, `model_mismatch`, `result_contended`; what storage says.
pub(super) async fn store(
    shelves: Shelves<'_>,
    path: &BlobRef,
    study: &Study,
    document: ResultDocument,
    ours: &Candidate<'_>,
) -> Result<(Stored, ResultDocument), JobError> {
    let results = shelves.results;
    let body = serialised(&document, "the result")?;
    let metadata = document.metadata();
    for _ in 0..MAX_ROUNDS {
        let condition = WriteCondition::IfAbsent;
        if let WriteOutcome::Written(_) = results.write(path, body.clone(), &metadata, condition).await? {
            return Ok((Stored::Written, document));
        }
        let Some((found, etag)) = results.read(path, MAX_DOCUMENT_BYTES).await? else { continue };
        let existing = parsed(&found).map_err(|error| alone(error, ours))?;
        let verdict = match &existing {
            Some(existing) => before_writing(existing, ours, document.status)?,
            // A torn or foreign file under our name is no result.
            None => Verdict::Replace,
        };
        let (written, body) = match (verdict, existing) {
            (Verdict::Complete, Some(existing)) => {
                let whole = completed(document.clone(), &existing);
                let body = serialised(&whole, "the result")?;
                (Some(whole), body)
            }
            (Verdict::Replace | Verdict::Complete, _) | (_, None) => (None, body.clone()),
            (Verdict::AlreadyDone, Some(existing)) => return Ok((Stored::AlreadyDone, existing)),
            (Verdict::AskSource, _) if is_current(shelves, study, &document).await? => (None, body.clone()),
            (Verdict::NewerExists | Verdict::AskSource, Some(existing)) => {
                return Ok((Stored::Superseded, existing));
            }
        };
        let condition = WriteCondition::IfMatch(etag);
        if let WriteOutcome::Written(_) = results.write(path, body, &metadata, condition).await? {
            return Ok((Stored::Replaced, written.unwrap_or(document)));
        }
    }
    Err(JobError::new(Stage::Store, ErrorCode::ResultContended, "other writers kept changing this result"))
}

/// `value` as people can read it; `what` it is, for the error.
pub(super) fn serialised(value: &impl Serialize, what: &str) -> Result<Bytes, JobError> {
    let body = serde_json::to_vec_pretty(value).map_err(|error| {
        JobError::new(Stage::Report, ErrorCode::Internal, format!("{what} does not serialise"))
            .with_source(error)
    })?;
    Ok(body.into())
}

/// Whether the study is still the version that was read. Of a series the blobs may all be as they were, and others have come.
async fn is_current(
    shelves: Shelves<'_>,
    study: &Study,
    document: &ResultDocument,
) -> Result<bool, JobError> {
    if let Study::Series(series) = study
        && let Some(told) = series.source()
    {
        return match resolve(told, shelves).await {
            Ok(now) => Ok(Some(now.version()) == document.study.version),
            Err(error) if error.is_transient() && error.code != ErrorCode::InstancesMissing => Err(error),
            Err(_) => Ok(false),
        };
    }
    match fetching::properties(study, shelves.source).await {
        Ok(properties) => Ok(Some(properties.version) == document.study.version),
        Err(gone) if matches!(gone.code, ErrorCode::BlobNotFound | ErrorCode::BlobChanged) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::Status;
    use nightread_domain::storing::Wanted;
    use serde_json::json;
    use time::Duration;

    use super::*;
    use crate::adapters::storage::folder::FolderStore;

    /// The document of a reading of a version of `incoming/a.png`, written so many minutes after the first.
    fn document(version: &str, minutes: i64, status: Status) -> ResultDocument {
        let mut document: ResultDocument = serde_json::from_value(json!({
            "schema": "nightread.result.v2", "status": status, "notice": "n", "task": "radiograph",
            "study": {"kind": "blob", "container": "incoming", "name": "a.png", "version": version,
                "last_modified": "2026-01-01T00:00:00Z", "bytes": 1, "sha256": "ab", "media": "png"},
            "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "w",
                "execution_provider": "cpu", "preprocessing": "p"},
            "findings": [], "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z"}))
        .expect("a document");
        let written = document.study.last_modified.expect("a time") + Duration::minutes(minutes);
        document.study.last_modified = Some(written);
        document
    }

    #[tokio::test]
    async fn who_comes_second_is_given_the_document_that_stands() {
        let root = tempfile::tempdir().expect("a folder");
        let store_of = FolderStore::new(["incoming", "results"].map(|name| {
            std::fs::create_dir(root.path().join(name)).expect("a folder");
            (name.to_owned(), root.path().join(name))
        }));
        let shelves = Shelves { source: &store_of, results: &store_of, results_container: "results" };
        let path = BlobRef::parse("results/m/a.png.json").expect("a name");
        let study = Study::from(BlobRef::parse("incoming/a.png").expect("a name"));
        let stored = async |document: ResultDocument| {
            let (model, study_facts) = (document.model.clone(), document.study.clone());
            let ours = Candidate {
                etag: study_facts.version.as_ref(),
                last_modified: study_facts.last_modified,
                sha256: study_facts.sha256.as_deref(),
                identity: Identity::Version,
                model: &model,
                worker_version: "1",
                force: false,
                reread_failed: false,
                wanted: Wanted::default(),
            };
            store(shelves, &path, &study, document, &ours).await.expect("stored")
        };
        let first = document("\"2\"", 2, Status::Ok);
        assert_eq!(stored(first.clone()).await, (Stored::Written, first.clone()));
        let mut second = first.clone();
        second.read_at += Duration::seconds(1);
        assert_eq!(stored(second).await, (Stored::AlreadyDone, first.clone()));
        assert_eq!(
            stored(document("\"2\"", 2, Status::Failed)).await,
            (Stored::AlreadyDone, first.clone()),
            "what failed here was read there"
        );
        assert_eq!(stored(document("\"1\"", 1, Status::Ok)).await, (Stored::Superseded, first.clone()));
        // Of equal time, and the source has neither version now.
        assert_eq!(stored(document("\"3\"", 2, Status::Ok)).await, (Stored::Superseded, first));
        let newer = document("\"4\"", 4, Status::Ok);
        assert_eq!(stored(newer.clone()).await, (Stored::Replaced, newer));
    }
}
