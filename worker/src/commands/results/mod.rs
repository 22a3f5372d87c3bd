//! `nightread results`: what was read, for people.

mod compare;
mod report;
mod table;

use std::process::ExitCode;

use anyhow::Result;

use crate::app::runtime;
use crate::cli::results::{ResultsArgs, ResultsCommand};
use crate::telemetry::logs;

pub(super) fn run(args: &ResultsArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let runtime = runtime::two_threads()?;
    let ended = match &args.command {
        ResultsCommand::Table(args) => runtime.block_on(table::run(args)),
        ResultsCommand::Compare(args) => runtime.block_on(compare::run(args)),
        ResultsCommand::Report(args) => runtime.block_on(report::run(args)),
    };
    // A thread that waits for standard input cannot be waited for.
    runtime.shutdown_background();
    ended
}
