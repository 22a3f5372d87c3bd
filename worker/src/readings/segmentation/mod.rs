//! CT volumes: from the files of a series to segments, patch by patch.

mod codes;
mod output;
mod recipe;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_ct::{CtLimits, CtVolume, PartBytes, estimate, from_parts};
use nightread_domain::result::{ArtefactKind, Payload};
use nightread_domain::{ErrorCode, FetchedStudy, JobError, Stage, Warning, WarningCode};
use nightread_engine::{Manifest, ModelKey, Patches};
use nightread_segmentation::grid::{PreparedVolume, model_shape, prepare};
use nightread_segmentation::labels::{Accumulator, Finished};
use nightread_segmentation::{Grid, window};
use nightread_volume::Affine;
use serde_json::Value;

pub(crate) use self::codes::refused;
use self::output::Measured;
use self::recipe::Network;
use super::{Reader, Reading};
use crate::compute::verified::Model;
use crate::flow::budget::Room;
use crate::flow::outlook::Share;
use crate::flow::sweep::SweepProgress;
use crate::flow::timing::Timing;
use crate::telemetry::metrics;

/// A volume, decoded once, for each of its networks in turn.
#[derive(Debug)]
pub(super) struct Decoded<'b> {
    volume: Arc<Grid<i16>>,
    told: Told,
    /// When the first network began: the time of a delivery is that of all together.
    began: Option<Instant>,
    /// What is left of it, for whoever counts the work in hand.
    share: Arc<Share>,
    /// Seconds of each network whose turn has not come.
    later: Vec<(ModelKey, f64)>,
    /// Beside the room that its files have: for the network that needs most.
    _room: Room<'b>,
}

/// # Errors
/// What the series is refused for; `exceeds_memory`.
pub(super) async fn open<'b>(
    study: FetchedStudy,
    models: &[Arc<Model>],
    reader: &'b Reader,
    timing: &mut Timing,
) -> Result<Decoded<'b>, JobError> {
    // What a manifest cannot be carried out for is told when its turn comes.
    let networks = models.iter().filter_map(|model| Some((Network::of(&model.manifest).ok()?, model)));
    let engine = reader.models.volumes().engine().await?;
    let networks: Vec<_> =
        networks.map(|(network, model)| (network, model.key.clone(), engine.cost(&model.key))).collect();
    let parts = Arc::new(parts(study));
    let limits = limits(reader);
    let (taken, later) = {
        let parts = Arc::clone(&parts);
        let needed = move || {
            let mut most = Err(codes::internal("no network reads it"));
            let mut later = Vec::new();
            for (network, key, cost) in networks {
                let needs = network.needed(&parts, &limits)?;
                let taken = needs.bytes.saturating_add(cost.map_or(0, |cost| cost.bytes));
                most = Ok(most.map_or(taken, |most: u64| most.max(taken)));
                let patch = cost.map_or(0.0, |cost| cost.patch.as_secs_f64());
                later.push((key, patch * needs.patches as f64));
            }
            most.map(|most| (most, later))
        };
        reader.cpu_of_volumes.run(Stage::Decode, needed).await?
    };
    let seconds: f64 = later.iter().map(|(_, seconds)| seconds).sum();
    let share = reader.models.volumes().outlook().add(Some(seconds).filter(|seconds| *seconds > 0.0));
    // Who has this room waits for no other, so nobody waits in a circle.
    let room = reader.bytes_of_volumes.whole_room_for(taken).await?;
    let codec = reader.options.codec_of_volumes.clone();
    let read = reader.cpu_of_volumes.run(Stage::Decode, move || {
        let started = Instant::now();
        let codec = codec.ok_or_else(|| codes::internal("there is no codec"))?;
        let volume = from_parts(&parts, &limits, &*codec).map_err(codes::refused)?;
        drop(parts);
        Ok((apart(volume), started.elapsed()))
    });
    let ((volume, told), decoded) = read.await?;
    timing.record("decode", decoded);
    let share = Arc::new(share);
    Ok(Decoded { volume: Arc::new(volume), told, began: None, share, later, _room: room })
}

