//! Chest radiographs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_domain::result::{ArtefactKind, Finding, Payload};
use nightread_domain::study::Part;
use nightread_domain::{ErrorCode, JobError, Stage, Warning};
use nightread_engine::{
    ArrayD, Arrays, Manifest, Outputs, Plan, Preprocessing, Score, combined, measurements, scores,
};
use nightread_radiograph::{
    DecodeOptions, Field, GatePolicy, Radiograph, XrvPreprocessing, centre_field, decode, field_of,
    low_contrast, npy, prepare, prepare_by,
};
use serde_json::Value;

use super::heatmaps::Heatmaps;
use super::{Artefact, Reader, Reading, unreadable};
use crate::compute::verified::Model;
use crate::flow::budget::Room;
use crate::flow::timing::Timing;

/// A radiograph, decoded once, as each of its models takes it.
#[derive(Debug)]
pub(super) struct PreparedRadiograph {
    /// By the model's name: of each of its networks.
    inputs: BTreeMap<String, Vec<Result<Input, JobError>>>,
    facts: BTreeMap<String, Value>,
    /// Held until scores are known only where it may be painted.
    image: Option<Arc<Radiograph>>,
}

/// What one network takes.
#[derive(Debug)]
struct Input {
    tensor: Vec<f32>,
    warnings: Vec<Warning>,
    took: Duration,
}

/// What one network needs to have its input made.
struct Recipe {
    /// The model's bounds, and of a member of an ensemble its own too.
    gates: Vec<GatePolicy>,
    way: Result<Way, JobError>,
}

impl Recipe {
    /// Those of a model's networks.
    fn of(model: &Arc<Model>) -> Vec<Self> {
        let recipe = |network: &Arc<Model>| {
            let own = (!Arc::ptr_eq(model, network)).then(|| network.gate.clone());
            let gates = std::iter::once(model.gate.clone()).chain(own).collect();
            Self { gates, way: Way::of(&network.manifest) }
        };
        model.networks().iter().map(recipe).collect()
    }
}

pub(super) async fn open(
    Part { body, .. }: Part,
    models: &[Arc<Model>],
    reader: &Reader,
    room: &mut Room<'_>,
    timing: &mut Timing,
) -> Result<PreparedRadiograph, JobError> {
    let (bytes, limit) = (body.len(), reader.options.image_bytes);
    if bytes > limit {
        let text = format!("the image has {bytes} bytes, {limit} are allowed ([limits] image_bytes)");
        return Err(JobError::new(Stage::Decode, ErrorCode::BlobTooLarge, text));
    }
    if body.kept().is_some() {
        // It is to be held in memory after all.
        room.exchange(bytes).await?;
    }
    let recipes: Vec<(String, Vec<Recipe>)> =
        models.iter().map(|model| (model.facts.name.clone(), Recipe::of(model))).collect();
    let options = DecodeOptions {
        limits: reader.options.decode,
        gate: models.first().map(|model| model.gate.clone()).unwrap_or_default(),
        stored_max: reader.options.stored_max,
        codec: reader.options.codec.clone(),
    };
    let keeps =
        reader.options.heatmaps.is_some() && models.iter().any(|model| model.manifest.output.has_cam());
    let prepared = reader.cpu.run(Stage::Decode, move || {
        let started = Instant::now();
        let body = body.into_bytes().map_err(unreadable)?;
        let image = decode(&body, &options)?;
        drop(body);
        let decoded = started.elapsed();
        let inputs = recipes.into_iter().map(|(model, recipes)| {
            (model, recipes.into_iter().map(|recipe| input(&image, recipe)).collect())
        });
        let inputs = inputs.collect();
        let facts = input_facts(&image);
        Ok((PreparedRadiograph { inputs, facts, image: keeps.then(|| Arc::new(image)) }, decoded))
    });
    let (prepared, decoded) = prepared.await?;
    timing.record("decode", decoded);
    Ok(prepared)
}

