//! `nightread models`: what could be used, and what is missing for the rest.

use nightread_engine::{Availability, Catalogue, Manifest, Precision};
use serde_json::{Value, json};

use crate::console::table::table;

pub(crate) fn as_text(catalogue: &Catalogue) -> String {
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

pub(crate) fn as_json(catalogue: &Catalogue) -> Value {
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
                "manifest_sha256": manifest.sha256(),
                "weights_sha256": weights_sha256(manifest),
                "members": members(manifest),
                "labels": labels,
                "bring_your_own": manifest.bring_your_own,
                "licence": manifest.source.licence,
                "not_for": manifest.source.not_for,
            })
        })
        .collect();
    json!({ "models": models })
}

/// By precision, as an ensemble pins them.
fn weights_sha256(manifest: &Manifest) -> Value {
    let digests = Precision::WITH_FILES.into_iter().filter_map(|precision| {
        let digest = manifest.weights(precision)?.digest()?;
        Some((precision.as_str().to_owned(), Value::from(digest)))
    });
    Value::Object(digests.collect())
}

/// Of an ensemble.
fn members(manifest: &Manifest) -> Option<Vec<&str>> {
    let ensemble = manifest.ensemble.as_ref()?;
    Some(ensemble.members.iter().map(|member| member.model.as_str()).collect())
}

fn weights(manifest: &Manifest) -> String {
    let ready: Vec<_> = manifest.precisions().map(Precision::as_str).collect();
    if !ready.is_empty() {
        let of = members(manifest).map_or(String::new(), |members| format!(" of {}", members.join(", ")));
        return ready.join(", ") + &of;
    }
    match manifest.availability(Precision::Fp32) {
        Availability::WeightsMissing(how) => format!("bring your own: {how}"),
        Availability::Ready | Availability::NotOffered => "none".to_owned(),
    }
}