pub(super) async fn read(
    decoded: &mut Decoded<'_>,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<Reading, JobError> {
    let network = Arc::new(Network::of(&model.manifest)?);
    let engine = reader.models.volumes().engine().await?;
    let prepared = {
        let (network, volume) = (Arc::clone(&network), Arc::clone(&decoded.volume));
        reader.cpu_of_volumes.run(Stage::Decode, move || {
            let started = Instant::now();
            // Room was taken for it.
            let prepared = prepare(&volume, &network.recipe, u64::MAX).map_err(codes::unprepared)?;
            Ok((prepared, started.elapsed()))
        })
    };
    let (prepared, preprocessed) = prepared.await?;
    timing.record("preprocess", preprocessed);

    let source = SourceGrid { shape: decoded.volume.shape, affine: decoded.volume.affine };
    let asked = Instant::now();
    let before = decoded.began.get_or_insert(asked).elapsed();
    let (own, limit) = (Arc::clone(&network), reader.options.volume_time);
    let progress = Arc::clone(reader.models.volumes().progress());
    decoded.later.retain(|(key, _)| *key != model.key);
    let later: f64 = decoded.later.iter().map(|(_, seconds)| seconds).sum();
    let told = Telling { progress, share: Arc::clone(&decoded.share), later };
    let swept = engine.run(&model.key, move |patches| {
        let queued = asked.elapsed();
        let started = Instant::now();
        let swept = sweep(patches, &own, &prepared, &source, Limit { before, limit }, &told);
        told.ended();
        Ok((swept?, queued, started.elapsed()))
    });
    let (finished, queued, inferred) = swept.await?;
    timing.record("queue", queued);
    timing.record("infer", inferred);

    let files = reader.options.volumes.files.clone();
    let (manifest, title) = (Arc::clone(&model.manifest), model.key.to_string());
    let (volume, told) = (Arc::clone(&decoded.volume), decoded.told.clone());
    let reported = reader.cpu_of_volumes.run(Stage::Report, move || {
        let started = Instant::now();
        let measured = Measured { volume: &volume, finished, manifest: &manifest, title: &title };
        let reading = reported(&measured, told, &files)?;
        Ok((reading, started.elapsed()))
    });
    let (reading, took) = reported.await?;
    timing.record("segments", took);
    Ok(reading)
}

/// An abdomen, along the patient's right, front and head.
pub const ABDOMEN_MM: [f64; 3] = [500.0, 400.0, 400.0];

/// How many patches of the model's network an abdomen takes.
///
/// # Errors
/// `model_mismatch` for a manifest that cannot be carried out.
pub fn patches_of_an_abdomen(manifest: &Manifest) -> Result<usize, JobError> {
    let network = Network::of(manifest)?;
    let shape = ABDOMEN_MM.map(|mm| mm as usize);
    let affine = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let needs = model_shape(shape, affine, &network.recipe).map_err(codes::unprepared)?;
    Ok(window::Plan::new(needs.shape, network.window).map_err(codes::unplanned)?.len())
}

/// The blobs of a study. Their names are for messages: places in the study, because file names may hold a patient's name.
pub(crate) fn parts(study: FetchedStudy) -> Vec<PartBytes> {
    let count = study.parts.len();
    let named = |(nth, part): (usize, nightread_domain::study::Part)| PartBytes {
        name: if count == 1 { "the file".to_owned() } else { format!("file {} of {count}", nth + 1) },
        body: part.body,
    };
    study.parts.into_iter().enumerate().map(named).collect()
}

fn limits(reader: &Reader) -> CtLimits {
    let options = &reader.options;
    CtLimits {
        max_voxels: options.scan_limits.max_voxels,
        max_inflated_bytes: options.scan_limits.max_inflated_bytes,
        interpolate_missing: options.volumes.interpolate_missing,
        ..CtLimits::default()
    }
}

/// Where the voxels of a volume lie.
#[derive(Clone, Copy, Debug)]
struct SourceGrid {
    shape: [usize; 3],
    affine: [[f64; 4]; 3],
}

impl Network {
    /// What a study takes beside its blobs and the network, by its headers.
    fn needed(&self, parts: &[PartBytes], limits: &CtLimits) -> Result<Needs, JobError> {
        let estimate = estimate(parts, limits).map_err(codes::refused)?;
        let Some(place) = estimate.place else { return Ok(Needs { bytes: estimate.bytes, patches: 0 }) };
        let needs = model_shape(place.shape, place.affine, &self.recipe).map_err(codes::unprepared)?;
        let plan = window::Plan::new(needs.shape, self.window.clone()).map_err(codes::unplanned)?;
        let memory = plan.memory(self.classes, self.resample, place.shape);
        let volume = estimate.voxels.saturating_mul(size_of::<i16>() as u64);
        // The volume stays; beside it the grid is made, and then the labels.
        let later = needs.grid_bytes.saturating_add(memory.peak as u64);
        let bytes = estimate.bytes.max(volume.saturating_add(needs.peak_bytes.max(later)));
        Ok(Needs { bytes, patches: plan.len() })
    }
}

