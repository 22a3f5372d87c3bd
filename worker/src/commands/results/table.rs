//! `nightread results table`. Everything is told on standard error: a table may be on standard output.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cli::results::TableArgs;
use crate::console::{FAILED, say};
use crate::services::results::table;

pub(super) async fn run(args: &TableArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let table::Written { told, counts } = table::run(args).await?;
    for line in told.lines(&counts, args.out.as_deref(), started.elapsed()) {
        say(&line);
    }
    Ok(if told.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