/// The image as one network takes it. What panics here is its model's alone.
fn input(image: &Radiograph, recipe: Recipe) -> Result<Input, JobError> {
    let started = Instant::now();
    let way = recipe.way?;
    let prepared = catch_unwind(AssertUnwindSafe(|| way.prepare(image))).unwrap_or_else(|_panic| {
        let text = "preparing this image made the preprocessing panic";
        Err(JobError::new(Stage::Preprocess, ErrorCode::DecodeFailed, text))
    });
    let (tensor, doubt) = prepared?;
    let mut warnings = Vec::new();
    add(&mut warnings, recipe.gates.iter().flat_map(|gate| gate.warnings(image)).chain(doubt));
    Ok(Input { tensor, warnings, took: started.elapsed() })
}

/// Adds the warnings that are not there yet: networks of one model warn of the same.
fn add(warnings: &mut Vec<Warning>, more: impl IntoIterator<Item = Warning>) {
    for warning in more {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

/// Runs the networks of a model, each on its own input, and gives their outputs in its order. Where one fails, the model does.
async fn infer(
    inputs: Vec<Input>,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<(Vec<Arrays>, Vec<Warning>), JobError> {
    let mut warnings = Vec::new();
    let mut running = Vec::with_capacity(inputs.len());
    timing.record("preprocess", inputs.iter().map(|input| input.took).sum());
    for (input, network) in inputs.into_iter().zip(model.networks()) {
        add(&mut warnings, input.warnings);
        running.push(run(network, model, input.tensor, reader));
    }
    let outputs = futures::future::try_join_all(running).await?;
    // They run side by side: what one waited for, the study did.
    timing.record("queue", outputs.iter().map(|outputs| outputs.timing.queued).max().unwrap_or_default());
    timing.record("infer", outputs.iter().map(|outputs| outputs.timing.run).max().unwrap_or_default());
    Ok((outputs.into_iter().map(|outputs| outputs.arrays).collect(), warnings))
}

async fn run(
    network: &Arc<Model>,
    model: &Arc<Model>,
    tensor: Vec<f32>,
    reader: &Reader,
) -> Result<Outputs, JobError> {
    let engine = reader.models.engine(&network.key).await?;
    engine.infer(&network.key, tensor).await.map_err(|error| of_member(error, network, model))
}

/// Names the member of an ensemble whose error it is.
fn of_member(mut error: JobError, network: &Model, model: &Model) -> JobError {
    if !model.members.is_empty() {
        error.message = format!("member {}: {}", network.facts.name, error.message);
    }
    error
}

/// The scores of a model: its network's, or those of an ensemble.
fn scored(model: &Model, arrays: &[Arrays]) -> Result<Vec<Score>, JobError> {
    if let ([own], true) = (arrays, model.members.is_empty()) {
        return scores(&model.manifest, own);
    }
    let of_members = model.members.iter().zip(arrays).map(|(member, arrays)| {
        scores(&member.manifest, arrays).map_err(|error| of_member(error, member, model))
    });
    combined(&model.manifest, &of_members.collect::<Result<Vec<_>, _>>()?)
}

pub(super) async fn read(
    prepared: &mut PreparedRadiograph,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<Reading, JobError> {
    let inputs = prepared.inputs.remove(&model.facts.name).unwrap_or_default();
    let inputs = inputs.into_iter().collect::<Result<Vec<_>, _>>()?;
    if inputs.len() != model.networks().len() {
        let text = "an image was not prepared for its model";
        return Err(JobError::new(Stage::Preprocess, ErrorCode::Internal, text));
    }
    let (arrays, warnings) = infer(inputs, model, reader, timing).await?;
    let scored = scored(model, &arrays)?;
    // What is read of an output beside its labels is a network's own; an ensemble's manifest names none.
    let own = &arrays[0];
    let mut artefacts = match (&prepared.image, reader.options.heatmaps.clone()) {
        (Some(image), Some(labels)) if model.manifest.output.has_cam() => {
            let started = Instant::now();
            let maps = model.cams.of_item(own)?;
            let (scored, image) = (scored.clone(), Arc::clone(image));
            let field = Way::of(&model.manifest)?.field(&image);
            let facts = &model.facts;
            let heatmaps = Heatmaps {
                labels,
                arrays: reader.options.write_heatmap_arrays,
                model: format!("{} {}", facts.name, facts.version_in_paths()),
            };
            let painted =
                reader.cpu.run(Stage::Report, move || heatmaps.paint(&image, &field, &maps, &scored)).await?;
            timing.record("heatmaps", started.elapsed());
            painted
        }
        _ => Vec::new(),
    };
    if let Some(name) = model.manifest.output.embedding.as_deref().filter(|_| reader.options.write_embeddings)
    {
        artefacts.push(embedding(own.get(name)?));
    }
    let findings = scored.into_iter().map(finding).collect();
    let measurements = measurements(&model.manifest, own)?;
    let payload = Some(Payload::Findings { findings, measurements });
    Ok(Reading { input: prepared.facts.clone(), payload, warnings, artefacts })
}

/// What the network made of the image before its labels: one axis of single values.
fn embedding(array: &ArrayD<f32>) -> Artefact {
    let body = npy(array.as_slice().unwrap_or_default(), array.shape());
    let suffix = "embedding.npy".to_owned();
    Artefact { kind: ArtefactKind::Embedding, of: None, suffix, bids: None, body: body.into() }
}

/// From an image to the network's input.
pub(crate) enum Way {
    Xrv(XrvPreprocessing),
    Steps(Plan),
}

impl Way {
    /// # Errors
    /// `model_mismatch` for a preprocessing of other studies.
    pub(crate) fn of(manifest: &Manifest) -> Result<Self, JobError> {
        let way = match &manifest.preprocessing {
            Preprocessing::Xrv1 { size } => {
                u32::try_from(*size).ok().and_then(XrvPreprocessing::new).map(Self::Xrv)
            }
            Preprocessing::Steps(plan) => Some(Self::Steps(plan.clone())),
            Preprocessing::Projections1 { .. } | Preprocessing::Ct(_) | Preprocessing::Members => None,
        };
        way.ok_or_else(|| {
            let id = manifest.preprocessing.id();
            let text =
                format!("preprocessing {id} of {} cannot prepare radiographs as it is set", manifest.name);
            JobError::new(Stage::Preprocess, ErrorCode::ModelMismatch, text)
        })
    }

    /// What of an image the network sees.
    pub(crate) fn field(&self, image: &Radiograph) -> Field {
        match self {
            Self::Xrv(_) => centre_field(image),
            Self::Steps(plan) => field_of(image, plan),
        }
    }

    /// The tensor, and the doubt about its contrast, as if the range of its values were -1024 to 1024.
    pub(crate) fn prepare(&self, image: &Radiograph) -> Result<(Vec<f32>, Option<Warning>), JobError> {
        match self {
            Self::Xrv(spec) => {
                let tensor = prepare(image, spec);
                let doubt = low_contrast(&tensor);
                Ok((tensor, doubt))
            }
            Self::Steps(plan) => {
                let prepared = prepare_by(image, plan)?;
                let doubt = plan.range_of_values().and_then(|[low, high]| {
                    let share = |value| (f64::from(value) - low) / (high - low);
                    low_contrast(&prepared.seen.map(|value| (share(value) * 2048.0 - 1024.0) as f32))
                });
                Ok((prepared.tensor, doubt))
            }
        }
    }
}

fn finding(score: Score) -> Finding {
    Finding {
        label: score.label,
        logit: score.logit,
        probability: score.probability,
        threshold: score.threshold,
        positive: score.positive,
    }
}

fn input_facts(image: &Radiograph) -> BTreeMap<String, Value> {
    let mut facts = match serde_json::to_value(image.facts()) {
        Ok(Value::Object(facts)) => {
            // Its format is the study's.
            facts.into_iter().filter(|(name, value)| name != "media" && !value.is_null()).collect()
        }
        _ => BTreeMap::new(),
    };
    facts.insert("width_px".to_owned(), image.width().into());
    facts.insert("height_px".to_owned(), image.height().into());
    facts.insert("max_value".to_owned(), image.max_value().into());
    facts
}
