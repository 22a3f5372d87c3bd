//! `nightread assemble`: from single files in a Storage queue to whole series in RabbitMQ.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{runtime, sound_settings};
use crate::cli::AssembleArgs;
use crate::console::answer;
use crate::services::assemble;
use crate::telemetry::logs;

pub(super) fn run(args: &AssembleArgs) -> Result<ExitCode> {
    let settings = sound_settings(&args.common, assemble::require)?;
    let _telemetry = logs::start(if args.once { logs::Reader::here() } else { logs::Reader::Collector });
    let account = assemble::run(&settings, args.once, runtime::two_threads()?)?;
    answer(args.format, || account.as_text(), || account.as_json())?;
    Ok(ExitCode::SUCCESS)
}
