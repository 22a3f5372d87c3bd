//! `nightread models gate`: whether a network decides in bfloat16 as it does in FP32, measured on this machine, and the record of
//! it in the manifest.

mod archive;
mod interval;
mod judge;
mod mistakes;
mod pairs;
mod record;
mod sufficient;
#[cfg(test)]
mod tests;
mod truth;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use nightread_engine::{
    BF16_TARGET, Bf16, Bf16Evidence, Engine, EngineOptions, MANIFEST_FILE, Manifest, Precision, Processor,
    Provider, Runtime, Search, VerifiedModel, trial,
};
use serde_json::{Value, json};

use self::archive::Archive;
use self::interval::rounded;
use self::judge::{Answer, judge};
use self::pairs::Item;
use self::sufficient::Sufficient;
use crate::app::WrongUse;
use crate::settings::Settings;

/// What is to be measured, and by what.
#[derive(Debug)]
pub struct Asked {
    pub name: String,
    /// What `nightread prepare` wrote.
    pub items: PathBuf,
    pub truth: PathBuf,
    /// Whether files that only one of the two has are left out.
    pub leave_out: bool,
}

/// What was measured, and whether the manifest has it now.
#[derive(Debug)]
pub struct Gated {
    name: String,
    record: Bf16,
    notes: Vec<String>,
    reasons: Vec<String>,
}

/// Measures bf16 on `processor`, which is this machine's, and writes the record if it suffices.
///
/// # Errors
/// `processor_unfit` before anything is read; wrong use for a model or items that cannot be judged; a runtime, a network or a
/// manifest that cannot be read or written.
pub fn run(asked: &Asked, settings: &Settings, processor: &Processor) -> Result<Gated> {
    processor.require_bf16()?;
    let manifest = manifest(asked, settings)?;
    let table = truth::read(&asked.truth, &manifest)?;
    let mut archive = Archive::open(&asked.items)?;
    let (items, mut notes) = pairs::evaluated(table, &asked.truth, &archive, asked.leave_out)?;
    let Sufficient { items_sha256, notes: more } = sufficient::check(&manifest, &items, &mut archive)?;
    notes.extend(more);

    let search = Search::new(settings.engine.runtime.clone(), Provider::OpenVino);
    let runtime = Runtime::load(&search.with_telemetry(settings.engine.runtime_telemetry))?;
    let fp32 = VerifiedModel::open(&manifest, Precision::Fp32)?;
    let fp32_sha256 = fp32.sha256().to_owned();
    // ONNX Runtime's own kernels are what other providers are held against.
    let expected = answers(&runtime, fp32, Provider::Cpu, &items, &mut archive)?;
    let bf16 = VerifiedModel::try_bf16(&manifest, processor)?;
    let found = answers(&runtime, bf16, Provider::OpenVino, &items, &mut archive)?;

    let judged = judge(&manifest, &items, &expected, &found);
    let mut reasons = judged.reasons();
    if judged.share <= trial::TOLERANCE {
        reasons.push(format!(
            "no number differs from FP32 by more than {:.1e}: OpenVINO did not compute in bfloat16 here",
            judged.difference
        ));
    }
    let record = Bf16 {
        target: BF16_TARGET.to_owned(),
        processor: processor.name.clone(),
        runtime: format!("ONNX Runtime {}", runtime.version().unwrap_or("of an unknown version")),
        fp32_sha256,
        evidence: Bf16Evidence {
            items_sha256,
            evaluated_items: items.len(),
            agreement: rounded(judged.agreement),
            difference: rounded(judged.difference),
            metric: judged.metric.to_owned(),
            fp32: judged.fp32.rounded(),
            bf16: judged.bf16.rounded(),
        },
    };
    if reasons.is_empty() {
        record::install(&manifest.folder, &record)?;
    }
    Ok(Gated { name: asked.name.clone(), record, notes, reasons })
}

/// The model, if it can be judged.
fn manifest(asked: &Asked, settings: &Settings) -> Result<Arc<Manifest>, WrongUse> {
    if settings.registry.is_some() {
        let text = "the settings name a registry, whose versions never change: say by --models in which folder the model is";
        return Err(WrongUse(text.to_owned()));
    }
    let folder = settings.models_dir.join(&asked.name);
    if !folder.join(MANIFEST_FILE).is_file() {
        return Err(WrongUse(format!("no model {:?} in {}", asked.name, settings.models_dir.display())));
    }
    let manifest = Manifest::read(&folder).map_err(|problems| WrongUse(problems.to_string()))?;
    match manifest.unjudged() {
        Some(what) => Err(WrongUse(format!("{}: bf16 {what}. Leave it in fp32", manifest.name))),
        None => Ok(Arc::new(manifest)),
    }
}

/// What the network says of each item, alone in its batch.
fn answers(
    runtime: &Runtime,
    model: VerifiedModel,
    provider: Provider,
    items: &[Item],
    archive: &mut Archive,
) -> Result<Vec<Answer>> {
    let (key, manifest) = (model.key().clone(), Arc::clone(model.manifest()));
    let intra_threads = thread::available_parallelism().map_or(1, NonZero::get);
    let options =
        EngineOptions { provider, intra_threads, warm_batches: false, ..EngineOptions::for_cores(1) };
    let engine = Engine::start(runtime, vec![model], options)?;
    let answer = |item: &Item| {
        let (_, values) = archive.array(&item.name, manifest.input.item_len())?;
        let outputs = engine.infer(&key, values).wait();
        let answer = outputs.and_then(|outputs| Answer::of(&manifest, &outputs.arrays));
        answer.with_context(|| format!("{key}: {}", item.name))
    };
    items.iter().map(answer).collect()
}

impl Gated {
    /// What there is to say of the items.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Why bf16 is not offered; none where the manifest has the record.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    pub fn as_text(&self) -> String {
        let Bf16 { processor, runtime, evidence, .. } = &self.record;
        let figures = |[value, low, high]: [f64; 3]| format!("{value:.4} (95 % {low:.4} to {high:.4})");
        let end = if self.reasons.is_empty() {
            "written into its manifest: `--precision bf16` is offered"
        } else {
            "not written: its manifest stays as it was"
        };
        [
            format!("{} in bf16 on {processor}, {runtime}", self.name),
            format!("items: {}", evidence.evaluated_items),
            format!("agreement: {:.4}", evidence.agreement),
            format!("{}: fp32 {}, bf16 {}", evidence.metric, figures(evidence.fp32), figures(evidence.bf16)),
            format!("largest difference of a number: {:.4}", evidence.difference),
            end.to_owned(),
        ]
        .join("\n")
    }

    pub fn as_json(&self) -> Value {
        let Bf16 { target, processor, runtime, fp32_sha256, evidence } = &self.record;
        json!({
            "name": self.name,
            "written": self.reasons.is_empty(),
            "reasons": self.reasons,
            "target": target,
            "processor": processor,
            "runtime": runtime,
            "fp32_sha256": fp32_sha256,
            "items_sha256": evidence.items_sha256,
            "evaluated_items": evidence.evaluated_items,
            "agreement": evidence.agreement,
            "difference": evidence.difference,
            "metric": evidence.metric,
            "fp32": evidence.fp32,
            "bf16": evidence.bf16,
        })
    }
}
