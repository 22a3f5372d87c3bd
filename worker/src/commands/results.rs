//! `nightread results`: tables and comparisons of what was read.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::runtime;
use crate::cli::results::{ResultsArgs, ResultsCommand};
use crate::services::results::{compare, table};
use crate::telemetry::logs;

pub(super) fn run(args: &ResultsArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let runtime = runtime::two_threads()?;
    let ended = runtime.block_on(async {
        match &args.command {
            ResultsCommand::Table(args) => table::run(args).await,
            ResultsCommand::Compare(args) => compare::run(args).await,
        }
    });
    // A thread that waits for standard input cannot be waited for.
    runtime.shutdown_background();
    ended
}
