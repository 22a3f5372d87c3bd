//! Whether work that is announced now is done by a time of day: the night, played with the deployed rules.

use std::path::Path;
use std::time::Duration;

use nightread_domain::{Lane, PerLane};
use serde_json::{Value, json};
use time::{OffsetDateTime, Time};

use super::bench;
use super::figures::span;
use crate::adapters::amqp::RabbitOptions;
use nightread_fleet::{
    Arrivals, Constants, DEPLOYED, FleetReport, MachineType, Scaling, Scenario, ServiceTime, Shape, simulate,
};

const DAY: Duration = Duration::from_hours(24);
/// Played one by one; beyond these it would take minutes and gigabytes.
const MOST_JOBS: u64 = 5_000_000;
/// From the order of a machine until it takes jobs, as `nightread simulate` has it by default.
const STARTUP: (Duration, Duration) = (Duration::from_mins(5), Duration::from_mins(8));
const DEFAULT_SLOTS: usize = 8;

/// What is known before anything is announced.
#[derive(Clone, Debug)]
pub(crate) struct Night {
    constants: Constants,
    shape: Shape,
    service: ServiceTime,
    slots: usize,
    lane: Lane,
    /// Time of day at which it begins.
    begins: Duration,
    length: Duration,
}

/// What the simulation says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outlook {
    jobs: u64,
    /// `None`: there are too many to be played.
    report: Option<Box<FleetReport>>,
    length: Duration,
}

/// From now to the next time that a clock shows `hour`.
pub(crate) fn until(now: OffsetDateTime, hour: Duration) -> Duration {
    let passed = time_of_day(now);
    hour.checked_sub(passed)
        .filter(|left| !left.is_zero())
        .unwrap_or_else(|| (hour + DAY).saturating_sub(passed))
}

fn time_of_day(now: OffsetDateTime) -> Duration {
    (now.time() - Time::MIDNIGHT).try_into().unwrap_or_default()
}

impl Night {
    /// # Errors
    /// In words, when the file measures nothing or nobody knows the shape.
    pub fn read(
        path: &Path,
        shape: &str,
        lane: Lane,
        now: OffsetDateTime,
        length: Duration,
    ) -> Result<Self, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let measured = bench::parse(&text, &[lane]).map_err(|problem| format!("{name}: {problem}"))?;
        let service = measured.service[lane].clone();
        let service = service.ok_or_else(|| format!("{name}: nothing of the lane {}", lane.as_str()))?;
        let constants = Constants::parse(DEPLOYED)?;
        let Some(shape) = constants.shapes.get(shape).copied() else {
            let known: Vec<_> = constants.shapes.keys().map(String::as_str).collect();
            return Err(format!("--shape: {shape} is not among {}", known.join(", ")));
        };
        let slots = measured.slots.unwrap_or(DEFAULT_SLOTS);
        Ok(Self { constants, shape, service, slots, lane, begins: time_of_day(now), length })
    }

    /// So many jobs at its beginning, and what is left at its end.
    pub fn outlook(&self, jobs: u64) -> Outlook {
        let played = usize::try_from(jobs).ok().filter(|_| jobs <= MOST_JOBS).map(|count| {
            let run = simulate(&self.scenario(count), 1);
            Box::new(FleetReport::of(&run, self.slots, usize::MAX))
        });
        Outlook { jobs, report: played, length: self.length }
    }

    fn scenario(&self, count: usize) -> Scenario {
        let drain = Duration::from_secs(self.constants.drain.deadline_seconds);
        Scenario {
            arrivals: vec![Arrivals::Bulk { lane: self.lane, count, at: Duration::ZERO }],
            service: PerLane::from_fn(|lane| (lane == self.lane).then(|| self.service.clone())),
            machine: MachineType {
                slots: self.slots,
                permits: self.slots.saturating_mul(4),
                weights: RabbitOptions::new("").weights,
                startup: STARTUP,
            },
            scaling: Scaling::Rules {
                constants: Box::new(self.constants.clone()),
                shape: self.shape,
                spot: false,
            },
            evictions_per_hour: 0.0,
            notice: Duration::ZERO,
            drain,
            metric_delay: Duration::from_mins(1),
            time_of_day: self.begins,
            length: self.length,
        }
    }
}

impl Outlook {
    fn suffices(&self) -> Option<bool> {
        self.report.as_ref().map(|report| report.left == 0)
    }

    pub fn as_text(&self) -> String {
        let (jobs, within) = (self.jobs, span(self.length.as_secs_f64()));
        match &self.report {
            None => format!(
                "capacity: {jobs} jobs are too many to be played one by one; `nightread simulate` knows more"
            ),
            Some(report) if report.left == 0 => format!(
                "capacity: it suffices: by simulation {jobs} jobs take {} of {within}, with {} machines at most",
                span(report.last_result_seconds),
                report.peak_regular
            ),
            Some(report) => format!(
                "capacity: it does not suffice: by simulation {} of {jobs} jobs are left after {within}, with {} machines at most",
                report.left, report.peak_regular
            ),
        }
    }

    pub fn as_json(&self) -> Value {
        let report = self.report.as_deref();
        json!({
            "suffices": self.suffices(),
            "jobs": self.jobs,
            "seconds": self.length.as_secs_f64(),
            "left": report.map(|report| report.left),
            "last_result_seconds": report.map(|report| report.last_result_seconds),
            "peak_machines": report.map(|report| report.peak_regular),
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// Fifty images a second on eight cores.
    const BENCH: &str = r#"{"machine": {"cores": 8}, "bulk": {"per_second": 50.0}}"#;

    fn night(length: Duration) -> Night {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), BENCH).expect("written");
        let now = datetime!(2026-11-30 22:00 UTC);
        Night::read(file.path(), "prod", Lane::Bulk, now, length).expect("sound")
    }

    #[test]
    fn the_next_time_that_a_clock_shows_an_hour() {
        let six = Duration::from_hours(6);
        assert_eq!(until(datetime!(2026-11-30 22:00 UTC), six), Duration::from_hours(8));
        assert_eq!(until(datetime!(2026-11-30 05:59 UTC), six), Duration::from_mins(1));
        assert_eq!(until(datetime!(2026-11-30 06:00 UTC), six), DAY);
        assert_eq!(
            until(datetime!(2026-11-30 06:00:01 UTC), six),
            DAY.saturating_sub(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_night_is_enough_for_what_its_machines_can_do_and_for_no_more() {
        // Eight hours of one machine are 1.44 million images.
        let enough = night(Duration::from_hours(8)).outlook(1_000_000);
        assert_eq!(enough.suffices(), Some(true), "{}", enough.as_text());
        let short = night(Duration::from_mins(30)).outlook(1_000_000);
        assert_eq!(short.suffices(), Some(false), "{}", short.as_text());
        let left = short.as_json()["left"].as_u64().expect("a number");
        assert!((100_000..1_000_000).contains(&left), "{left}");
        assert_eq!(night(Duration::from_hours(8)).outlook(0).suffices(), Some(true));
        assert_eq!(night(DAY).outlook(MOST_JOBS + 1).suffices(), None);
    }

    #[test]
    fn what_measures_nothing_and_a_shape_that_nobody_knows_are_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = |shape| Night::read(file.path(), shape, Lane::Bulk, datetime!(2026-11-30 22:00 UTC), DAY);
        assert!(read("prod").expect_err("empty").contains("neither a report"));
        std::fs::write(file.path(), BENCH).expect("written");
        assert!(read("huge").expect_err("unknown").contains("is not among dev, prod"));
    }
}
