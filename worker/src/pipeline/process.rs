//! The way of one job, straight down: announcement in, stored result out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_domain::result::{
    ErrorFacts, NOTICE, ResultDocument, SCHEMA, SourceFacts, Status, WorkerFacts,
};
use nightread_domain::retry::Delay;
use nightread_domain::storing::{Candidate, Identity, artefact_blob, result_blob};
use nightread_domain::{
    BlobKind, BlobProperties, BlobRef, Disposition, ErrorClass, ErrorCode, Fetched, Job, JobError, Lane,
    Media, Modality, Stage, WriteCondition,
};
use nightread_radiograph::sniff;
use time::OffsetDateTime;

use super::store::{self, Stored};
use super::tools::Tools;
use super::waiting;
use crate::compute::models::Model;
use crate::flow::WORKER_VERSION;
use crate::flow::failpoint::{Failpoint, reached};
use crate::flow::report::{Outcome, Report};
use crate::flow::timing::Timing;
use crate::readings::{self, NamedIn, Reading};

/// Bytes from which the format is told.
const SNIFFED: usize = 64 << 10;

/// How long a study waits for room on this machine's disk.
const SPOOL_DELAY: Duration = Duration::from_mins(1);

/// What is known of a study so far; a failed-document says as much of it as there is.
#[derive(Debug, Default)]
struct Study {
    properties: Option<BlobProperties>,
    sha256: Option<String>,
    media: Option<Media>,
    model: Option<Arc<Model>>,
    timing: Timing,
}

/// Reads one study and says what is to become of its delivery.
pub async fn process(job: &Job, lane: Lane, tools: &Tools) -> (Disposition, Report) {
    let started = Instant::now();
    let mut study = Study::default();
    let ended = match waiting::closed(job, tools) {
        Some(error) => Err(error),
        None => match read(job, tools, &mut study).await {
            Ok(ended) => Ok(ended),
            Err(error) => fail(job, tools, &mut study, error, started).await.map(Some),
        },
    };
    let chosen = study.model.as_ref().map_or_else(String::new, |model| model.facts.name.clone());
    let report = |outcome, model, document, path, error, fresh| Report {
        job: job.clone(),
        lane,
        outcome,
        model,
        document,
        path,
        error,
        elapsed: started.elapsed(),
        fresh,
    };
    match ended {
        Ok(Some(Ended { outcome, model, document, path, dead, fresh })) => {
            let disposition = dead.map_or(Disposition::Done, |error| Disposition::DeadLetter { error });
            let error = document.error.clone();
            (disposition, report(outcome, model, Some(document), Some(path), error, fresh))
        }
        Ok(None) => (Disposition::Done, report(Outcome::NoStudy, chosen, None, None, None, false)),
        Err(error) => {
            let facts = ErrorFacts::from(&error);
            let disposition = disposition_of(job, error, tools);
            let outcome = match disposition {
                Disposition::DeadLetter { .. } => Outcome::GivenUp(facts.code),
                _ => Outcome::Unfinished(facts.code),
            };
            (disposition, report(outcome, chosen, None, None, Some(facts), false))
        }
    }
}

/// How the study ended before, if it did. Nothing is downloaded, so whatever the blob is, asking kills no worker.
pub async fn done_before(
    job: &Job,
    lane: Lane,
    tools: &Tools,
) -> Result<Option<(Disposition, Report)>, JobError> {
    let started = Instant::now();
    let properties = Some(tools.source.properties(&job.source).await?);
    let study = Study { properties, ..Study::default() };
    let ended = read_before(job, tools, &study).await?;
    Ok(ended.map(|Ended { outcome, model, document, path, fresh, .. }| {
        let (job, error, elapsed) = (job.clone(), document.error.clone(), started.elapsed());
        let (document, path) = (Some(document), Some(path));
        (Disposition::Done, Report { job, lane, outcome, model, document, path, error, elapsed, fresh })
    }))
}

struct Ended {
    outcome: Outcome,
    /// The name of the one that read it.
    model: String,
    document: Arc<ResultDocument>,
    path: BlobRef,
    /// Also to be dead-lettered.
    dead: Option<JobError>,
    /// The document is this job's own work.
    fresh: bool,
}

