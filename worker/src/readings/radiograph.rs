//! Chest radiographs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use nightread_domain::result::{ArtefactKind, Finding, Payload};
use nightread_domain::study::Part;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{ArrayD, Manifest, Preprocessing, Score, scores};
use nightread_radiograph::{
    DecodeOptions, Radiograph, XrvPreprocessing, decode, low_contrast, paint_heatmap, prepare,
};
use serde_json::Value;

use super::{Artefact, Reader, Reading, unreadable};
use crate::compute::models::Model;
use crate::flow::timing::Timing;

/// Side of a painted heatmap, in pixels: twice what the networks see and some.
const HEATMAP_SIDE: u32 = 512;

pub(super) async fn read(
    Part { body, .. }: Part,
    model: &Arc<Model>,
    reader: &Reader,
    timing: &mut Timing,
) -> Result<Reading, JobError> {
    let (bytes, limit) = (body.len(), reader.options.image_bytes);
    if bytes > limit {
        let text = format!("the image has {bytes} bytes, {limit} are allowed ([limits] image_bytes)");
        return Err(JobError::new(Stage::Decode, ErrorCode::BlobTooLarge, text));
    }
    let options = DecodeOptions {
        limits: reader.options.decode,
        gate: model.gate.clone(),
        stored_max: reader.options.stored_max,
        codec: reader.options.codec.clone(),
    };
    let preprocessing = xrv(&model.manifest)?;
    let keeps = reader.options.write_heatmaps && model.manifest.output.cam.is_some();
    let prepared = reader.cpu.run(Stage::Decode, move || {
        let started = Instant::now();
        let body = body.into_bytes().map_err(unreadable)?;
        let image = decode(&body, &options)?;
        drop(body);
        let decoded = started.elapsed();
        let preprocessing_started = Instant::now();
        let tensor = prepare(&image, &preprocessing);
        let preprocessed = preprocessing_started.elapsed();
        let (input, mut warnings) = (input_facts(&image), image.warnings().to_vec());
        warnings.extend(low_contrast(&tensor));
        // Held until its scores are known only where it may be painted.
        Ok((tensor, input, warnings, decoded, preprocessed, keeps.then_some(image)))
    });
    let (tensor, input, warnings, decoded, preprocessed, image) = prepared.await?;
    timing.record("decode", decoded);
    timing.record("preprocess", preprocessed);

    let outputs = reader.models.engine(&model.key).await?.infer(&model.key, tensor).await?;
    timing.record("queue", outputs.timing.queued);
    timing.record("infer", outputs.timing.run);
    let output = &model.manifest.output;
    let scored = scores(&model.manifest, outputs.arrays.values(&output.logits)?)?;
    let artefacts = match (image, &output.cam) {
        (Some(image), Some(name)) => {
            let started = Instant::now();
            let (maps, scored) = (outputs.arrays.get(name)?.clone(), scored.clone());
            let painted = reader.cpu.run(Stage::Report, move || heatmaps(&image, &maps, &scored)).await?;
            timing.record("heatmaps", started.elapsed());
            painted
        }
        _ => Vec::new(),
    };
    let findings = scored.into_iter().map(finding).collect();
    Ok(Reading { input, payload: Some(Payload::Findings { findings }), warnings, artefacts })
}

/// One image for each positive score: what in the crop that the network saw speaks for it. `maps`: its class-activation
/// maps, (labels, height, width).
fn heatmaps(image: &Radiograph, maps: &ArrayD<f32>, scored: &[Score]) -> Result<Vec<Artefact>, JobError> {
    let positive = scored.iter().filter(|score| score.positive);
    let paint = |score: &Score| {
        // Suppressed labels have a map, but no place among the findings.
        let map = maps.outer_iter().nth(score.index)?;
        let [height, width] = *map.shape() else { return None };
        let painted = paint_heatmap(image, map.to_slice()?, (height, width), HEATMAP_SIDE);
        let suffix = format!("heat.{}-{}.png", score.index, file_part(&score.label));
        let of = Some(score.label.clone());
        Some(painted.map(|png| Artefact { kind: ArtefactKind::Heatmap, of, suffix, body: png.into() }))
    };
    positive.filter_map(paint).collect()
}

/// A label as part of a file's name: lower case, one hyphen for whatever is neither letter nor digit, the first 24 of it.
fn file_part(label: &str) -> String {
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut part = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    part.truncate(24);
    part
}

fn xrv(manifest: &Manifest) -> Result<XrvPreprocessing, JobError> {
    let size = match manifest.preprocessing {
        Preprocessing::Xrv1 { size } => u32::try_from(size).ok(),
        Preprocessing::Projections1 { .. } => None,
    };
    size.and_then(XrvPreprocessing::new).ok_or_else(|| {
        let id = manifest.preprocessing.id();
        let text = format!("preprocessing {id} of {} cannot prepare radiographs as it is set", manifest.name);
        JobError::new(Stage::Preprocess, ErrorCode::ModelMismatch, text)
    })
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
