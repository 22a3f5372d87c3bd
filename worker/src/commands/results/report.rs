//! `nightread results report`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::results::ReportArgs;
use crate::console::{FAILED, print, say};
use crate::services::results::report::{self, Made};

pub(super) async fn run(args: &ReportArgs) -> Result<ExitCode> {
    let Made { unread, problems } = report::run(args).await?;
    for line in unread.iter().chain(&problems) {
        say(line);
    }
    print(&format!("report: {}", args.out.display()))?;
    Ok(if unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
