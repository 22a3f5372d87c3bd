//! `nightread backlog`: how much work waits.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::app::{broker_of, runtime};
use crate::cli::Format;
use crate::cli::backlog::BacklogArgs;
use crate::console::print;
use crate::services::backlog::{Backlog, BacklogWatch};
use crate::telemetry::logs;

pub(super) fn run(args: &BacklogArgs) -> Result<ExitCode> {
    let (settings, options) = broker_of(&args.common)?;
    let watch = BacklogWatch::new(&settings, options, args.publish)?;
    let every = args.every.or(args.serve.map(|_| Duration::from_mins(1)));
    let _telemetry =
        logs::start(if every.is_some() { logs::Reader::Collector } else { logs::Reader::Person });
    let runtime = runtime::one_thread()?;
    if let Some(every) = every {
        runtime.block_on(watch.go_on(every, args.serve, |backlog| tell(backlog, args.format)))?;
    } else {
        let (backlog, published) = runtime.block_on(watch.single())?;
        tell(&backlog, args.format)?;
        published?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One look: a table, or one line of JSON.
fn tell(backlog: &Backlog, format: Format) -> Result<()> {
    match format {
        Format::Table => print(&backlog.as_table()),
        Format::Json => print(&serde_json::to_string(backlog)?),
    }
}
