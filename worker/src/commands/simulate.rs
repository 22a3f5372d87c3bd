//! `nightread simulate`: plan a fleet before it is paid for.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::simulate::SimulateArgs;
use crate::console::{FAILED, answer};
use crate::services::simulate;

pub(super) fn run(args: &SimulateArgs) -> Result<ExitCode> {
    let simulation = simulate::run(args)?;
    answer(args.format, || simulation.as_text(args), || simulation.as_json(args))?;
    let late = args.within.is_some_and(|within| simulation.is_later_than(within));
    Ok(if late { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}
