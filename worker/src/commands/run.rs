//! `nightread run`: the service.

use std::process::ExitCode;

use anyhow::Result;
use nightread_domain::Lane;

use crate::app::{runtime, sound_settings};
use crate::cli::RunArgs;
use crate::console::FAILED;
use crate::pipeline::serving::RunEnd;
use crate::services::worker;
use crate::services::worker::Part;
use crate::telemetry::logs;

pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let settings = sound_settings(&args.common, worker::require)?;
    let _telemetry = logs::start(logs::Reader::Collector);
    let part = Part { lanes: args.lanes.iter().copied().map(Lane::from).collect(), jobs: args.jobs };
    Ok(match worker::run(&settings, &part, runtime::two_threads()?)? {
        RunEnd::Fatal(_) => ExitCode::from(FAILED),
        RunEnd::Drained | RunEnd::GaveBack => ExitCode::SUCCESS,
    })
}
