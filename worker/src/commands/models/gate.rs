//! `nightread models gate`: whether bf16 is offered.

use std::process::ExitCode;

use anyhow::Result;
use nightread_engine::Processor;

use crate::cli::models::{GateArgs, Gateable};
use crate::console::{FAILED, answer, say};
use crate::services::models::gate::{self, Asked};
use crate::telemetry::logs;

pub(super) fn run(args: &GateArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let settings = super::settings(&args.common)?;
    let GateArgs { name, precision: Gateable::Bf16, items, truth, leave_out, .. } = args;
    let asked =
        Asked { name: name.clone(), items: items.clone(), truth: truth.clone(), leave_out: *leave_out };
    let gated = gate::run(&asked, &settings, &Processor::here())?;
    gated.notes().iter().for_each(|note| say(note));
    answer(args.format, || gated.as_text(), || gated.as_json())?;
    gated.reasons().iter().for_each(|reason| say(&format!("not written: {reason}")));
    Ok(if gated.reasons().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
