//! Rules of the outputs that a manifest names.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Manifest, Problem, Task};
use super::{Activation, Calibration, Cam, Head, Output};

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
        if head.activation.is_ordinal() {
            check_grades(manifest, number, head, problems);
        } else if head.grade.is_some() {
            let what = "tells the grade of an ordinal activation: leave it out";
            problems.push(Problem::new(key_of(output, number, "grade"), what));
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
    check_measured(manifest, problems);
    check_names(manifest, problems);
}

/// Grades in order have a logit between each two of them.
fn check_grades(manifest: &Manifest, number: usize, head: &Head, problems: &mut Vec<Problem>) {
    let key = |field| key_of(&manifest.output, number, field);
    let name = head.activation.as_str();
    if manifest.task != Task::Radiograph {
        problems.push(Problem::new(key("activation"), format!("{name} serves radiographs alone")));
    }
    if manifest.columns(number).count() < 2 {
        let what = format!(
            "{name} needs two grades or more: list each of them in [[labels]], in order from the least"
        );
        problems.push(Problem::new(key("activation"), what));
    }
    if head.cam.is_some() {
        let what = format!("is of logits of labels, which {name} has not: leave it out");
        problems.push(Problem::new(key("cam"), what));
    }
}

/// Whatever has a number of its own in a document has a name of its own there.
fn check_measured(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let measured = manifest.measurements.iter().enumerate();
    let measured = measured.map(|(number, made)| (format!("measurements[{number}].name"), &made.name));
    let heads = manifest.output.heads.iter().enumerate();
    let grades = heads
        .filter_map(|(number, head)| Some((key_of(&manifest.output, number, "grade"), head.grade.as_ref()?)));
    let mut seen = BTreeSet::new();
    for (at, name) in measured.chain(grades) {
        let is_label = manifest.labels.iter().any(|label| !label.suppressed && label.name == *name);
        if is_label || !seen.insert(name) {
            problems.push(Problem::new(at, format!("{name:?} is the name of another measurement or label")));
        }
    }
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