/// `None` for what is no study.
async fn read(job: &Job, tools: &Tools, study: &mut Study) -> Result<Option<Ended>, JobError> {
    let started = Instant::now();
    let properties = tools.source.properties(&job.source).await?;
    if properties.kind == BlobKind::Directory {
        return Ok(None);
    }
    study.properties = Some(properties.clone());
    if let Some(done) = read_before(job, tools, study).await? {
        return Ok(Some(done));
    }
    if properties.kind == BlobKind::Archived {
        let told = "the blob is in the archive tier; it is read when it is brought back";
        return Err(JobError::new(Stage::Fetch, ErrorCode::BlobArchived, told));
    }
    check_size(&properties, tools.limits.blob_bytes)?;
    let room = tools.bytes_in_hand.room_for(properties.bytes.min(tools.limits.memory_bytes)).await?;
    let (Fetched { body, sha256 }, properties) =
        study.timing.timed("fetch", fetch(job, tools, properties)).await?;
    study.properties = Some(properties);
    study.sha256 = Some(sha256);
    if tools.identity == Identity::Content
        && let Some(done) = read_before(job, tools, study).await?
    {
        return Ok(Some(done));
    }
    reached(tools.failpoint, Failpoint::AfterFetch);

    let head = body.head(SNIFFED).map_err(readings::unreadable)?;
    let media = sniff(&head).ok_or_else(|| readings::unknown(&head, job.source.name()))?;
    drop(head);
    study.media = Some(media);
    let model = tools.reader.models.get(model_name(job, tools, media.modality())?)?;
    study.model = Some(Arc::clone(&model));

    let kept = body.kept().cloned();
    let _room = if kept.is_some() && media.modality() == Modality::Radiograph {
        // It is to be held in memory after all; who waits for room holds none.
        drop(room);
        tools.bytes_in_hand.room_for(body.len()).await?
    } else {
        room
    };
    let read = tools.reader.read(body, media, &job.source, &model, &mut study.timing).await;
    // Whatever was read out of a file that was written to meanwhile is nobody's.
    if let Some(kept) = kept
        && !kept.is_unchanged().map_err(readings::unreadable)?
    {
        let text = "the file was written to while it was read";
        return Err(JobError::new(Stage::Decode, ErrorCode::BlobChanged, text));
    }
    let mut reading = read?;
    reached(tools.failpoint, Failpoint::AfterInfer);

    write_artefacts(job, tools, study, &model, &mut reading).await?;
    let document = document(job, study, &model, Ok(reading), started);
    let (stored, path) = write(job, tools, study, &model, &document).await?;
    reached(tools.failpoint, Failpoint::AfterStore);
    let outcome = match stored {
        Stored::Written => Outcome::Read,
        Stored::Superseded => Outcome::Superseded,
    };
    let name = model.facts.name.clone();
    Ok(Some(Ended { outcome, model: name, document: Arc::new(document), path, dead: None, fresh: true }))
}

/// A result that is already there, under any model that could be meant.
async fn read_before(job: &Job, tools: &Tools, study: &Study) -> Result<Option<Ended>, JobError> {
    let named = job.model.as_deref();
    for name in named.map_or_else(|| tools.routing.candidates(&job.source), |name| vec![name]) {
        let model = tools.reader.models.get(name)?;
        let path = result_blob(&tools.results_container, name, &model.facts.version, &job.source)?;
        let ours = candidate(job, tools, &model, study);
        if let Some(document) = store::already_done(&*tools.results, &path, &ours).await? {
            let outcome = match document.status {
                Status::Ok => Outcome::AlreadyDone,
                Status::Failed => {
                    document.error.as_ref().map_or(Outcome::AlreadyDone, |e| Outcome::Failed(e.code))
                }
            };
            let (model, document) = (name.to_owned(), Arc::new(document));
            return Ok(Some(Ended { outcome, model, document, path, dead: None, fresh: false }));
        }
    }
    Ok(None)
}

