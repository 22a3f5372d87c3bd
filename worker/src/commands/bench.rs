//! `nightread bench`: how fast this machine reads.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::app::{self, runtime};
use crate::cli::BenchArgs;
use crate::console::answer;
use crate::services::bench::{self, Measure};
use crate::settings::{Settings, keys};
use crate::telemetry::logs;

pub(super) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let settings = settings(args)?;
    let measure = match args.bulk {
        Some(count) => Measure::Bulk(count),
        None => Measure::Grid { each: Duration::from_secs_f64(args.seconds), rounds: args.rounds },
    };
    let report = bench::run(&args.paths, args.model.as_deref(), measure, settings, runtime::two_threads()?)?;
    answer(args.format, || report.as_text(), || &report)?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &BenchArgs) -> Result<Settings> {
    let precision = args.precision.clone().map(|precision| (keys::MODELS_PRECISION, precision));
    let (_, settings, mut problems) = app::settings(&args.common, precision.as_slice());
    if args.bulk == Some(0) || args.rounds == 0 || !(args.seconds > 0.0 && args.seconds < 3600.0) {
        problems.add("--bulk and --rounds: at least 1 is expected; --seconds: more than 0");
    }
    Ok(app::sound(settings, &problems)?)
}
