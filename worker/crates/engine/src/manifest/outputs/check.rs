//! Rules of the outputs that a manifest names.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Manifest, Problem, Task};
use super::{Activation, Calibration, Cam, Output};

/// The key of a head's field: a manifest with one head may have it in `[output]` itself.
pub(in crate::manifest) fn key_of(output: &Output, head: usize, field: &str) -> String {
    if output.heads.len() == 1 { format!("output.{field}") } else { format!("output.heads[{head}].{field}") }
}

pub(in crate::manifest) fn check(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let output = &manifest.output;
    for (number, head) in output.heads.iter().enumerate() {
        if head.calibration == Calibration::XrvOpNorm && head.activation != Activation::Sigmoid {
            let at = key_of(output, number, "calibration");
            problems.push(Problem::new(at, "xrv-op-norm needs the sigmoid activation"));
        }
        if head.cam.is_some() && head.activation == Activation::None {
            let what = "adds up to logits, which a network with activation none does not give: leave it out, or export \
                        the network without its last activation";
            problems.push(Problem::new(key_of(output, number, "cam"), what));
        }
        if head.cam.is_none() && output.has_cam() {
            let what = "is missing: heatmaps are made of the labels of every head or of none";
            problems.push(Problem::new(key_of(output, number, "cam"), what));
        }
        if manifest.columns(number).next().is_none() && !manifest.labels.is_empty() {
            let what = format!("{:?} has no labels: name it as the head of its labels", head.logits);
            problems.push(Problem::new(key_of(output, number, "logits"), what));
        }
    }
    if output.heads.len() > 1 && manifest.task != Task::Radiograph {
        problems.push(Problem::new(
            "output.heads",
            "serves radiographs alone, of other studies there is one head",
        ));
    }
    if output.embedding.is_some() && manifest.task != Task::Radiograph {
        problems.push(Problem::new("output.embedding", "is kept of radiographs alone: leave it out"));
    }
    if !manifest.measurements.is_empty() && manifest.task != Task::Radiograph {
        problems.push(Problem::new("measurements", "are made of radiographs alone: leave them out"));
    }
    let mut seen = BTreeSet::new();
    for (number, measurement) in manifest.measurements.iter().enumerate() {
        let is_label =
            manifest.labels.iter().any(|label| !label.suppressed && label.name == measurement.name);
        if is_label || !seen.insert(&measurement.name) {
            let what = format!("{:?} is the name of another measurement or label", measurement.name);
            problems.push(Problem::new(format!("measurements[{number}].name"), what));
        }
    }
    check_names(manifest, problems);
}

/// Each output is one thing.
fn check_names(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    // Heads may share features, and measurements have one output together.
    let mut features: BTreeSet<&str> =
        manifest.measurements.iter().map(|measurement| measurement.output.as_str()).collect();
    let embedding = manifest.output.embedding.as_deref();
    let mut names: Vec<&str> = embedding.into_iter().collect();
    for head in &manifest.output.heads {
        names.push(&head.logits);
        match &head.cam {
            None => {}
            Some(Cam::Output(name)) => names.push(name),
            Some(Cam::Features { features: name, .. }) => {
                features.insert(name.as_str());
            }
        }
    }
    for name in names.into_iter().chain(features) {
        *seen.entry(name).or_default() += 1;
    }
    for (name, _) in seen.into_iter().filter(|(_, times)| *times > 1) {
        problems
            .push(Problem::new("output", format!("names {name:?} more than once: each output is one thing")));
    }
}
