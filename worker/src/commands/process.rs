//! `nightread process`: studies in files and folders, here and now.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{self, runtime};
use crate::cli::{Format, ProcessArgs};
use crate::console::{FAILED, answer, say};
use crate::pipeline::serving::RunEnd;
use crate::services::process;
use crate::settings::{Settings, keys};
use crate::telemetry::logs::{self, Verbosity};

pub(super) fn run(args: &ProcessArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let settings = settings(args)?;
    let verbosity = logs::verbosity();
    let shows_progress = args.format == Format::Table && verbosity != Verbosity::Quiet;
    let processed = process::run(args, &settings, runtime::two_threads()?, shows_progress)?;
    let (summary, out) = (&processed.summary, &processed.out);
    answer(args.format, || summary.as_text(out, verbosity), || summary.as_json(out))?;
    if let Some((page, reported)) = args.report.as_ref().zip(processed.reported) {
        for problem in reported?.problems {
            say(&problem);
        }
        say(&format!("report: {}", page.display()));
    }
    match processed.ended {
        RunEnd::Fatal(error) => Err(error.into()),
        RunEnd::Drained if summary.all_good() => Ok(ExitCode::SUCCESS),
        RunEnd::Drained | RunEnd::GaveBack => Ok(ExitCode::from(FAILED)),
    }
}

fn settings(args: &ProcessArgs) -> Result<Settings> {
    let jobs = args.jobs.map(|jobs| (keys::LIMITS_JOBS, jobs.to_string()));
    let precision = args.precision.clone().map(|precision| (keys::MODELS_PRECISION, precision));
    let heatmaps = args.heatmaps.iter().flat_map(|labels| {
        [(keys::IMAGES_WRITE_HEATMAPS, "true".to_owned()), (keys::IMAGES_HEATMAP_LABELS, labels.clone())]
    });
    let flags: Vec<_> = jobs.into_iter().chain(precision).chain(heatmaps).collect();
    let (_, settings, problems) = app::settings(&args.common, &flags);
    Ok(app::sound(settings, &problems)?)
}
