//! CT volumes: from the files of a series to segments, patch by patch.

mod codes;
mod needs;
mod output;
mod recipe;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

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
use self::needs::{Chosen, Needs};
use self::output::Measured;
use self::recipe::Network;
pub use self::time::LaneTime;
use self::time::{Clock, Turn};
use super::{Reader, Reading};
use crate::compute::verified::Model;
use crate::flow::budget::Room;
use crate::flow::outlook::Share;
use crate::flow::sweep::SweepProgress;
use crate::flow::timing::Timing;
use crate::telemetry::metrics;

/// A study, for each of its networks in turn.
#[derive(Debug)]
pub(super) struct Decoded<'b> {
    /// None where no network may read it.
    volume: Option<Volume<'b>>,
    /// The networks that may not, each for a reason of its own.
    refused: Vec<(ModelKey, JobError)>,
    /// Seconds of each network whose turn has not come.
    later: Vec<(ModelKey, f64)>,
    clock: Clock,
}

/// A volume, decoded once.
#[derive(Debug)]
struct Volume<'b> {
    grid: Arc<Grid<i16>>,
    told: Told,
    /// What is left of it, for whoever counts the work in hand.
    share: Arc<Share>,
    /// Beside the room that its files have: for the network that needs most.
    _room: Room<'b>,
}

/// `arrived`: when the delivery came, where one waits for it.
///
/// # Errors
/// What the series is refused for; `lane_time_spent`.
pub(super) async fn open<'b>(
    study: FetchedStudy,
    models: &[Arc<Model>],
    reader: &'b Reader,
    arrived: Option<Instant>,
    timing: &mut Timing,
) -> Result<Decoded<'b>, JobError> {
    let clock = Clock::new(arrived, reader.options.volume_time);
    let engine = reader.models.volumes().engine().await?;
    let asked =
        |model: &Arc<Model>| (model.key.clone(), Network::of(&model.manifest), engine.cost(&model.key));
    let networks: Vec<_> = models.iter().map(asked).collect();
    let parts = Arc::new(parts(study));
    let limits = limits(reader);
    let codec =
        reader.options.codec_of_volumes.clone().ok_or_else(|| codes::internal("there is no codec"))?;
    let needed = {
        let (parts, codec) = (Arc::clone(&parts), Arc::clone(&codec));
        let needed = move || {
            let estimate = estimate(&parts, &limits, &*codec).map_err(codes::refused)?;
            let needs = networks.into_iter().map(|(key, network, cost)| {
                (key, network.and_then(|network| Needs::of(&network, cost, &estimate)))
            });
            Ok(needs.collect())
        };
        reader.cpu_of_volumes.run(Stage::Decode, needed).await?
    };
    let Chosen { bytes, seconds: later, refused } =
        Chosen::of(needed, |bytes| reader.bytes_of_volumes.holds(bytes));
    let Some((_, first)) = later.first() else {
        return Ok(Decoded { volume: None, refused, later, clock });
    };
    let seconds: f64 = later.iter().map(|(_, seconds)| seconds).sum();
    let share = reader.models.volumes().outlook().add(Some(seconds).filter(|seconds| *seconds > 0.0));
    // Those after the first have another delivery, where this one does not suffice.
    clock.may_wait(share.ahead(), *first)?;
    // Who has this room waits for no other, so nobody waits in a circle.
    let room = reader.bytes_of_volumes.whole_room_for(bytes).await?;
    let read = reader.cpu_of_volumes.run(Stage::Decode, move || {
        let started = Instant::now();
        let volume = from_parts(&parts, &limits, &*codec).map_err(codes::refused)?;
        drop(parts);
        Ok((apart(volume), started.elapsed()))
    });
    let ((grid, told), decoded) = read.await?;
    timing.record("decode", decoded);
    let volume = Volume { grid: Arc::new(grid), told, share: Arc::new(share), _room: room };
    Ok(Decoded { volume: Some(volume), refused, later, clock })
}

pub(super) async fn read(
    decoded: &mut Decoded<'_>,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<Reading, JobError> {
    let Decoded { volume, refused, later, clock } = decoded;
    if let Some((_, error)) = refused.iter().find(|(key, _)| *key == model.key) {
        return Err(error.clone());
    }
    let volume = volume.as_ref().ok_or_else(|| codes::internal("no network reads it"))?;
    let network = Arc::new(Network::of(&model.manifest)?);
    let engine = reader.models.volumes().engine().await?;
    let prepared = {
        let (network, volume) = (Arc::clone(&network), Arc::clone(&volume.grid));
        reader.cpu_of_volumes.run(Stage::Decode, move || {
            let started = Instant::now();
            // Room was taken for it.
            let prepared = prepare(&volume, &network.recipe, u64::MAX).map_err(codes::unprepared)?;
            Ok((prepared, started.elapsed()))
        })
    };
    let (prepared, preprocessed) = prepared.await?;
    timing.record("preprocess", preprocessed);

    let source = SourceGrid { shape: volume.grid.shape, affine: volume.grid.affine };
    let asked = Instant::now();
    let (own, in_turn, spent) = (Arc::clone(&network), *clock, timing.so_far());
    let progress = Arc::clone(reader.models.volumes().progress());
    later.retain(|(key, _)| *key != model.key);
    let later: f64 = later.iter().map(|(_, seconds)| seconds).sum();
    let told = Telling { progress, share: Arc::clone(&volume.share), later };
    let swept = engine.run(&model.key, move |patches| {
        let queued = asked.elapsed();
        let started = Instant::now();
        let swept = sweep(patches, &own, &prepared, &source, in_turn.turn(spent), &told);
        told.ended();
        Ok((swept?, queued, started.elapsed()))
    });
    let swept = swept.await;
    clock.gave_up |= swept.as_ref().is_err_and(|error| error.code == ErrorCode::ExceedsLaneTime);
    let (finished, queued, inferred) = swept?;
    timing.record("queue", queued);
    timing.record("infer", inferred);

    let files = reader.options.volumes.files.clone();
    let (manifest, title) = (Arc::clone(&model.manifest), model.key.to_string());
    let (volume, told) = (Arc::clone(&volume.grid), volume.told.clone());
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
    turn: Turn,
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
        if left > 0 {
            turn.check(started.elapsed(), expected)?;
        }
    }
    labels
        .finish(source.affine, Affine(grid.affine).determinant().abs(), &network.rules)
        .map_err(codes::unlabelled)
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
