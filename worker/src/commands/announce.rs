//! `nightread announce`: one announcement for each of many blobs.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::app::{runtime, sound_settings};
use crate::cli::AnnounceArgs;
use crate::console::{FAILED, answer};
use crate::services::announce::{self, PublishEnd};
use crate::telemetry::logs;

/// Stopped by a signal before the end.
const STOPPED: u8 = 3;

pub(super) fn run(args: &AnnounceArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::here());
    let settings =
        sound_settings(&args.common, |settings, problems| announce::require(args, settings, problems))?;
    let runtime = runtime::two_threads()?;
    if args.bring_back {
        let count = runtime.block_on(announce::bring_back(&settings))?;
        let text = || format!("{count} jobs that were parked are back in their lane");
        answer(args.format, text, || json!({ "brought_back": count }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let announced = runtime.block_on(announce::run(args, &settings));
    // A thread that waits for standard input cannot be waited for.
    runtime.shutdown_background();
    let summary = announced?;
    answer(args.format, || summary.as_text(), || summary.as_json())?;
    Ok(match summary.ended {
        PublishEnd::Stopped => ExitCode::from(STOPPED),
        PublishEnd::Finished if summary.list_has_mistakes() => ExitCode::from(FAILED),
        PublishEnd::Finished => ExitCode::SUCCESS,
    })
}