fn check_size(properties: &BlobProperties, limit: u64) -> Result<(), JobError> {
    match properties.bytes {
        0 => Err(JobError::new(Stage::Fetch, ErrorCode::BlobEmpty, "the blob has no bytes")),
        bytes if bytes > limit => Err(JobError::new(
            Stage::Fetch,
            ErrorCode::BlobTooLarge,
            format!("the blob has {bytes} bytes, {limit} are allowed ([limits] blob_bytes)"),
        )),
        _ => Ok(()),
    }
}

/// The blob, of one version. One that is replaced while it is read is read again, as its new self.
async fn fetch(
    job: &Job,
    tools: &Tools,
    mut properties: BlobProperties,
) -> Result<(Fetched, BlobProperties), JobError> {
    for _ in 0..3 {
        match tools.source.fetch(&job.source, &properties, tools.limits.blob_bytes).await {
            Err(error) if error.code == ErrorCode::BlobChanged => {
                properties = tools.source.properties(&job.source).await?;
                check_size(&properties, tools.limits.blob_bytes)?;
            }
            fetched => return fetched.map(|body| (body, properties)),
        }
    }
    Err(JobError::new(Stage::Fetch, ErrorCode::BlobChanged, "the blob kept changing while it was read"))
}

fn model_name<'a>(job: &'a Job, tools: &'a Tools, modality: Modality) -> Result<&'a str, JobError> {
    match &job.model {
        Some(name) => Ok(name),
        None => tools.routing.route(&job.source, modality),
    }
}

fn candidate<'a>(job: &Job, tools: &Tools, model: &'a Model, study: &'a Study) -> Candidate<'a> {
    let properties = study.properties.as_ref();
    Candidate {
        etag: properties.map(|properties| &properties.etag),
        last_modified: properties.map(|properties| properties.last_modified),
        sha256: study.sha256.as_deref(),
        identity: tools.identity,
        model: &model.facts,
        worker_version: WORKER_VERSION,
        force: job.force,
        reread_failed: job.reread_failed,
    }
}

/// Stores what goes beside the document, before the document that names it. A name always means the same bytes: a
/// second writer has nothing to do.
async fn write_artefacts(
    job: &Job,
    tools: &Tools,
    study: &Study,
    model: &Model,
    reading: &mut Reading,
) -> Result<(), JobError> {
    let facts = &model.facts;
    for artefact in std::mem::take(&mut reading.artefacts) {
        let blob = artefact_blob(
            &tools.results_container,
            &facts.name,
            &facts.version,
            &job.source,
            study.sha256.as_deref().unwrap_or_default(),
            &artefact.suffix,
        )?;
        let named = blob.name().to_owned();
        match artefact.named_in {
            NamedIn::DualRegression(key) => {
                reading.dual_regression.get_or_insert_default().insert(key.to_owned(), named.into());
            }
            NamedIn::Finding(index) => {
                if let Some(finding) = reading.findings.get_mut(index) {
                    finding.heatmap = Some(named);
                }
            }
        }
        tools.results.write(&blob, artefact.body, &BTreeMap::new(), WriteCondition::IfAbsent).await?;
    }
    Ok(())
}

async fn write(
    job: &Job,
    tools: &Tools,
    study: &Study,
    model: &Model,
    document: &ResultDocument,
) -> Result<(Stored, BlobRef), JobError> {
    let path = result_blob(&tools.results_container, &model.facts.name, &model.facts.version, &job.source)?;
    let ours = candidate(job, tools, model, study);
    let stored = store::store(&*tools.source, &*tools.results, &path, document, &ours).await?;
    Ok((stored, path))
}

