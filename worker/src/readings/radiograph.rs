//! Chest radiographs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_domain::result::{ArtefactKind, Finding, NOTICE, Payload};
use nightread_domain::storing::HeatmapLabels;
use nightread_domain::study::Part;
use nightread_domain::{ErrorCode, JobError, Stage, Warning};
use nightread_engine::{ArrayD, Manifest, Plan, Preprocessing, Score, measurements, scores};
use nightread_radiograph::{
    ActivationMap, DecodeOptions, Explained, Field, GatePolicy, HeatmapPainter, Radiograph, XrvPreprocessing,
    centre_field, decode, field_of, low_contrast, npy, prepare, prepare_by,
};
use serde_json::Value;

use super::{Artefact, Reader, Reading, unreadable};
use crate::compute::models::Model;
use crate::flow::WORKER_VERSION;
use crate::flow::budget::Room;
use crate::flow::timing::Timing;

/// Longer side of the image in a heatmap, in pixels: twice what the networks see and some.
const HEATMAP_SIDE: u32 = 512;

/// A radiograph, decoded once, as each of its models takes it.
#[derive(Debug)]
pub(super) struct PreparedRadiograph {
    /// By the model's name.
    inputs: BTreeMap<String, Result<Input, JobError>>,
    facts: BTreeMap<String, Value>,
    /// Held until scores are known only where it may be painted.
    image: Option<Arc<Radiograph>>,
}

/// What one model takes.
#[derive(Debug)]
struct Input {
    tensor: Vec<f32>,
    warnings: Vec<Warning>,
    took: Duration,
}

/// What one model needs to have its input made.
struct Recipe {
    model: String,
    gate: GatePolicy,
    way: Result<Way, JobError>,
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
    let recipes: Vec<Recipe> = models
        .iter()
        .map(|model| Recipe {
            model: model.facts.name.clone(),
            gate: model.gate.clone(),
            way: Way::of(&model.manifest),
        })
        .collect();
    let options = DecodeOptions {
        limits: reader.options.decode,
        gate: recipes.first().map(|recipe| recipe.gate.clone()).unwrap_or_default(),
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
        let inputs =
            recipes.into_iter().map(|recipe| (recipe.model.clone(), input(&image, recipe))).collect();
        let facts = input_facts(&image);
        Ok((PreparedRadiograph { inputs, facts, image: keeps.then(|| Arc::new(image)) }, decoded))
    });
    let (prepared, decoded) = prepared.await?;
    timing.record("decode", decoded);
    Ok(prepared)
}

/// The image as one model takes it. What panics here is that model's alone.
fn input(image: &Radiograph, recipe: Recipe) -> Result<Input, JobError> {
    let started = Instant::now();
    let way = recipe.way?;
    let prepared = catch_unwind(AssertUnwindSafe(|| way.prepare(image))).unwrap_or_else(|_panic| {
        let text = "preparing this image made the preprocessing panic";
        Err(JobError::new(Stage::Preprocess, ErrorCode::DecodeFailed, text))
    });
    let (tensor, doubt) = prepared?;
    let mut warnings = recipe.gate.warnings(image);
    warnings.extend(doubt);
    Ok(Input { tensor, warnings, took: started.elapsed() })
}

