//! What `nightread simulate` shows, for people and for programs.

use std::time::Duration;

use comfy_table::Table;
use nightread_fleet::{LaneTimes, Moment, Scaling};
use serde_json::{Map, Value, json};

use super::figures::{FIGURES, span};
use super::{Row, Simulation};
use crate::cli::simulate::SimulateArgs;
use crate::console::table::table;

impl Simulation {
    pub fn as_json(&self, args: &SimulateArgs) -> Value {
        let rules = match &self.scenario.scaling {
            Scaling::Fixed(workers) => json!({ "workers": workers }),
            Scaling::Rules { constants, spot, .. } => json!({
                "shape": args.shape,
                "regular": constants.autoscale.regular,
                "spot": spot.then_some(constants.autoscale.spot),
            }),
            Scaling::Kubernetes { constants, .. } => json!({
                "shape": args.shape,
                "regular": constants.autoscale.regular,
                "kubernetes": constants.kubernetes,
            }),
        };
        let rows: Vec<Value> = self.rows.iter().map(|row| row_json(args, row)).collect();
        json!({
            "schema": "nightread.simulation.v1",
            "seed": args.seed,
            "runs": args.runs,
            "hours": args.hours,
            "slots": self.scenario.machine.slots,
            "rules": rules,
            "rows": rows,
        })
    }

    pub fn as_text(&self, args: &SimulateArgs) -> String {
        match self.rows.as_slice() {
            [row] if args.sweep.is_empty() => of_one(args, row),
            rows => sweep_table(args, rows).to_string(),
        }
    }
}

fn row_json(args: &SimulateArgs, row: &Row) -> Value {
    let tried: Map<String, Value> =
        row.values.iter().map(|(knob, value)| (knob.as_str().to_owned(), json!(value))).collect();
    let means: Map<String, Value> =
        FIGURES.iter().map(|figure| (figure.key.to_owned(), json!(figure.mean(&row.reports)))).collect();
    // A sweep is about the figures; a single scenario also shows each run.
    let reports = args.sweep.is_empty().then_some(&row.reports);
    json!({ "tried": tried, "means": means, "reports": reports })
}

fn of_one(args: &SimulateArgs, row: &Row) -> String {
    let Some(first) = row.reports.first() else { return String::new() };
    let heading = if args.runs > 1 { format!("mean of {} runs", args.runs) } else { String::new() };
    let mut figures = table(["figure", heading.as_str()]);
    for figure in FIGURES.iter().filter(|figure| args.spot || !figure.of_spot) {
        figures.add_row([figure.label.to_owned(), figure.shown(&row.reports)]);
    }
    let mut lanes = table(["lane", "jobs", "done", "mean", "p50", "p95", "p99", "longest"]);
    for lane in &first.lanes {
        lanes.add_row(lane_row(lane));
    }
    let mut backlog =
        table(["time", "ingest", "bulk", "volumes", "seconds per worker", "oldest", "regular", "Spot"]);
    let mut last = None;
    for moment in &first.backlog {
        // A fleet at rest need not be shown again and again.
        let state = Moment { minute: 0, ..moment.clone() };
        if last.as_ref() != Some(&state) {
            backlog.add_row(moment_row(args.start, moment));
        }
        last = Some(state);
    }
    format!(
        "{figures}\n{lanes}\n{backlog}\n\
         machines: serving, + starting, - draining; rows that repeat the one before are left out"
    )
}

fn lane_row(lane: &LaneTimes) -> [String; 8] {
    let times = [lane.mean, lane.p50, lane.p95, lane.p99, lane.longest].map(span);
    let [mean, p50, p95, p99, longest] = times;
    [lane.lane.clone(), lane.jobs.to_string(), lane.done.to_string(), mean, p50, p95, p99, longest]
}

fn moment_row(start: Duration, moment: &Moment) -> [String; 8] {
    let minute = start.as_secs() / 60 + moment.minute;
    let machines = |serving: usize, starting: usize, draining: usize| {
        let more = if starting > 0 { format!(" +{starting}") } else { String::new() };
        let fewer = if draining > 0 { format!(" -{draining}") } else { String::new() };
        format!("{serving}{more}{fewer}")
    };
    [
        format!("{:02}:{:02}", minute / 60 % 24, minute % 60),
        moment.ingest.to_string(),
        moment.bulk.to_string(),
        moment.volumes.to_string(),
        format!("{:.1}", moment.seconds_per_worker),
        span(moment.oldest_seconds),
        machines(moment.regular_serving, moment.regular_starting, moment.regular_draining),
        machines(moment.spot_serving, moment.spot_starting, moment.spot_draining),
    ]
}

fn sweep_table(args: &SimulateArgs, rows: &[Row]) -> Table {
    let mut sweep = table([""]);
    let shown = FIGURES.iter().filter(|figure| figure.in_sweep && (args.spot || !figure.of_spot));
    let tried = args.sweep.iter().map(|sweep| sweep.knob.as_str());
    sweep.set_header(tried.chain(shown.clone().map(|figure| figure.label)));
    for row in rows {
        let values = row.values.iter().map(|(_, value)| value.to_string());
        sweep.add_row(values.chain(shown.clone().map(|figure| figure.shown(&row.reports))));
    }
    sweep
}
