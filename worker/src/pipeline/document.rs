//! What a document says, made of what is known of the study so far.

use std::time::Duration;

use nightread_domain::result::{
    ArtefactFacts, ErrorFacts, NOTICE, ResultDocument, SCHEMA, Status, StudyFacts, WorkerFacts,
};
use nightread_domain::storing::Candidate;
use nightread_domain::{Job, JobError, Media};
use time::OffsetDateTime;

use super::fetching::StudyProperties;
use super::tools::Tools;
use crate::compute::digests::Digest;
use crate::compute::verified::Model;
use crate::flow::WORKER_VERSION;
use crate::flow::timing::Timing;
use crate::readings::Reading;

/// What is known of a study so far; a failed-document says as much of it as there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The document that is there, and that lacks files which are asked for.
    pub completes: Option<Box<ResultDocument>>,
    pub properties: Option<StudyProperties>,
    pub sha256: Option<String>,
    /// What `sha256` is to be, where it may be computed yet.
    pub digest: Option<Digest>,
    pub media: Option<Media>,
    pub timing: Timing,
}

impl Progress {
    /// Has the SHA-256 of what was fetched.
    ///
    /// # Errors
    /// Those of [`Digest::get`].
    pub async fn settle_digest(&mut self) -> Result<(), JobError> {
        if let Some(digest) = self.digest.take() {
            self.sha256 = Some(digest.get().await?);
        }
        Ok(())
    }
}

/// The document of a reading and of what was written beside it, or of why there is none.
pub(super) fn document(
    job: &Job,
    progress: &Progress,
    model: &Model,
    outcome: Result<(Reading, Vec<ArtefactFacts>), &JobError>,
    elapsed: Duration,
) -> ResultDocument {
    let (status, reading, artefacts, error) = match outcome {
        Ok((reading, artefacts)) => (Status::Ok, reading, artefacts, None),
        Err(error) => (Status::Failed, Reading::default(), Vec::new(), Some(ErrorFacts::from(error))),
    };
    let properties = progress.properties.as_ref();
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status,
        notice: NOTICE.to_owned(),
        task: model.manifest.task,
        study: StudyFacts {
            kind: job.study.kind(),
            container: job.study.name().container().to_owned(),
            name: job.study.name().name().to_owned(),
            version: properties.map(|properties| properties.version.clone()),
            last_modified: properties.map(|properties| properties.last_modified),
            bytes: properties.map(|properties| properties.bytes),
            sha256: progress.sha256.clone(),
            media: progress.media,
        },
        model: model.facts.clone(),
        input: reading.input,
        payload: reading.payload,
        artefacts,
        warnings: reading.warnings,
        timing_ms: progress.timing.with_total(elapsed),
        worker: WorkerFacts { version: WORKER_VERSION.to_owned() },
        read_at: OffsetDateTime::now_utc(),
        error,
    }
}

/// What the document about to be written says of itself, to those that are there.
pub(super) fn candidate<'a>(
    job: &Job,
    tools: &'a Tools,
    model: &'a Model,
    progress: &'a Progress,
) -> Candidate<'a> {
    let properties = progress.properties.as_ref();
    Candidate {
        etag: properties.map(|properties| &properties.version),
        last_modified: properties.map(|properties| properties.last_modified),
        sha256: progress.sha256.as_deref(),
        identity: tools.identity,
        model: &model.facts,
        worker_version: WORKER_VERSION,
        force: job.force,
        reread_failed: job.reread_failed,
        wanted: tools.reader.wanted(model),
    }
}