/// What a study takes, by its headers.
#[derive(Clone, Copy, Debug)]
struct Needs {
    bytes: u64,
    /// That the network goes over; 0 where headers do not tell.
    patches: usize,
}

/// Who is told how far a volume is.
struct Telling {
    progress: Arc<SweepProgress>,
    share: Arc<Share>,
    /// Seconds of the networks whose turn comes after this one's.
    later: f64,
}

impl Telling {
    fn ended(&self) {
        self.progress.clear();
        self.share.set(self.later);
    }
}

/// What is told of the volume, beside its numbers.
#[derive(Clone, Debug)]
struct Told {
    facts: BTreeMap<String, Value>,
    warnings: Vec<Warning>,
}

/// The numbers of a volume, and what is told of it.
fn apart(volume: CtVolume) -> (Grid<i16>, Told) {
    let CtVolume { shape, values, affine, facts, warnings, file_warnings, .. } = volume;
    let warnings = warnings.iter().map(codes::warning).chain(file_warnings).collect();
    (Grid { shape, affine, values }, Told { facts, warnings })
}

/// Goes over the grid patch by patch.
fn sweep(
    patches: &mut Patches<'_>,
    network: &Network,
    prepared: &PreparedVolume,
    source: &SourceGrid,
    limit: Limit,
    told: &Telling,
) -> Result<Finished, JobError> {
    let PreparedVolume { grid, back, inside } = prepared;
    let plan = window::Plan::new(grid.shape, network.window.clone()).map_err(codes::unplanned)?;
    let resample = network.resample_for(back);
    let labels = Accumulator::new(&plan, network.classes, back, resample, source.shape);
    // Where the recipe cut the volume off the network never looked.
    let labels = labels.and_then(|labels| labels.with_inside(inside.clone()));
    let mut labels = labels.map_err(codes::unlabelled)?;
    let mut patch = vec![0.0; network.window.patch.iter().product()];
    let started = Instant::now();
    let all = u32::try_from(plan.len()).unwrap_or(u32::MAX);
    for (index, nth) in (0..plan.len()).zip(0..) {
        told.progress.set(nth, all);
        window::Patches::extract(grid, &plan, index, &mut patch).map_err(codes::unplanned)?;
        patches.infer(&patch, &mut |logits| labels.add(index, logits).map_err(codes::unlabelled))?;
        metrics::patch_computed();
        let left = plan.len() - index - 1;
        let expected = started.elapsed() / (index as u32 + 1) * u32::try_from(left).unwrap_or(u32::MAX);
        told.share.set(expected.as_secs_f64() + told.later);
        check_time(started.elapsed(), expected, limit)?;
    }
    labels
        .finish(source.affine, Affine(grid.affine).determinant().abs(), &network.rules)
        .map_err(codes::unlabelled)
}

/// How long the networks of one delivery may take.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// What others took already.
    before: Duration,
    limit: Option<Duration>,
}

/// A study that would outlast its delivery is given up while it can still be told why.
///
/// One slow patch at the start says nothing of the rest: a tenth of the time is gone before anything is concluded.
fn check_time(elapsed: Duration, left: Duration, Limit { before, limit }: Limit) -> Result<(), JobError> {
    let expected = before + elapsed + left;
    match limit {
        Some(limit) if elapsed > limit / 10 && expected > limit => {
            let text = format!(
                "the study would take {} s on this machine, and a delivery may take {} s (half of the consumer timeout of the lane volumes)",
                expected.as_secs(),
                limit.as_secs()
            );
            Err(JobError::new(Stage::Infer, ErrorCode::ExceedsLaneTime, text))
        }
        _ => Ok(()),
    }
}

fn reported(measured: &Measured<'_>, told: Told, files: &[ArtefactKind]) -> Result<Reading, JobError> {
    let (segments, doubts) = measured.segments()?;
    let Told { facts, mut warnings } = told;
    warnings.extend(doubts);
    if measured.manifest.trained_on.demonstration {
        let text = "the model is a demonstration of the chain: its segments and volumes are not for use";
        warnings.push(Warning::new(WarningCode::DemonstrationModel, text));
    }
    let artefacts = measured.artefacts(files)?;
    Ok(Reading { input: facts, payload: Some(Payload::Segments { segments }), warnings, artefacts })
}
