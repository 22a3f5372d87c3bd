//! The way of one job, straight down: announcement in, stored results out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use nightread_archive::no_study;
use nightread_domain::body::Kept;
use nightread_domain::storing::Identity;
use nightread_domain::study::Part;
use nightread_domain::{
    BlobKind, Body, Disposition, ErrorCode, FetchedStudy, Job, JobError, Lane, Media, Stage, Study,
};
use nightread_radiograph::sniff;

use super::disposition;
use super::document::Progress;
use super::each::{self, Clock, Ended, How, Judged, Met};
use super::fetching;
use super::resolving;
use super::together::{self, Processed};
use super::tools::Tools;
use crate::compute::verified::Model;
use crate::flow::failpoint::{Failpoint, reached};
use crate::flow::report::JobReport;
use crate::readings;
use crate::readings::instance::is_slice;

/// Bytes from which the format is told.
const SNIFFED: usize = 64 << 10;

/// Bytes in which the header of a slice ends.
const HEADER: usize = 4 << 20;

/// What is known so far, for whatever goes wrong.
#[derive(Debug, Default)]
struct Known {
    progress: Progress,
    /// The models whose results are still to be made, once they are known.
    left: Option<Vec<Arc<Model>>>,
    /// The models whose part is over.
    ended: Vec<Ended>,
}

/// Reads one study with all its models and says what is to become of its delivery. `turn`: which of the models begins, so that one
/// which kills workers does not keep the others from theirs.
pub async fn process(job: &Job, lane: Lane, turn: u32, tools: &Tools) -> Processed {
    let started = Instant::now();
    let job = &mut job.clone();
    // On the heap: several futures hold it, each with all its bytes.
    let ended = match Box::pin(run(job, turn, tools, started)).await {
        Ok(ended) if ended.is_empty() => {
            let report = JobReport::of(job, lane, started.elapsed());
            return Processed::new(Disposition::Done, vec![report]);
        }
        Ok(ended) => ended,
        Err(error) => {
            vec![Ended { model: String::new(), how: How::Failed(error), elapsed: started.elapsed() }]
        }
    };
    together::settled(job, lane, ended, tools)
}

