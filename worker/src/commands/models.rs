//! `nightread models`: what could be used, and what is missing for the rest.

use std::process::ExitCode;

use anyhow::Result;
use nightread_engine::{Availability, Catalogue, Manifest, Precision};
use serde_json::json;

use crate::app::{self, WrongUse};
use crate::cli::ModelsArgs;
use crate::console::table::table;
use crate::console::{FAILED, answer, say};

pub(super) fn run(args: &ModelsArgs) -> Result<ExitCode> {
    let (_, settings, problems) = app::settings(&args.common, &[]);
    let settings = settings.ok_or_else(|| WrongUse(problems.to_string()))?;
    let catalogue = Catalogue::load(&settings.models_dir)?;
    answer(args.format, || as_table(&catalogue), || as_json(&catalogue))?;
    for broken in catalogue.problems() {
        say(&broken.to_string());
    }
    Ok(if catalogue.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn as_table(catalogue: &Catalogue) -> String {
    let mut rows = table(["model", "version", "reads", "labels", "weights", "licence"]);
    for manifest in catalogue.iter() {
        rows.add_row([
            manifest.name.clone(),
            manifest.version.clone(),
            manifest.task.studies().to_owned(),
            manifest.labels.iter().filter(|label| !label.suppressed).count().to_string(),
            weights(manifest),
            manifest.source.licence.clone(),
        ]);
    }
    rows.to_string()
}

fn as_json(catalogue: &Catalogue) -> serde_json::Value {
    let models: Vec<_> = catalogue
        .iter()
        .map(|manifest| {
            let precisions: Vec<_> = manifest.precisions().map(Precision::as_str).collect();
            let labels: Vec<_> =
                manifest.labels.iter().filter(|label| !label.suppressed).map(|label| &label.name).collect();
            json!({
                "name": manifest.name,
                "version": manifest.version,
                "reads": manifest.task.studies(),
                "description": manifest.description,
                "precisions": precisions,
                "labels": labels,
                "bring_your_own": manifest.bring_your_own,
                "licence": manifest.source.licence,
                "not_for": manifest.source.not_for,
            })
        })
        .collect();
    json!({ "models": models })
}

fn weights(manifest: &Manifest) -> String {
    let ready: Vec<_> = manifest.precisions().map(Precision::as_str).collect();
    if !ready.is_empty() {
        return ready.join(", ");
    }
    match manifest.availability(Precision::Fp32) {
        Availability::WeightsMissing(how) => format!("bring your own: {how}"),
        Availability::Ready | Availability::NotOffered => "none".to_owned(),
    }
}
