//! One model's part of a study: its own judgement, reading, result and failure. What it does is no other model's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_domain::body::Kept;
use nightread_domain::result::{ErrorFacts, ResultDocument, Status};
use nightread_domain::storing::{is_same_reading, result_blob};
use nightread_domain::study::SeriesSource;
use nightread_domain::{BlobRef, ErrorClass, ErrorCode, Job, JobError, Stage, Study};

use super::artefacts;
use super::beside;
use super::disposition;
use super::document::{Progress, candidate, document};
use super::store::{self, Before, Stored};
use super::tools::Tools;
use crate::compute::verified::Model;
use crate::flow::failpoint::{Failpoint, reached};
use crate::flow::report::{JobReport, Outcome};
use crate::readings::{Opened, unreadable};

/// How a reading ended with a document, its own or one that was there.
#[derive(Debug)]
pub(super) struct Concluded {
    pub outcome: Outcome,
    document: Arc<ResultDocument>,
    path: BlobRef,
    /// Also to be dead-lettered.
    pub dead: Option<JobError>,
    /// The document is this job's own work.
    fresh: bool,
}

/// How one model's part of a job ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its name; empty where none was chosen.
    pub model: String,
    pub how: How,
    pub elapsed: Duration,
}

#[derive(Debug)]
pub(super) enum How {
    Concluded(Concluded),
    /// Without a document.
    Failed(JobError),
    /// Nobody knows of what: it is to be tried alone.
    Panicked,
}

impl How {
    pub fn of(ended: Result<Concluded, JobError>) -> Self {
        match ended {
            Ok(concluded) => Self::Concluded(concluded),
            Err(error) => Self::Failed(error),
        }
    }
}

impl Concluded {
    pub fn told(self, report: JobReport) -> JobReport {
        JobReport {
            outcome: self.outcome,
            error: self.document.error.clone(),
            document: Some(self.document),
            path: Some(self.path),
            fresh: self.fresh,
            ..report
        }
    }
}

/// What is there of one model's part.
#[derive(Debug)]
pub(super) enum Judged {
    Done(Concluded),
    /// It stands, and lacks files that are asked for.
    Incomplete(Box<ResultDocument>),
    /// `there`: a document lies there that does not count as far as is known.
    Undone {
        there: bool,
    },
}

/// Judges the document that is there, if one is. One that lacks files which are asked for counts as done only where `any` does.
///
/// # Errors
/// `result_newer_schema`, `model_mismatch`; what storage says.
pub(super) async fn judge(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    model: &Model,
    any: bool,
) -> Result<Judged, JobError> {
    let path = result_path(job, tools, model)?;
    let ours = candidate(job, tools, model, progress);
    let document = match store::before(&*tools.results, &path, &ours).await? {
        Before::Done(document) => document,
        Before::Incomplete(document) if any => document,
        Before::Incomplete(document) => return Ok(Judged::Incomplete(Box::new(document))),
        Before::Undone => return Ok(Judged::Undone { there: true }),
        Before::Absent => return Ok(Judged::Undone { there: false }),
    };
    let outcome = met_as(&document);
    Ok(Judged::Done(Concluded { outcome, document: Arc::new(document), path, dead: None, fresh: false }))
}

/// How a job ended that met the document of its reading.
fn met_as(document: &ResultDocument) -> Outcome {
    let failed = document.error.as_ref().filter(|_| document.status == Status::Failed);
    failed.map_or(Outcome::AlreadyDone, |error| Outcome::Failed(error.code))
}

/// What is there before anything is read.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The models of one route that are done.
    pub done: Vec<Ended>,
    /// They are all that there are on that route.
    pub is_all: bool,
    /// A document lies there of which the bytes may tell that it is this study's.
    pub there: bool,
    /// Documents that lack files, by model.
    pub incomplete: BTreeMap<String, Box<ResultDocument>>,
}

