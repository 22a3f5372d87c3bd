//! `nightread simulate`: plan a fleet before it is paid for.

mod bench;
mod figures;
mod inputs;
pub(crate) mod outlook;
mod show;
mod sweep;

use crate::app::WrongUse;
use crate::cli::simulate::Knob;
pub use crate::cli::simulate::SimulateArgs;
use crate::settings::Problems;
use nightread_fleet::{FleetReport, Scenario, simulate};

/// One combination of tried values, and what came of it.
struct Row {
    values: Vec<(Knob, f64)>,
    reports: Vec<FleetReport>,
}

/// What was simulated.
pub(crate) struct Simulation {
    scenario: Scenario,
    rows: Vec<Row>,
}

/// Simulates what was typed; [`WrongUse`] when it is no sound scenario, with every problem.
pub(crate) fn run(args: &SimulateArgs) -> Result<Simulation, WrongUse> {
    let mut problems = Problems::default();
    let scenario = inputs::scenario(args, &mut problems);
    let mut rows = Vec::new();
    if let Some(scenario) = &scenario {
        for values in sweep::combinations(&args.sweep) {
            match sweep::tried(scenario, &values) {
                Ok(tried) => rows.push((values, tried)),
                Err(problem) => problems.add(problem),
            }
        }
    }
    let Some(scenario) = scenario.filter(|_| problems.is_empty()) else {
        return Err(WrongUse(problems.to_string()));
    };
    let rows = rows.into_iter().map(|(values, tried)| played(args, values, &tried)).collect();
    Ok(Simulation { scenario, rows })
}

impl Simulation {
    /// Whether a job had no result within so many seconds.
    pub fn is_later_than(&self, seconds: f64) -> bool {
        self.rows.iter().flat_map(|row| &row.reports).any(|report| report.longest_seconds > seconds)
    }
}

fn played(args: &SimulateArgs, values: Vec<(Knob, f64)>, scenario: &Scenario) -> Row {
    let reports = (0..args.runs).map(|number| {
        let run = simulate(scenario, args.seed.wrapping_add(number));
        FleetReport::of(&run, scenario.machine.slots, args.every)
    });
    Row { reports: reports.collect(), values }
}