/// Finds out what the study is, and reads it; a failure for good becomes a document. Empty for what is no study.
async fn run(job: &mut Job, turn: u32, tools: &Tools, started: Instant) -> Result<Vec<Ended>, JobError> {
    if let Some(error) = disposition::closed(job, tools) {
        return Err(error);
    }
    let resolved = match resolving::series(job, tools.shelves(), &tools.source_containers).await {
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
    let mut known = Known::default();
    let read = match resolved {
        Ok(()) => read(job, turn, tools, &mut known, started).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(()) => Ok(known.ended),
        Err(error) => fail(job, tools, known, error, started).await,
    }
}

/// How the study ended before, if it did, by those of its models that have a result. Nothing is downloaded, so whatever the blob
/// is, asking kills no worker.
///
/// # Errors
/// What storage says.
pub async fn done_before(job: &Job, lane: Lane, tools: &Tools) -> Result<(Processed, bool), JobError> {
    let started = Instant::now();
    let job = &mut job.clone();
    if let Some(series) = resolving::series(job, tools.shelves(), &tools.source_containers).await? {
        job.study = Study::Series(series);
    }
    let properties = Some(fetching::properties(&job.study, &*tools.source).await?);
    let progress = Progress { properties, ..Progress::default() };
    let Met { done, is_all, .. } = each::met(job, tools, &progress, true, started).await?;
    Ok((together::settled(job, lane, done, tools), is_all))
}

/// Leaves in `known` how every model's part ended: none for what is no study.
async fn read(
    job: &Job,
    turn: u32,
    tools: &Tools,
    known: &mut Known,
    started: Instant,
) -> Result<(), JobError> {
    let properties = fetching::properties(&job.study, &*tools.source).await?;
    if properties.kind == BlobKind::Directory {
        return Ok(());
    }
    known.progress.properties = Some(properties.clone());
    let mut met = each::met(job, tools, &known.progress, false, started).await?;
    if met.is_all {
        known.ended = met.done;
        return Ok(());
    }
    properties.check(tools.limits.blob_bytes)?;
    if let Study::Series(series) = &job.study {
        resolving::one_series(series, &properties, &*tools.source).await?;
    }
    let files = tools.bytes_in_files.room_for(properties.sizes()).await?;
    let room = tools.bytes_in_flight.room_for(properties.held_bytes(tools.limits.memory_bytes)).await?;
    let fetching = fetching::fetch(&job.study, &*tools.source, properties, tools.limits.blob_bytes, &files);
    let (study, properties) = known.progress.timing.timed("fetch", fetching).await?;
    // From here on the room is the files' own.
    drop(files);
    known.progress.properties = Some(properties);
    known.progress.digest = Some(tools.digests.of(&study).await?);
    if tools.identity == Identity::Content && met.there {
        known.progress.settle_digest().await?;
        met = each::met(job, tools, &known.progress, false, started).await?;
        if met.is_all {
            known.ended = met.done;
            return Ok(());
        }
    }
    reached(tools.failpoint, Failpoint::AfterFetch);

    let media = media_of(&study)?;
    known.progress.media = Some(media);
    if media == Media::Dicom && is_no_study(&study, tools).await? {
        return Ok(());
    }
    check_whole(job, &study, media, tools)?;
    let parts = parts(job, turn, media, tools, known, met, started).await?;
    let models: Vec<_> = parts.iter().map(|(model, _)| Arc::clone(model)).collect();
    if models.is_empty() {
        return Ok(());
    }
    known.left = Some(models.clone());

    let kept: Vec<Arc<dyn Kept>> = study.kept().cloned().collect();
    let opened =
        tools.reader.open(study, media, &models, room, job.arrived, &mut known.progress.timing).await;
    each::unchanged(&kept)?;
    let mut opened = opened?;
    let shared = started.elapsed();
    for (model, mut progress) in parts {
        progress.timing = known.progress.timing.clone();
        let clock = Clock { shared, began: Instant::now() };
        // One after the other: what one stored is there whatever becomes of the next.
        let reading = each::read(job, tools, &mut progress, &model, &mut opened, &kept, clock);
        let how = match AssertUnwindSafe(reading).catch_unwind().await {
            Ok(Ok(concluded)) => How::Concluded(concluded),
            Ok(Err(error)) => How::of(each::fail(job, tools, &mut progress, &model, error, clock).await),
            Err(_panic) => How::Panicked,
        };
        known.ended.push(Ended { model: model.facts.name.clone(), how, elapsed: clock.elapsed() });
    }
    Ok(())
}

/// The models that are to read the study and have not, in the order of this turn, each with what is known for it. Of several, those
/// whose part is over already are put with what ended.
async fn parts(
    job: &Job,
    turn: u32,
    media: Media,
    tools: &Tools,
    known: &mut Known,
    mut met: Met,
    started: Instant,
) -> Result<Vec<(Arc<Model>, Progress)>, JobError> {
    let names = match &job.model {
        Some(name) => std::slice::from_ref(name),
        None => tools.routing.route(&job.study, media)?,
    };
    let mut parts = Vec::with_capacity(names.len());
    let begins = turn as usize % names.len().max(1);
    for name in names.iter().cycle().skip(begins).take(names.len()) {
        let model = tools.reader.models.get(name)?;
        let mut progress = known.progress.clone();
        progress.completes = met.incomplete.remove(name);
        if names.len() > 1 {
            let clock = Clock { shared: started.elapsed(), began: Instant::now() };
            let over = match each::judge(job, tools, &progress, &model, false).await {
                Ok(Judged::Undone { .. }) => None,
                Ok(Judged::Incomplete(document)) => {
                    progress.completes = Some(document);
                    None
                }
                Ok(Judged::Done(concluded)) => Some(Ok(concluded)),
                Err(error) => Some(each::fail(job, tools, &mut progress, &model, error, clock).await),
            };
            if let Some(over) = over {
                let (model, how) = (name.clone(), How::of(over));
                known.ended.push(Ended { model, how, elapsed: clock.elapsed() });
                continue;
            }
        }
        parts.push((model, progress));
    }
    Ok(parts)
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

/// A failure of the study, which is every model's: of those that were to read it, and else of those that are meant where nothing is
/// known of its bytes.
///
/// # Errors
/// The failure itself where no model is meant, or none has a document of it.
async fn fail(
    job: &Job,
    tools: &Tools,
    known: Known,
    error: JobError,
    started: Instant,
) -> Result<Vec<Ended>, JobError> {
    let Known { mut progress, left, mut ended } = known;
    let clock = Clock { shared: started.elapsed(), began: Instant::now() };
    let failure = each::concluded_by(job, tools, error);
    let models = match (left, &failure) {
        (Some(left), _) => left,
        (None, Err(error)) => return Err(error.clone()),
        (None, Ok(failure)) => {
            let named = job.model.as_ref().map(std::slice::from_ref);
            let names = named.unwrap_or_else(|| tools.routing.fallback(job.study.name()));
            if names.is_empty() {
                return Err(failure.error.clone());
            }
            names.iter().map(|name| tools.reader.models.get(name)).collect::<Result<_, _>>()?
        }
    };
    for model in models {
        let how = match failure.clone() {
            Ok(failure) => How::of(each::conclude(job, tools, &mut progress, &model, failure, clock).await),
            Err(error) => How::Failed(error),
        };
        ended.push(Ended { model: model.facts.name.clone(), how, elapsed: clock.elapsed() });
    }
    Ok(ended)
}
