//! The figures that are printed, for people and for programs, one table for both.

use nightread_fleet::{FleetReport, mean_of};

/// One figure of a report.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    pub key: &'static str,
    pub label: &'static str,
    /// Whether a sweep shows it to people.
    pub in_sweep: bool,
    /// Whether it says nothing without a Spot set.
    pub of_spot: bool,
    of: fn(&FleetReport) -> f64,
    show: fn(f64) -> String,
}

impl Figure {
    pub fn mean(&self, reports: &[FleetReport]) -> f64 {
        mean_of(reports, self.of)
    }

    pub fn shown(&self, reports: &[FleetReport]) -> String {
        (self.show)(self.mean(reports))
    }
}

const fn figure(
    key: &'static str,
    label: &'static str,
    in_sweep: bool,
    of: fn(&FleetReport) -> f64,
    show: fn(f64) -> String,
) -> Figure {
    Figure { key, label, in_sweep, of_spot: false, of, show }
}

const fn spot(figure: Figure) -> Figure {
    Figure { of_spot: true, ..figure }
}

pub(super) const FIGURES: [Figure; 21] = [
    figure("jobs", "jobs", false, |r| r.jobs as f64, count),
    figure("left", "left", true, |r| r.left as f64, count),
    figure("last_result_seconds", "last result after", true, |r| r.last_result_seconds, span),
    figure("mean_seconds", "time to result, mean", false, |r| r.time_to_result.mean, span),
    figure("p50_seconds", "p50", true, |r| r.time_to_result.p50, span),
    figure("p95_seconds", "p95", true, |r| r.time_to_result.p95, span),
    figure("p99_seconds", "p99", true, |r| r.time_to_result.p99, span),
    figure("longest_seconds", "longest", true, |r| r.longest_seconds, span),
    figure("oldest_job_seconds", "oldest job", false, |r| r.oldest_job_seconds, span),
    figure("peak_backlog", "largest backlog", false, |r| r.peak_backlog as f64, count),
    figure("peak_regular", "most machines", true, |r| r.peak_regular as f64, count),
    spot(figure("peak_spot", "most Spot machines", true, |r| r.peak_spot as f64, count)),
    figure("regular_hours", "machine-hours", true, |r| r.regular_hours, tenths),
    spot(figure("spot_hours", "Spot machine-hours", true, |r| r.spot_hours, tenths)),
    figure("utilisation", "slots in use", true, |r| r.utilisation, percent),
    figure("scale_outs", "scaled out", false, |r| r.scale_outs as f64, count),
    figure("scale_ins", "scaled in", false, |r| r.scale_ins as f64, count),
    spot(figure("evictions", "evictions", true, |r| r.evictions as f64, count)),
    figure("redelivered", "jobs given back", false, |r| r.redelivered as f64, count),
    figure("lost_slot_seconds", "slot time lost", false, |r| r.lost_slot_seconds, span),
    figure("lost_share", "work lost", true, |r| r.lost_share, percent),
];

fn count(value: f64) -> String {
    if (value - value.round()).abs() < 0.05 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

/// A time for people.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else if seconds < 6000.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}
