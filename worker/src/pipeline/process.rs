//! The way of one job, straight down: announcement in, stored result out.

use std::sync::Arc;
use std::time::Instant;

use nightread_archive::no_study;
use nightread_domain::result::{ErrorFacts, ResultDocument, Status};
use nightread_domain::storing::{Identity, is_same_reading, result_blob};
use nightread_domain::study::{Part, SeriesSource};
use nightread_domain::{
    BlobKind, BlobRef, Body, Disposition, ErrorClass, ErrorCode, FetchedStudy, Job, JobError, Lane, Media,
    Stage, Study,
};
use nightread_radiograph::sniff;

use super::artefacts;
use super::beside;
use super::disposition;
use super::document::{Progress, candidate, document};
use super::fetching;
use super::resolving;
use super::store::{self, Before, Stored};
use super::tools::Tools;
use crate::compute::models::Model;
use crate::flow::failpoint::{Failpoint, reached};
use crate::flow::report::{JobReport, Outcome};
use crate::readings;
use crate::readings::instance::is_slice;

/// Bytes from which the format is told.
const SNIFFED: usize = 64 << 10;

/// Bytes in which the header of a slice ends.
const HEADER: usize = 4 << 20;

/// How a job ended with a document, its own or one that was there.
struct Concluded {
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

/// Reads one study and says what is to become of its delivery.
pub async fn process(job: &Job, lane: Lane, tools: &Tools) -> (Disposition, JobReport) {
    let started = Instant::now();
    let mut progress = Progress::default();
    let job = &mut job.clone();
    let ended = run(job, tools, &mut progress, started).await;
    let model = progress.model.as_ref().map_or_else(String::new, |model| model.facts.name.clone());
    let report = JobReport { model, ..JobReport::of(job, lane, started.elapsed()) };
    match ended {
        Ok(Some(mut ended)) => {
            let dead = ended.dead.take();
            let disposition = dead.map_or(Disposition::Done, |error| Disposition::DeadLetter { error });
            (disposition, ended.told(report))
        }
        Ok(None) => (Disposition::Done, report),
        // The series is announced as a whole; nothing is wrong with its slice.
        Err(error) if error.code == ErrorCode::PartOfSeries => {
            (Disposition::Done, JobReport { outcome: Outcome::PartOfSeries, ..report })
        }
        Err(error) => {
            let facts = ErrorFacts::from(&error);
            let disposition = disposition::of_failure(job, error, tools);
            let outcome = match disposition {
                Disposition::DeadLetter { .. } => Outcome::GivenUp(facts.code),
                _ => Outcome::Unfinished(facts.code),
            };
            (disposition, JobReport { outcome, error: Some(facts), ..report })
        }
    }
}

/// Finds out what the study is, and reads it; a failure for good becomes a document.
async fn run(
    job: &mut Job,
    tools: &Tools,
    progress: &mut Progress,
    started: Instant,
) -> Result<Option<Concluded>, JobError> {
    if let Some(error) = disposition::closed(job, tools) {
        return Err(error);
    }
    let known = match resolving::series(job, tools.shelves(), &tools.source_containers).await {
        Ok(None) => Ok(()),
        Ok(Some(series)) => {
            job.study = Study::Series(series);
            if let Some(error) = disposition::closed(job, tools) {
                return Err(error);
            }
            Ok(())
        }
        Err(error) => Err(error),
    };
    let read = match known {
        Ok(()) => read(job, tools, progress, started).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(ended) => Ok(ended),
        Err(error) => fail(job, tools, progress, error, started).await.map(Some),
    }
}

/// How the study ended before, if it did. Nothing is downloaded, so whatever the blob is, asking kills no worker.
///
/// # Errors
/// What storage says.
pub async fn done_before(
    job: &Job,
    lane: Lane,
    tools: &Tools,
) -> Result<Option<(Disposition, JobReport)>, JobError> {
    let started = Instant::now();
    let job = &mut job.clone();
    if let Some(series) = resolving::series(job, tools.shelves(), &tools.source_containers).await? {
        job.study = Study::Series(series);
    }
    let properties = Some(fetching::properties(&job.study, &*tools.source).await?);
    let mut progress = Progress { properties, ..Progress::default() };
    let ended = read_before(job, tools, &mut progress, true).await?;
    Ok(ended.map(|ended| (Disposition::Done, ended.told(JobReport::of(job, lane, started.elapsed())))))
}

impl Concluded {
    fn told(self, report: JobReport) -> JobReport {
        JobReport {
            outcome: self.outcome,
            model: self.model,
            error: self.document.error.clone(),
            document: Some(self.document),
            path: Some(self.path),
            fresh: self.fresh,
            ..report
        }
    }
}

/// `None` for what is no study.
async fn read(
    job: &Job,
    tools: &Tools,
    progress: &mut Progress,
    started: Instant,
) -> Result<Option<Concluded>, JobError> {
    let properties = fetching::properties(&job.study, &*tools.source).await?;
    if properties.kind == BlobKind::Directory {
        return Ok(None);
    }
    progress.properties = Some(properties.clone());
    if let Some(done) = read_before(job, tools, progress, false).await? {
        return Ok(Some(done));
    }
    properties.check(tools.limits.blob_bytes)?;
    if let Study::Series(series) = &job.study {
        resolving::one_series(series, &properties, &*tools.source).await?;
    }
    let room = tools.bytes_in_flight.room_for(properties.held_bytes(tools.limits.memory_bytes)).await?;
    let fetching = fetching::fetch(&job.study, &*tools.source, properties, tools.limits.blob_bytes);
    let (study, properties) = progress.timing.timed("fetch", fetching).await?;
    progress.properties = Some(properties);
    progress.sha256 = Some(study.sha256.clone());
    if tools.identity == Identity::Content
        && let Some(done) = read_before(job, tools, progress, false).await?
    {
        return Ok(Some(done));
    }
    reached(tools.failpoint, Failpoint::AfterFetch);

    let media = media_of(&study)?;
    progress.media = Some(media);
    if media == Media::Dicom && is_no_study(&study, tools).await? {
        return Ok(None);
    }
    check_whole(job, &study, media, tools)?;
    let named = job.model.as_deref();
    let model = tools.reader.models.get(match named {
        Some(name) => name,
        None => tools.routing.route(&job.study, media)?,
    })?;
    progress.model = Some(Arc::clone(&model));

    let kept: Vec<_> = study.kept().cloned().collect();
    let read = tools.reader.read(study, media, &model, room, &mut progress.timing).await;
    // Whatever was read out of a file that was written to meanwhile is nobody's.
    for kept in kept {
        if !kept.is_unchanged().map_err(readings::unreadable)? {
            let text = "the file was written to while it was read";
            return Err(JobError::new(Stage::Decode, ErrorCode::BlobChanged, text));
        }
    }
    let mut reading = read?;
    reached(tools.failpoint, Failpoint::AfterInfer);

    let artefacts = std::mem::take(&mut reading.artefacts);
    let mut document = document(job, progress, &model, Ok((reading, Vec::new())), started.elapsed());
    // What lies there stays where it may be of this reading.
    let otherwise =
        progress.completes.as_deref().is_some_and(|existing| !is_same_reading(&document, existing));
    let files = artefacts::write(job, tools, progress, &model, artefacts, job.force || otherwise).await?;
    document.artefacts = files.iter().map(|file| file.facts.clone()).collect();
    let (stored, path, mut document) = write(job, tools, progress, &model, document).await?;
    if stored != Stored::Written {
        beside::settle(&*tools.results, &tools.reader.cpu, &path, &files, &mut document).await?;
    }
    reached(tools.failpoint, Failpoint::AfterStore);
    let outcome = match stored {
        Stored::Written | Stored::Replaced => Outcome::Read,
        Stored::Superseded => Outcome::Superseded,
    };
    let name = model.facts.name.clone();
    Ok(Some(Concluded { outcome, model: name, document: Arc::new(document), path, dead: None, fresh: true }))
}

/// Whether a DICOM file is a result: one of ours that comes back out of an archive, or what somebody else says about images.
async fn is_no_study(study: &FetchedStudy, tools: &Tools) -> Result<bool, JobError> {
    // Results are small enough to be held.
    let [Part { body: Body::Held(bytes), .. }] = study.parts.as_slice() else { return Ok(false) };
    let (bytes, most) = (bytes.clone(), tools.reader.options.decode.max_inflated_bytes);
    tools.reader.cpu.run(Stage::Decode, move || Ok(no_study(&bytes, most).is_some())).await
}

/// What the bytes of a study are; of a series, those of its first blob.
fn media_of(study: &FetchedStudy) -> Result<Media, JobError> {
    let Some(Part { blob, body }) = study.parts.first() else {
        return Err(JobError::new(Stage::Fetch, ErrorCode::Internal, "a study without bytes"));
    };
    let head = body.head(SNIFFED).map_err(readings::unreadable)?;
    sniff(&head).ok_or_else(|| readings::unknown(&head, blob.name()))
}

/// `part_of_series` for one slice on a route that carries series, unless somebody named the model that is to read it.
fn check_whole(job: &Job, study: &FetchedStudy, media: Media, tools: &Tools) -> Result<(), JobError> {
    let (Study::Blob(blob), Media::Dicom, None) = (&job.study, media, &job.model) else { return Ok(()) };
    if tools.routing.of_instances(blob).is_none() {
        return Ok(());
    }
    let head = study.parts.first().map(|part| part.body.head(HEADER)).transpose();
    if head.map_err(readings::unreadable)?.is_some_and(|head| is_slice(&head)) {
        let text = "the blob is one slice of a series, which is announced as a whole";
        return Err(JobError::new(Stage::Decode, ErrorCode::PartOfSeries, text));
    }
    Ok(())
}

/// A result that is already there, under any model that could be meant. One that lacks files which are asked for counts only
/// where `any` does; else it is kept as what this job completes.
async fn read_before(
    job: &Job,
    tools: &Tools,
    progress: &mut Progress,
    any: bool,
) -> Result<Option<Concluded>, JobError> {
    progress.completes = None;
    let named = job.model.as_deref();
    for name in named.map_or_else(|| tools.routing.candidates(job.study.name()), |name| vec![name]) {
        let model = tools.reader.models.get(name)?;
        let path = result_path(job, tools, &model)?;
        let ours = candidate(job, tools, &model, progress);
        let document = match store::before(&*tools.results, &path, &ours).await? {
            Before::Done(document) => Some(document),
            Before::Incomplete(document) if any => Some(document),
            Before::Incomplete(document) => {
                progress.completes = Some(Box::new(document));
                return Ok(None);
            }
            Before::Undone => None,
        };
        if let Some(document) = document {
            let outcome = match document.status {
                Status::Ok => Outcome::AlreadyDone,
                Status::Failed => {
                    document.error.as_ref().map_or(Outcome::AlreadyDone, |e| Outcome::Failed(e.code))
                }
            };
            let (model, document) = (name.to_owned(), Arc::new(document));
            return Ok(Some(Concluded { outcome, model, document, path, dead: None, fresh: false }));
        }
    }
    Ok(None)
}

fn result_path(job: &Job, tools: &Tools, model: &Model) -> Result<BlobRef, JobError> {
    let facts = &model.facts;
    result_blob(&tools.results_container, &facts.name, &facts.version_in_paths(), job.study.name())
}

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

/// A failure for good becomes a failed-document; anything else goes on as an error.
async fn fail(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    error: JobError,
    started: Instant,
) -> Result<Concluded, JobError> {
    // This machine's disk is not the study's fault.
    let exhausted = error.is_transient()
        && error.code != ErrorCode::SpoolUnavailable
        && job.attempt + 1 >= tools.limits.attempts
        && disposition::is_own(&error, job, tools);
    if exhausted && error.code == ErrorCode::ResultNewerSchema {
        // Its own name stays: whoever redrives must know that an older worker must not try.
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
    let model = match &progress.model {
        Some(model) => Arc::clone(model),
        None => match job.model.as_deref().or_else(|| tools.routing.fallback(job.study.name())) {
            Some(name) => tools.reader.models.get(name)?,
            None => return Err(error),
        },
    };
    let document = document(job, progress, &model, Err(&error), started.elapsed());
    let (stored, path, document) = match write(job, tools, progress, &model, document).await {
        // A lease on the result may be held for ever: the letter tells, and nothing is lost.
        Err(busy) if exhausted && busy.code == ErrorCode::BlobBusy => return Err(error),
        written => written?,
    };
    let outcome = match stored {
        Stored::Written | Stored::Replaced => Outcome::Failed(error.code),
        Stored::Superseded => Outcome::Superseded,
    };
    let (model, document) = (model.facts.name.clone(), Arc::new(document));
    Ok(Concluded { outcome, model, document, path, dead: exhausted.then_some(error), fresh: true })
}
