//! Chest radiographs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nightread_domain::result::Finding;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{Manifest, Preprocessing, scores};
use nightread_imaging::{DecodeOptions, Radiograph, XrvPreprocessing, decode, prepare};
use serde_json::Value;

use super::Reading;
use crate::pipeline::models::Model;
use crate::pipeline::process::{Tools, milliseconds};

pub(super) async fn read(
    body: Bytes,
    model: &Arc<Model>,
    tools: &Tools,
    timing: &mut BTreeMap<String, f64>,
) -> Result<Reading, JobError> {
    let options = DecodeOptions {
        limits: tools.reading.decode,
        gate: model.gate.clone(),
        stored_max: tools.reading.stored_max,
        codec: tools.reading.codec.clone(),
    };
    let preprocessing = xrv(&model.manifest)?;
    let prepared = tools.cpu.run(Stage::Decode, move || {
        let started = Instant::now();
        let picture = decode(&body, &options)?;
        drop(body);
        let decoded = started.elapsed();
        let preprocessing_started = Instant::now();
        let tensor = prepare(&picture, &preprocessing);
        let preprocessed = preprocessing_started.elapsed();
        Ok((tensor, input_facts(&picture), picture.warnings().to_vec(), decoded, preprocessed))
    });
    let (tensor, input, warnings, decoded, preprocessed) = prepared.await?;
    timing.insert("decode".to_owned(), milliseconds(decoded));
    timing.insert("preprocess".to_owned(), milliseconds(preprocessed));

    let outputs = tools.models.engine(&model.key).await?.infer(&model.key, tensor).await?;
    timing.insert("queue".to_owned(), milliseconds(outputs.timing.queued));
    timing.insert("infer".to_owned(), milliseconds(outputs.timing.run));
    Ok(Reading {
        input,
        findings: findings(&model.manifest, &outputs.logits)?,
        warnings,
        ..Reading::default()
    })
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

fn findings(manifest: &Manifest, logits: &[f32]) -> Result<Vec<Finding>, JobError> {
    let scored = scores(manifest, logits)?;
    Ok(scored
        .into_iter()
        .map(|score| Finding {
            label: score.label,
            logit: score.logit,
            probability: score.probability,
            threshold: score.threshold,
            positive: score.positive,
        })
        .collect())
}

fn input_facts(picture: &Radiograph) -> BTreeMap<String, Value> {
    let mut facts = match serde_json::to_value(picture.facts()) {
        Ok(Value::Object(facts)) => facts.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => BTreeMap::new(),
    };
    facts.insert("width".to_owned(), picture.width().into());
    facts.insert("height".to_owned(), picture.height().into());
    facts.insert("max_value".to_owned(), picture.max_value().into());
    facts
}
