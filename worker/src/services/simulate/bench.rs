//! Service times that were measured.

use std::collections::BTreeMap;

use nightread_domain::{Lane, PerLane};
use serde::Deserialize;

use nightread_fleet::ServiceTime;

/// What a file says: how long jobs of some lanes take, and on how many slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Measured {
    pub slots: Option<usize>,
    pub service: PerLane<Option<ServiceTime>>,
}

/// A report of `nightread bench --format json`, or service times of lanes from elsewhere.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum File {
    Lanes { slots: Option<usize>, lanes: BTreeMap<String, LaneTime> },
    Bench { machine: Machine, grid: Option<Vec<Rate>>, auto: Option<Auto>, bulk: Option<Rate> },
}

/// `{"samples": [0.1, 0.2]}`, or `{"mean_seconds": 0.15, "cv": 0.3}`, in seconds of one slot.
#[derive(Debug, Deserialize)]
struct LaneTime {
    mean_seconds: Option<f64>,
    cv: Option<f64>,
    samples: Option<Vec<f64>>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    cores: usize,
}

#[derive(Debug, Deserialize)]
struct Rate {
    per_second: f64,
}

/// The split that the service takes, as a share of the best.
#[derive(Debug, Deserialize)]
struct Auto {
    of_best: Option<f64>,
}

/// Reads a file; what a bench measured holds for `lanes`.
pub(super) fn parse(text: &str, lanes: &[Lane]) -> Result<Measured, String> {
    let unknown = "neither a report of `nightread bench --format json` nor an object with lanes";
    let file: File = serde_json::from_str(text).map_err(|_| unknown.to_owned())?;
    let measured = match file {
        File::Lanes { slots, lanes } => {
            let mut measured = Measured { slots, ..Measured::default() };
            for (name, time) in lanes {
                let lane = name.parse::<Lane>().map_err(|error| error.to_string())?;
                measured.service[lane] = Some(time.into_service());
            }
            measured
        }
        File::Bench { machine, grid, auto, bulk } => {
            let best = grid.iter().flatten().map(|row| row.per_second).reduce(f64::max);
            let taken = best.map(|best| best * auto.and_then(|auto| auto.of_best).unwrap_or(1.0));
            let rate = bulk.map(|bulk| bulk.per_second).or(taken).ok_or("the bench measured no rate")?;
            // A machine of so many cores, all busy: each core gives one job in so many seconds.
            let time = ServiceTime::Gamma { mean: machine.cores as f64 / rate, cv: 0.0 };
            let mut measured = Measured { slots: Some(machine.cores), ..Measured::default() };
            for lane in lanes {
                measured.service[*lane] = Some(time.clone());
            }
            measured
        }
    };
    let problem = measured.service.iter().find_map(|(_, time)| time.as_ref()?.problem());
    match problem {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(measured),
    }
}

impl LaneTime {
    fn into_service(self) -> ServiceTime {
        match self.samples {
            Some(samples) => ServiceTime::Measured(samples),
            None => {
                ServiceTime::Gamma { mean: self.mean_seconds.unwrap_or(f64::NAN), cv: self.cv.unwrap_or(0.0) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: [Lane; 2] = [Lane::Ingest, Lane::Bulk];

    #[test]
    fn a_bench_gives_the_time_of_one_core_in_the_split_that_is_taken() {
        let text = r#"{"version": "1", "machine": {"cores": 8}, "grid": [{"sessions": 1, "per_second": 40.0},
            {"sessions": 8, "per_second": 50.0}], "auto": {"sessions": 8, "of_best": 0.8}}"#;
        let measured = parse(text, &IMAGES).expect("sound");
        assert_eq!(measured.slots, Some(8));
        assert_eq!(measured.service.ingest, Some(ServiceTime::Gamma { mean: 0.2, cv: 0.0 }));
        assert_eq!(measured.service.volumes, None, "a bench of images says nothing of scans");
        let bulk = r#"{"machine": {"cores": 2}, "bulk": {"per_second": 20.0}}"#;
        assert_eq!(
            parse(bulk, &[Lane::Volumes]).expect("sound").service.volumes,
            Some(ServiceTime::Gamma { mean: 0.1, cv: 0.0 })
        );
    }

    #[test]
    fn lanes_may_have_samples_or_moments() {
        let text = r#"{"slots": 4, "lanes": {"volumes": {"samples": [50, 70]}, "bulk": {"mean_seconds": 0.2, "cv": 0.5}}}"#;
        let measured = parse(text, &IMAGES).expect("sound");
        assert_eq!(measured.slots, Some(4));
        assert_eq!(measured.service.volumes, Some(ServiceTime::Measured(vec![50.0, 70.0])));
        assert_eq!(measured.service.bulk, Some(ServiceTime::Gamma { mean: 0.2, cv: 0.5 }));
    }

    #[test]
    fn what_measures_nothing_is_refused() {
        for bad in [
            "",
            "[]",
            r#"{"lanes": {"night": {"mean_seconds": 1}}}"#,
            r#"{"lanes": {"bulk": {}}}"#,
            r#"{"machine": {"cores": 2}}"#,
            r#"{"machine": {"cores": 2}, "bulk": {"per_second": 0}}"#,
        ] {
            assert!(parse(bad, &IMAGES).is_err(), "{bad}");
        }
    }
}