/// Looks for results of every model that could be meant, route by route, until all of one are done. Of a route's several models
/// each has its own trouble, which is told when its turn comes.
///
/// # Errors
/// `unknown_model`; as [`judge`], of a model that is alone on its route; storage that is away.
pub(super) async fn met(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    any: bool,
    started: Instant,
) -> Result<Met, JobError> {
    let named = job.model.as_ref().map(std::slice::from_ref);
    let routes = named.map_or_else(|| tools.routing.alternatives(job.study.name()), |named| vec![named]);
    let mut met = Met::default();
    for models in routes {
        let mut done = Vec::new();
        for name in models {
            let model = tools.reader.models.get(name)?;
            match judge(job, tools, progress, &model, any).await {
                Ok(Judged::Done(concluded)) => {
                    let (model, how) = (name.clone(), How::Concluded(concluded));
                    done.push(Ended { model, how, elapsed: started.elapsed() });
                }
                Ok(Judged::Incomplete(document)) => {
                    met.incomplete.insert(name.clone(), document);
                }
                Ok(Judged::Undone { there }) => met.there |= there,
                Err(error) if models.len() > 1 && !error.code.is_outage() => met.there = true,
                Err(error) => return Err(error),
            }
        }
        met.is_all = !models.is_empty() && done.len() == models.len();
        if met.done.is_empty() || met.is_all {
            met.done = done;
        }
        if met.is_all || !met.incomplete.is_empty() {
            break;
        }
    }
    Ok(met)
}

/// When a part of a job began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What was spent for all models before.
    pub shared: Duration,
    pub began: Instant,
}

impl Clock {
    pub fn elapsed(self) -> Duration {
        self.shared + self.began.elapsed()
    }
}

/// Whatever is read out of files that are written to meanwhile is nobody's.
///
/// # Errors
/// `blob_changed`.
pub(super) fn unchanged(kept: &[Arc<dyn Kept>]) -> Result<(), JobError> {
    for kept in kept {
        if !kept.is_unchanged().map_err(unreadable)? {
            let text = "the file was written to while it was read";
            return Err(JobError::new(Stage::Decode, ErrorCode::BlobChanged, text));
        }
    }
    Ok(())
}

/// Reads the study with one model, and stores what it says.
///
/// # Errors
/// Those of the reading, and of the results' storage.
pub(super) async fn read(
    job: &Job,
    tools: &Tools,
    progress: &mut Progress,
    model: &Arc<Model>,
    opened: &mut Opened<'_>,
    kept: &[Arc<dyn Kept>],
    clock: Clock,
) -> Result<Concluded, JobError> {
    let read = opened.read(&tools.reader, model, &mut progress.timing).await;
    unchanged(kept)?;
    let mut reading = read?;
    progress.settle_digest().await?;
    reached(tools.failpoint, Failpoint::AfterInfer);

    let artefacts = std::mem::take(&mut reading.artefacts);
    let mut document = document(job, progress, model, Ok((reading, Vec::new())), clock.elapsed());
    // What lies there stays where it may be of this reading.
    let otherwise =
        progress.completes.as_deref().is_some_and(|existing| !is_same_reading(&document, existing));
    let files = artefacts::write(job, tools, progress, model, artefacts, job.force || otherwise).await?;
    document.artefacts = files.iter().map(|file| file.facts.clone()).collect();
    let (stored, path, mut document) = write(job, tools, progress, model, document).await?;
    if stored != Stored::Written {
        beside::settle(&*tools.results, &tools.reader.cpu, &path, &files, &mut document).await?;
    }
    reached(tools.failpoint, Failpoint::AfterStore);
    let outcome = match stored {
        Stored::Written | Stored::Replaced => Outcome::Read,
        Stored::AlreadyDone => met_as(&document),
        Stored::Superseded => Outcome::Superseded,
    };
    Ok(Concluded { outcome, document: Arc::new(document), path, dead: None, fresh: stored.is_ours() })
}