pub(super) async fn read(
    prepared: &mut PreparedRadiograph,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<Reading, JobError> {
    let input = prepared.inputs.remove(&model.facts.name).unwrap_or_else(|| {
        let text = "an image was not prepared for its model";
        Err(JobError::new(Stage::Preprocess, ErrorCode::Internal, text))
    });
    let Input { tensor, warnings, took } = input?;
    timing.record("preprocess", took);

    let outputs = reader.models.engine(&model.key).await?.infer(&model.key, tensor).await?;
    timing.record("queue", outputs.timing.queued);
    timing.record("infer", outputs.timing.run);
    let scored = scores(&model.manifest, &outputs.arrays)?;
    let mut artefacts = match (&prepared.image, reader.options.heatmaps.clone()) {
        (Some(image), Some(labels)) if model.manifest.output.has_cam() => {
            let started = Instant::now();
            let maps = model.cams.of_item(&outputs.arrays)?;
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
        artefacts.push(embedding(outputs.arrays.get(name)?));
    }
    let findings = scored.into_iter().map(finding).collect();
    let measurements = measurements(&model.manifest, &outputs.arrays)?;
    let payload = Some(Payload::Findings { findings, measurements });
    Ok(Reading { input: prepared.facts.clone(), payload, warnings, artefacts })
}

/// How heatmaps are made: of which findings, with the arrays behind them or without, and with which model.
struct Heatmaps {
    labels: HeatmapLabels,
    arrays: bool,
    /// Its name and version.
    model: String,
}

impl Heatmaps {
    /// A heatmap for each finding that is asked for: what speaks for it in the part of the image that the network saw,
    /// its `field`. `maps`: the class-activation maps of each head, (labels, height, width).
    ///
    /// # Errors
    /// `model_mismatch` when a label has no map.
    fn paint(
        &self,
        image: &Radiograph,
        field: &Field,
        maps: &[ArrayD<f32>],
        scored: &[Score],
    ) -> Result<Vec<Artefact>, JobError> {
        let wanted = scored.iter().filter(|score| self.labels.wants(&score.label, score.positive));
        let wanted: Vec<&Score> = wanted.collect();
        let mut made = Vec::new();
        if wanted.is_empty() {
            return Ok(made);
        }
        let painter = HeatmapPainter::new(image, field, HEATMAP_SIDE)?;
        let software = format!("Nightread {WORKER_VERSION}");
        for score in wanted {
            // Suppressed labels have a map, but no place among the findings.
            let Some((values, height, width)) =
                maps.get(score.head).and_then(|maps| map_of(maps, score.column))
            else {
                let text = format!("{} has no class-activation map of {}", self.model, score.label);
                return Err(JobError::new(Stage::Report, ErrorCode::ModelMismatch, text));
            };
            let map = ActivationMap::new(values, height, width)?;
            let painted = painter.paint(&map, &self.explained(score, &software))?;
            made.push(artefact(ArtefactKind::Heatmap, score, "png", painted));
            if self.arrays {
                made.push(artefact(ArtefactKind::HeatmapArray, score, "npy", map.npy()));
            }
        }
        Ok(made)
    }

    fn explained<'a>(&'a self, score: &'a Score, software: &'a str) -> Explained<'a> {
        Explained {
            label: &score.label,
            logit: score.logit,
            probability: score.probability,
            threshold: score.threshold,
            positive: score.positive,
            model: &self.model,
            software,
            notice: NOTICE,
        }
    }
}

/// Values, height and width of one label's map.
fn map_of(maps: &ArrayD<f32>, label: usize) -> Option<(&[f32], usize, usize)> {
    let [_, height, width] = *maps.shape() else { return None };
    let size = height * width;
    let values = maps.as_slice()?.get(label * size..(label + 1) * size)?;
    Some((values, height, width))
}

fn artefact(kind: ArtefactKind, score: &Score, extension: &str, body: Vec<u8>) -> Artefact {
    let suffix = format!("heat.{}-{}.{extension}", score.index, file_part(&score.label));
    Artefact { kind, of: Some(score.label.clone()), suffix, bids: None, body: body.into() }
}

/// What the network made of the image before its labels: one axis of single values.
fn embedding(array: &ArrayD<f32>) -> Artefact {
    let body = npy(array.as_slice().unwrap_or_default(), array.shape());
    let suffix = "embedding.npy".to_owned();
    Artefact { kind: ArtefactKind::Embedding, of: None, suffix, bids: None, body: body.into() }
}

/// A label as part of a file's name: lower case, one hyphen for whatever is neither letter nor digit, the first 24 of it.
fn file_part(label: &str) -> String {
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut part = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    part.truncate(24);
    part
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
            Preprocessing::Projections1 { .. } | Preprocessing::Ct(_) => None,
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
