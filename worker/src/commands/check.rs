//! `nightread check`: what a command would stumble over, before it is started.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{self, runtime};
use crate::cli::CheckArgs;
use crate::console::{FAILED, answer};
use crate::services::check::CheckReport;

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let (raw, settings, problems) = app::settings(&args.common, &[]);
    let mut report = CheckReport::new(raw, problems, args.purpose.clone());
    if let Some(settings) = &settings {
        report.look_at_settings(settings);
        report.look_at_this_machine(settings, args.offline);
        if !args.offline {
            report.look_outside(settings, runtime::one_thread()?);
        }
    }
    answer(args.format, || report.as_text(), || report.as_json())?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
