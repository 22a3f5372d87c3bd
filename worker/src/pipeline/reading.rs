//! From bytes to findings: decode and preprocess on the CPU pool, infer in the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nightread_domain::media::Modality;
use nightread_domain::result::{Component, Finding};
use nightread_domain::{ErrorCode, JobError, Media, Stage, Warning};
use nightread_engine::{Manifest, Preprocessing, Task, scores};
use nightread_imaging::{
    DecodeLimits, DecodeOptions, IsolatedCodec, Radiograph, XrvPreprocessing, decode, prepare,
};
use serde_json::Value;

use super::models::Model;
use super::process::{Tools, milliseconds};

/// What reading any input needs besides the model.
#[derive(Clone, Debug, Default)]
pub struct ReadingOptions {
    pub decode: DecodeLimits,
    /// True maximum of 16-bit PNG and TIFF samples, where it is not 65535.
    pub stored_max: Option<u32>,
    pub codec: Option<Arc<dyn IsolatedCodec>>,
}

/// What was read, ready for the document.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub input: BTreeMap<String, Value>,
    pub findings: Vec<Finding>,
    pub components: Option<Vec<Component>>,
    pub dual_regression: Option<BTreeMap<String, Value>>,
    pub warnings: Vec<Warning>,
}

/// Reads `body` with `model`; stage times go into `timing`.
pub async fn read(
    body: Bytes,
    media: Media,
    model: &Arc<Model>,
    tools: &Tools,
    timing: &mut BTreeMap<String, f64>,
) -> Result<Reading, JobError> {
    match (media.modality(), model.manifest.task) {
        (Modality::Radiograph, Task::Radiograph) => radiograph(body, model, tools, timing).await,
        (Modality::Scan, Task::Radiograph) => Err(mismatch("a scan", "radiographs")),
        (Modality::Radiograph, Task::Components) => Err(mismatch("a radiograph", "scans")),
        (Modality::Scan, Task::Components) => Err(mismatch("a scan", "nothing yet")),
    }
}

fn mismatch(got: &str, reads: &str) -> JobError {
    let text = format!("{got} was announced for a model that reads {reads}");
    JobError::new(Stage::Decode, ErrorCode::WrongModality, text)
}

async fn radiograph(
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

    let outputs = tools.models.engine.infer(&model.key, tensor).await?;
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
