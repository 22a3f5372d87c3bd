//! `nightread deliver`: results to archives.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{runtime, sound_settings};
use crate::cli::DeliverArgs;
use crate::console::FAILED;
use crate::pipeline::serving::RunEnd;
use crate::services::deliver;
use crate::telemetry::logs;

pub(super) fn run(args: &DeliverArgs) -> Result<ExitCode> {
    let settings = sound_settings(&args.common, deliver::require)?;
    let _telemetry = logs::start(logs::Reader::Collector);
    Ok(match deliver::run(&settings, runtime::two_threads()?)? {
        RunEnd::Fatal(_) => ExitCode::from(FAILED),
        RunEnd::Drained | RunEnd::GaveBack => ExitCode::SUCCESS,
    })
}
