//! `nightread prepare`: the tensors that a model takes.

use std::process::ExitCode;

use anyhow::Result;

use crate::app;
use crate::cli::prepare::PrepareArgs;
use crate::console::{FAILED, answer, say};
use crate::services::prepare;
use crate::telemetry::logs;

pub(super) fn run(args: &PrepareArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let (_, settings, problems) = app::settings(&args.common, &[]);
    let settings = app::sound(settings, &problems)?;
    let prepared = prepare::run(&args.paths, args.model.as_deref(), &args.out, &settings)?;
    prepared.failures().for_each(|line| say(&line));
    answer(args.format, || prepared.as_text(), || prepared.as_json())?;
    Ok(if prepared.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
