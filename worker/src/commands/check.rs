//! `nightread check`: settings and models, every problem at once, secrets redacted.

use std::process::ExitCode;

use anyhow::Result;
use nightread_domain::JobError;
use nightread_engine::{Availability, Catalogue, Manifest, Model, Precision, Provider, Runtime};
use serde_json::json;

use super::table::table;
use super::{FAILED, print};
use crate::app;
use crate::cli::{CheckArgs, Format};
use crate::settings::{Problems, RawSettings, Settings};

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let (raw, settings, mut problems) = app::settings(&args.common, &[]);
    if let Some(settings) = &settings {
        check_models(settings, &mut problems);
        check_runtime(settings, &mut problems);
    }
    match args.format {
        Format::Table => print(&as_text(&raw, &problems))?,
        Format::Json => print(&serde_json::to_string_pretty(&as_json(&raw, &problems))?)?,
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn check_models(settings: &Settings, problems: &mut Problems) {
    let catalogue = match Catalogue::load(&settings.models_dir) {
        Ok(catalogue) => catalogue,
        Err(unreadable) => return problems.add(unreadable.message),
    };
    problems.extend(catalogue.problems().iter().map(ToString::to_string));
    let Ok(named) = settings.engine.precision() else { return };
    let precision = named.unwrap_or(Precision::Fp32);
    let routed = |manifest: &Manifest| settings.routing.rules.iter().any(|rule| rule.model == manifest.name);
    for rule in &settings.routing.rules {
        if let Err(unknown) = catalogue.get(&rule.model) {
            problems.add(format!("[[routes]]: {}", unknown.message));
        }
    }
    for manifest in catalogue.iter() {
        let ready = manifest.availability(precision) == Availability::Ready;
        if (ready || routed(manifest))
            && let Err(problem) = Model::open(manifest, precision)
        {
            problems.add(format!("model {}: {}", manifest.name, problem.message));
        }
    }
}

fn check_runtime(settings: &Settings, problems: &mut Problems) {
    let Ok(provider) = settings.engine.provider.parse::<Provider>() else { return };
    if let Err(JobError { message, .. }) = Runtime::load(&settings.engine.search(provider)) {
        problems.add(message);
    }
}

fn as_text(raw: &RawSettings, problems: &Problems) -> String {
    let mut rows = table(["setting", "value", "from", "variable"]);
    for (key, shown, origin) in raw.shown() {
        let name = format!("[{}] {}", key.section, key.name);
        rows.add_row([name, shown, origin.to_string(), key.variable()]);
    }
    let told: Vec<_> = problems.iter().map(|problem| format!("problem: {problem}")).collect();
    let verdict = if told.is_empty() { "no problems".to_owned() } else { told.join("\n") };
    format!("{rows}\n{verdict}")
}

fn as_json(raw: &RawSettings, problems: &Problems) -> serde_json::Value {
    let settings: Vec<_> = raw
        .shown()
        .into_iter()
        .map(|(key, shown, origin)| {
            json!({
                "section": key.section,
                "name": key.name,
                "value": shown,
                "from": origin.to_string(),
                "variable": key.variable(),
                "help": key.help,
            })
        })
        .collect();
    json!({ "settings": settings, "problems": problems.iter().collect::<Vec<_>>() })
}
