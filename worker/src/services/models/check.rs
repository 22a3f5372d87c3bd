//! `nightread models check`: everything that keeps a model from being read with, told at once, and how it behaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use nightread_domain::JobError;
use nightread_engine::{
    ArrayD, Arrays, Availability, Cam, Cams, GraphFacts, Manifest, ModelSession, Precision, Provider,
    Runtime, SessionOptions, Task, VerifiedModel,
};
use serde_json::{Value, json};

use super::export;
use crate::app::{self, WrongUse};
use crate::settings::Settings;

/// Between an item alone and beside another: what the order of additions makes of float32 is far less.
const TOLERANCE: f32 = 1e-3;

const TRAINING: &str =
    "the export is of a module in training mode: call model.eval() before torch.onnx.export";

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    name: String,
    /// Each with its place and what is to be done.
    problems: Vec<String>,
    /// What the file says of its ports, and what came out of a run.
    facts: Vec<String>,
    /// The export that would mend the graph.
    call: Option<String>,
}

/// # Errors
/// [`WrongUse`] for a name without a folder; a models folder or a runtime that cannot be read.
pub(crate) fn run(name: &str, settings: &Settings) -> Result<Looked> {
    let catalogue = app::catalogue(settings, Some(name))?;
    let mut looked = Looked { name: name.to_owned(), ..Looked::default() };
    if let Some(found) = catalogue.problem_of(name) {
        looked.problems.extend(found.problems.iter().map(ToString::to_string));
        for file in found.path.parent().map(graphs_in).unwrap_or_default() {
            looked.graph(&file, None);
        }
        return Ok(looked);
    }
    let manifest = Arc::clone(catalogue.get(name).map_err(|error| WrongUse(error.message))?);
    let precisions: Vec<_> =
        manifest.precisions().filter(|of| manifest.availability(*of) == Availability::Ready).collect();
    if precisions.is_empty() {
        looked.problems.push(match manifest.availability(Precision::Fp32) {
            Availability::WeightsMissing(how) => format!("the weights are not there: {how}"),
            Availability::Ready | Availability::NotOffered => "the manifest names no weights".to_owned(),
        });
        return Ok(looked);
    }
    let runtime = Runtime::load(&settings.engine.search())?;
    let members = catalogue.members(&manifest)?;
    let networks = if members.is_empty() { vec![&manifest] } else { members };
    for network in networks {
        if manifest.ensemble.is_some() {
            looked.facts.push(format!("member {} {}", network.name, network.version));
        } else {
            looked.facts.extend(digests(network));
        }
        let before = looked.problems.len();
        for precision in &precisions {
            looked.weights(network, *precision, &runtime, settings.engine.provider());
        }
        if manifest.ensemble.is_some() {
            looked.problems[before..].iter_mut().for_each(|what| *what = format!("{}: {what}", network.name));
        }
    }
    Ok(looked)
}

/// What an ensemble pins of a member.
fn digests(manifest: &Manifest) -> Option<String> {
    if manifest.task != Task::Radiograph {
        return None;
    }
    let weights = Precision::WITH_FILES.into_iter().filter_map(|precision| {
        Some(format!(", {precision}_sha256 {}", manifest.weights(precision)?.digest()?))
    });
    Some(format!("manifest_sha256 {}{}", manifest.sha256(), weights.collect::<String>()))
}

/// ONNX files of a folder whose manifest names none that can be relied on.
fn graphs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    files
}

impl Looked {
    pub(crate) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// One line for each problem.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What the graph says of itself.
    fn graph(&mut self, file: &Path, manifest: Option<&Manifest>) {
        let facts = match GraphFacts::read(file) {
            Ok(facts) => facts,
            Err(error) => return self.problems.push(error.message),
        };
        let ports = facts.inputs.iter().map(|port| format!("in {port}"));
        let ports: Vec<_> = ports.chain(facts.outputs.iter().map(|port| format!("out {port}"))).collect();
        self.facts.push(format!("opset {}, {}", facts.opset, ports.join(", ")));
        let heads = manifest.map_or(&[][..], |manifest| &manifest.output.heads);
        let activated = heads.iter().filter_map(|head| export::activated(&facts, head));
        let faults: Vec<_> = export::faults(&facts).into_iter().chain(activated).collect();
        if !faults.is_empty() {
            self.call.get_or_insert_with(|| export::call(&facts));
        }
        self.problems.extend(faults);
    }

    fn weights(
        &mut self,
        manifest: &Arc<Manifest>,
        precision: Precision,
        runtime: &Runtime,
        provider: Provider,
    ) {
        if let Err(unfit) = precision.require(provider) {
            // No fault of the model's.
            return self.facts.push(format!("{precision} not run here: {}", unfit.message));
        }
        if let Some(weights) = manifest.weights(precision) {
            self.graph(&manifest.path_of(&weights.file), Some(manifest));
        }
        let opened = VerifiedModel::open(manifest, precision).and_then(|model| {
            let options =
                SessionOptions { provider, intra_threads: 1, shares_cores: false, memory_plan: false };
            Ok((ModelSession::open(runtime, &model, options)?, model))
        });
        match opened.and_then(|(mut session, model)| behaviour(&mut session, manifest, &model)) {
            Ok(Behaviour { problems, ranges }) => {
                self.facts.push(format!("{precision} ran on {provider}: {ranges}"));
                self.problems.extend(problems.into_iter().map(|problem| format!("{precision}: {problem}")));
            }
            Err(error) => self.problems.push(error.message),
        }
    }

