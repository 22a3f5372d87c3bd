//! `nightread group-ica`: group component maps of a cohort, for dual regression.

mod show;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nightread_fmri::ica::{Options, Progress, group_ica, write_group};
use nightread_volume::{FileSource, ScanSource};

use crate::cli::GroupIcaArgs;
use crate::console::{answer, say};

pub(super) fn run(args: &GroupIcaArgs) -> Result<ExitCode> {
    let scans: Vec<FileSource> = args.scans.iter().cloned().map(FileSource).collect();
    let runs: Vec<&dyn ScanSource> = scans.iter().map(|scan| scan as &dyn ScanSource).collect();
    let mask = FileSource(args.mask.clone());
    let options = Options {
        seed: args.seed,
        restarts: args.restarts,
        resample: args.resample,
        ..Options::new(args.components)
    };
    let bar = bar(scans.len() + args.restarts);
    let group = group_ica(&runs, &mask, &options, &mut |progress| {
        bar.inc(1);
        bar.set_message(match progress {
            Progress::Run { done, of } => format!("scan {done} of {of}"),
            Progress::Restart { done, of, .. } => format!("FastICA start {done} of {of}"),
        });
    });
    bar.finish_and_clear();
    let group = group?;
    write_group(&group, &args.out, !args.no_des_norm)
        .with_context(|| format!("cannot write to {}", args.out.display()))?;
    for warning in &group.warnings {
        say(&format!("warning: {}: {}", warning.code, warning.message));
    }
    if !group.converged {
        say(&format!(
            "warning: FastICA did not converge in {} iterations in the best of {} starts: these maps are one of many answers",
            options.max_iterations, options.restarts
        ));
    }
    answer(args.format, || show::as_text(&group, args), || show::as_json(&group))?;
    Ok(ExitCode::SUCCESS)
}

fn bar(steps: usize) -> ProgressBar {
    let shown = std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}