fn document(
    job: &Job,
    study: &Study,
    model: &Model,
    reading: Result<Reading, &JobError>,
    started: Instant,
) -> ResultDocument {
    let timing_ms = study.timing.with_total(started.elapsed());
    let error = reading.as_ref().err().map(|error| ErrorFacts::from(*error));
    let reading = reading.unwrap_or_default();
    ResultDocument {
        schema: SCHEMA.to_owned(),
        status: if error.is_none() { Status::Ok } else { Status::Failed },
        notice: NOTICE.to_owned(),
        source: SourceFacts {
            container: job.source.container().to_owned(),
            blob: job.source.name().to_owned(),
            etag: study.properties.as_ref().map(|properties| properties.etag.clone()),
            last_modified: study.properties.as_ref().map(|properties| properties.last_modified),
            sha256: study.sha256.clone(),
            bytes: study.properties.as_ref().map(|properties| properties.bytes),
            media: study.media,
        },
        model: model.facts.clone(),
        input: reading.input,
        findings: reading.findings,
        components: reading.components,
        dual_regression: reading.dual_regression,
        warnings: reading.warnings,
        timing_ms,
        worker: WorkerFacts { version: WORKER_VERSION.to_owned() },
        read_at: OffsetDateTime::now_utc(),
        error,
    }
}

/// A failure for good becomes a failed-document; anything else goes on as an error.
async fn fail(
    job: &Job,
    tools: &Tools,
    study: &mut Study,
    error: JobError,
    started: Instant,
) -> Result<Ended, JobError> {
    // This machine's disk is not the study's fault.
    let exhausted = error.is_transient()
        && error.code != ErrorCode::SpoolUnavailable
        && job.attempt + 1 >= tools.limits.attempts
        && waiting::is_own(&error, job, tools);
    if exhausted && error.code == ErrorCode::ResultNewerSchema {
        // Its own name stays: whoever redrives must know that an older worker must not try.
        return Err(error.with_class(ErrorClass::Permanent));
    }
    if error.is_fatal() || (error.is_transient() && !exhausted) || !is_documented(error.code) {
        return Err(error);
    }
    let error = if exhausted {
        let message =
            format!("given up after {} attempts; the last one: {}", job.attempt + 1, error.in_full());
        // What is refused for good is called so.
        let code = if error.code.is_refusal() { error.code } else { ErrorCode::AttemptsExhausted };
        JobError::new(error.stage, code, message).with_class(ErrorClass::Permanent).with_source(error)
    } else {
        error
    };
    let model = match &study.model {
        Some(model) => Arc::clone(model),
        None => match job.model.as_deref().or_else(|| tools.routing.fallback(&job.source)) {
            Some(name) => tools.reader.models.get(name)?,
            None => return Err(error),
        },
    };
    let document = document(job, study, &model, Err(&error), started);
    let (stored, path) = match write(job, tools, study, &model, &document).await {
        // A lease on the result may be held for ever: the letter tells, and nothing is lost.
        Err(busy) if exhausted && busy.code == ErrorCode::BlobBusy => return Err(error),
        written => written?,
    };
    let outcome = match stored {
        Stored::Written => Outcome::Failed(error.code),
        Stored::Superseded => Outcome::Superseded,
    };
    let (model, document) = (model.facts.name.clone(), Arc::new(document));
    Ok(Ended { outcome, model, document, path, dead: exhausted.then_some(error), fresh: true })
}

/// A message that names what it must not, or nothing that exists here, gets no document: it must not create paths.
fn is_documented(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::SourceNotAllowed
            | ErrorCode::UnknownModel
            | ErrorCode::NoRoute
            | ErrorCode::MessageUnparseable
            // There is a document, and it stays.
            | ErrorCode::ResultNewerSchema
    )
}

fn disposition_of(job: &Job, error: JobError, tools: &Tools) -> Disposition {
    if error.code == ErrorCode::SpoolUnavailable {
        return Disposition::Postpone { delay: SPOOL_DELAY, error, refused_since: None };
    }
    match error.class {
        ErrorClass::Fatal => Disposition::Return,
        ErrorClass::Permanent => Disposition::DeadLetter { error },
        // While storage is away no job is to blame.
        ErrorClass::Transient if waiting::is_away(&error, job, tools) => {
            waiting::postponed(job, error, tools)
        }
        ErrorClass::Transient => {
            let usual = Delay::after(job.attempt).length();
            let delay = error.retry_after.unwrap_or(usual).max(Delay::Seconds5.length());
            Disposition::RetryAfter { delay, error }
        }
    }
}