    pub(crate) fn as_text(&self) -> String {
        let mut lines = self.facts.clone();
        lines.push(match self.problems.len() {
            0 => format!("{}: nothing found", self.name),
            count => format!("{}: {count} problem(s)", self.name),
        });
        if let Some(call) = &self.call {
            lines.push(format!("An export that can be run here:\n{call}"));
        }
        lines.join("\n")
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({ "name": self.name, "problems": self.problems, "facts": self.facts, "export": self.call })
    }
}

struct Behaviour {
    problems: Vec<String>,
    ranges: String,
}

/// Runs made-up items: one twice, and, where items go in batches, beside another.
fn behaviour(
    session: &mut ModelSession,
    manifest: &Manifest,
    model: &VerifiedModel,
) -> Result<Behaviour, JobError> {
    let (one, other) = (item(manifest, 0.37), item(manifest, 0.91));
    let first = session.run(&[&one])?;
    let again = session.run(&[&one])?;
    let beside = session.run(&[&other])?;
    let mut problems = Vec::new();
    let mut ranges = BTreeMap::new();
    for output in manifest.outputs() {
        let name = output.name.as_str();
        let (alone, second) = (values(&first, name)?, values(&again, name)?);
        if let Some(wrong) = alone.iter().find(|value| !value.is_finite()) {
            problems.push(format!("output {name:?} has {wrong} for an ordinary input"));
            continue;
        }
        if differs(alone, second) {
            problems.push(format!("output {name:?} differs from run to run of the same item; {TRAINING}"));
        }
        if alone == values(&beside, name)? {
            problems.push(format!("output {name:?} is the same for different items"));
        }
        let bounds = alone.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], value| {
            [low.min(*value), high.max(*value)]
        });
        ranges.insert(name.to_owned(), format!("{name} {:.4} to {:.4}", bounds[0], bounds[1]));
    }
    // Those of 8-bit networks are off by what their rounding makes.
    if let (Precision::Fp32, Some(one), Some(other)) = (model.precision(), first.first(), beside.first()) {
        problems.extend(strange_maps(manifest, model.cams(), [one, other])?);
    }
    if manifest.window.is_none() {
        let both = session.run(&[&one, &other])?;
        for output in manifest.outputs() {
            let name = output.name.as_str();
            let moved = differs(values(&first, name)?, values(&both, name)?);
            if moved || differs(values(&beside, name)?, values(&both[1..], name)?) {
                problems.push(format!(
                    "output {name:?} of an item depends on the others of its batch: {TRAINING}, or the graph mixes the batch with other axes"
                ));
            }
        }
    }
    let ranges: Vec<_> = ranges.into_values().collect();
    Ok(Behaviour { problems, ranges: ranges.join(", ") })
}

/// Heads whose maps are made of features, and not of those that their logits come from: the mean of a map is the logit less the
/// label's bias, which no item changes.
fn strange_maps(manifest: &Manifest, cams: &Cams, items: [&Arrays; 2]) -> Result<Vec<String>, JobError> {
    let [one, other] = items.map(|arrays| cams.of_item(arrays));
    let mut problems = Vec::new();
    for (head, maps) in manifest.output.heads.iter().zip(one?.into_iter().zip(other?)) {
        let Some(Cam::Features { features, .. }) = &head.cam else { continue };
        let bias = |map: &ArrayD<f32>, arrays: &Arrays| -> Result<Vec<f32>, JobError> {
            let logits = arrays.values(&head.logits)?;
            let means = map.outer_iter().map(|of_label| of_label.mean().unwrap_or_default());
            Ok(logits.iter().zip(means).map(|(logit, mean)| logit - mean).collect())
        };
        let (before, after) = (bias(&maps.0, items[0])?, bias(&maps.1, items[1])?);
        let largest = |values: &[f32]| values.iter().fold(1.0, |most: f32, value| most.max(value.abs()));
        let scale = largest(items[0].values(&head.logits)?).max(largest(items[1].values(&head.logits)?));
        let apart = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if apart > TOLERANCE * scale {
            problems.push(format!(
                "the maps of output.cam are not those of {:?}: what its logits have beyond the mean of their maps is the labels' \
                 bias, and here it differs by {apart:.3} from item to item; name the weights of the layer that makes the logits, \
                 turned where they are (channels, labels), and {features:?} as that layer takes its mean",
                head.logits
            ));
        }
    }
    Ok(problems)
}

/// Waves over the range of values: no image, and nothing that a network could take for empty.
fn item(manifest: &Manifest, step: f32) -> Vec<f32> {
    let [low, high] = manifest.input.value_range.map(|end| end as f32);
    let (middle, half) = (f32::midpoint(low, high), (high - low) / 2.0);
    (0..manifest.input.item_len()).map(|at| middle + half * (at as f32 * step).sin()).collect()
}

fn values<'a>(outputs: &'a [Arrays], name: &str) -> Result<&'a [f32], JobError> {
    outputs.first().map_or(Ok(&[][..]), |arrays| arrays.values(name))
}

/// Whether two outputs are further apart than rounding makes them. NaN is apart from everything.
fn differs(a: &[f32], b: &[f32]) -> bool {
    let scale = a.iter().fold(1e-3, |most: f32, value| most.max(value.abs()));
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * scale;
    a.len() != b.len() || !a.iter().zip(b).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_no_difference_and_nan_is() {
        assert!(!differs(&[1.0, -2.0], &[1.000_01, -2.0]));
        assert!(differs(&[1.0, -2.0], &[1.1, -2.0]));
        assert!(differs(&[f32::NAN], &[f32::NAN]));
        assert!(differs(&[1.0], &[]));
        assert!(!differs(&[0.0], &[0.0]));
    }
}
