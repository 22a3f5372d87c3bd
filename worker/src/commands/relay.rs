//! `nightread relay`: from an Azure Storage queue to RabbitMQ.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{runtime, sound_settings};
use crate::cli::RelayArgs;
use crate::console::answer;
use crate::services::relay;
use crate::telemetry::logs;

pub(super) fn run(args: &RelayArgs) -> Result<ExitCode> {
    let settings = sound_settings(&args.common, relay::require)?;
    let _telemetry = logs::start(if args.once { logs::Reader::here() } else { logs::Reader::Collector });
    let account = relay::run(&settings, args.once, runtime::two_threads()?)?;
    answer(args.format, || account.as_text(), || account.as_json())?;
    Ok(ExitCode::SUCCESS)
}