fn result_path(job: &Job, tools: &Tools, model: &Model) -> Result<BlobRef, JobError> {
    let facts = &model.facts;
    result_blob(&tools.results_container, &facts.name, &facts.version_in_paths(), job.study.name())
}

/// Stores the document; gives back the one that stands.
async fn write(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    model: &Model,
    document: ResultDocument,
) -> Result<(Stored, BlobRef, ResultDocument), JobError> {
    let path = result_path(job, tools, model)?;
    let ours = candidate(job, tools, model, progress);
    let (stored, document) = store::store(tools.shelves(), &path, &job.study, document, &ours).await?;
    Ok((stored, path, document))
}

/// A failure for good, as a failed-document is to have it.
#[derive(Clone, Debug)]
pub(super) struct Final {
    pub error: JobError,
    /// The attempts are used up: also a dead letter.
    exhausted: bool,
}

/// What a failure is to a document.
///
/// # Errors
/// The failure where none is written: it may pass, the worker is broken, or nothing may be named by it.
pub(super) fn concluded_by(job: &Job, tools: &Tools, error: JobError) -> Result<Final, JobError> {
    let exhausted = error.is_transient()
        && disposition::waits_for_machine(error.code).is_none()
        && job.attempt + 1 >= tools.limits.attempts
        && disposition::is_own(&error, job, tools);
    if exhausted && !disposition::is_documented(error.code) {
        // Its own name stays: whoever redrives must know what an older worker, or a slower one, must not try.
        return Err(error.with_class(ErrorClass::Permanent));
    }
    if error.is_fatal() || (error.is_transient() && !exhausted) || !disposition::is_documented(error.code) {
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
    if matches!(job.study, Study::Announced(SeriesSource::Set(_))) {
        // What its results would be called stands in the document that could not be had.
        return Err(error);
    }
    Ok(Final { error, exhausted })
}

/// Writes the failed-document of one model.
///
/// # Errors
/// The failure itself where it is told by a dead letter alone; what storage says.
pub(super) async fn conclude(
    job: &Job,
    tools: &Tools,
    progress: &mut Progress,
    model: &Model,
    failure: Final,
    clock: Clock,
) -> Result<Concluded, JobError> {
    let Final { error, exhausted } = failure;
    progress.settle_digest().await?;
    let document = document(job, progress, model, Err(&error), clock.elapsed());
    let (stored, path, document) = match write(job, tools, progress, model, document).await {
        // A lease on the result may be held for ever: the letter tells, and nothing is lost.
        Err(busy) if exhausted && busy.code == ErrorCode::BlobBusy => return Err(error),
        written => written?,
    };
    let outcome = match stored {
        Stored::Written | Stored::Replaced => Outcome::Failed(error.code),
        Stored::AlreadyDone => met_as(&document),
        Stored::Superseded => Outcome::Superseded,
    };
    // What another hand has read is nobody's dead letter.
    let dead = (exhausted && document.status == Status::Failed).then_some(error);
    Ok(Concluded { outcome, document: Arc::new(document), path, dead, fresh: stored.is_ours() })
}

/// One model's failure: a document where it is for good.
///
/// # Errors
/// As [`concluded_by`] and [`conclude`].
pub(super) async fn fail(
    job: &Job,
    tools: &Tools,
    progress: &mut Progress,
    model: &Model,
    error: JobError,
    clock: Clock,
) -> Result<Concluded, JobError> {
    conclude(job, tools, progress, model, concluded_by(job, tools, error)?, clock).await
}

/// How a failure without a document is told.
pub(super) fn unread(error: &JobError, ends: bool, report: JobReport) -> JobReport {
    let facts = ErrorFacts::from(error);
    let outcome = if ends { Outcome::GivenUp(facts.code) } else { Outcome::Unfinished(facts.code) };
    JobReport { outcome, error: Some(facts), ..report }
}
