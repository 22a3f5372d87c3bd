//! The figures of a run.

use std::time::Duration;

use nightread_domain::{Lane, PerLane};
use serde::Serialize;

use super::{Minute, Run};

/// What is printed of a run. Times in seconds, ages at one-minute grain.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FleetReport {
    pub jobs: usize,
    pub done: usize,
    /// Without a result at the end.
    pub left: usize,
    /// From the beginning to the last result.
    pub last_result_seconds: f64,
    /// The longest time from arrival to result; a job without one counts to the end.
    pub longest_seconds: f64,
    pub time_to_result: LaneTimes,
    pub lanes: Vec<LaneTimes>,
    pub peak_backlog: usize,
    pub oldest_job_seconds: f64,
    pub peak_regular: usize,
    pub peak_spot: usize,
    pub regular_hours: f64,
    pub spot_hours: f64,
    /// Slot time with a finished job over slot time of all machines, from 0 to 1.
    pub utilisation: f64,
    pub evictions: usize,
    /// Deliveries that were given back and worked on again.
    pub redelivered: usize,
    pub lost_slot_seconds: f64,
    /// Share of the slot time worked that was lost, from 0 to 1.
    pub lost_share: f64,
    pub scale_outs: usize,
    pub scale_ins: usize,
    pub backlog: Vec<Moment>,
}

/// Time from arrival to result, in seconds, of finished jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneTimes {
    pub lane: String,
    pub jobs: usize,
    pub done: usize,
    pub mean: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub longest: f64,
}

/// The fleet at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Moment {
    pub minute: u64,
    pub ingest: usize,
    pub bulk: usize,
    pub volumes: usize,
    pub seconds_per_worker: f64,
    pub oldest_seconds: f64,
    pub regular_starting: usize,
    pub regular_serving: usize,
    pub regular_draining: usize,
    pub spot_starting: usize,
    pub spot_serving: usize,
    pub spot_draining: usize,
}

impl FleetReport {
    /// The figures; the backlog at every `step`-th minute.
    pub fn of(run: &Run, slots: usize, step: usize) -> Self {
        let minutes = &run.minutes;
        let done = run.jobs.iter().filter(|job| job.finished.is_some()).count();
        let last = run.jobs.iter().filter_map(|job| job.finished).max().unwrap_or_default();
        let longest =
            run.jobs.iter().map(|job| job.finished.unwrap_or(run.length).saturating_sub(job.arrived));
        let [regular, spot] = run.machine_time.map(|time| time.as_secs_f64());
        let (useful, lost) = (run.useful.as_secs_f64(), run.lost.as_secs_f64());
        Self {
            jobs: run.jobs.len(),
            done,
            left: run.jobs.len() - done,
            last_result_seconds: last.as_secs_f64(),
            longest_seconds: longest.max().unwrap_or_default().as_secs_f64(),
            time_to_result: LaneTimes::of(run, None),
            lanes: Lane::ALL
                .into_iter()
                .map(|lane| LaneTimes::of(run, Some(lane)))
                .filter(|times| times.jobs > 0)
                .collect(),
            peak_backlog: peak(minutes, |minute| minute.backlog.iter().map(|(_, count)| count).sum()),
            oldest_job_seconds: minutes.iter().map(|m| m.oldest).max().unwrap_or_default().as_secs_f64(),
            peak_regular: peak(minutes, |minute| minute.starting[0] + minute.serving[0] + minute.draining[0]),
            peak_spot: peak(minutes, |minute| minute.starting[1] + minute.serving[1] + minute.draining[1]),
            regular_hours: regular / 3600.0,
            spot_hours: spot / 3600.0,
            utilisation: ratio(useful, (regular + spot) * slots as f64),
            evictions: run.evictions,
            redelivered: run.jobs.iter().map(|job| job.returned as usize).sum(),
            lost_slot_seconds: lost,
            lost_share: ratio(lost, useful + lost),
            scale_outs: run.scale_outs,
            scale_ins: run.scale_ins,
            backlog: minutes.iter().step_by(step.max(1)).map(Moment::of).collect(),
        }
    }
}

impl LaneTimes {
    fn of(run: &Run, lane: Option<Lane>) -> Self {
        let jobs = run.jobs.iter().filter(|job| lane.is_none_or(|lane| lane == job.lane));
        let count = jobs.clone().count();
        let mut times: Vec<Duration> =
            jobs.filter_map(|job| Some(job.finished?.saturating_sub(job.arrived))).collect();
        times.sort_unstable();
        let sum: f64 = times.iter().map(Duration::as_secs_f64).sum();
        Self {
            lane: lane.map_or("all", Lane::as_str).to_owned(),
            jobs: count,
            done: times.len(),
            mean: sum / times.len().max(1) as f64,
            p50: quantile(&times, 0.5),
            p95: quantile(&times, 0.95),
            p99: quantile(&times, 0.99),
            longest: quantile(&times, 1.0),
        }
    }
}

impl Moment {
    fn of(minute: &Minute) -> Self {
        let PerLane { ingest, bulk, volumes } = minute.backlog;
        Self {
            minute: minute.at.as_secs() / 60,
            ingest,
            bulk,
            volumes,
            seconds_per_worker: minute.seconds_per_worker,
            oldest_seconds: minute.oldest.as_secs_f64(),
            regular_starting: minute.starting[0],
            regular_serving: minute.serving[0],
            regular_draining: minute.draining[0],
            spot_starting: minute.starting[1],
            spot_serving: minute.serving[1],
            spot_draining: minute.draining[1],
        }
    }
}

fn peak(minutes: &[Minute], value: fn(&Minute) -> usize) -> usize {
    minutes.iter().map(value).max().unwrap_or(0)
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Of sorted times by nearest rank, in seconds; 0 of none.
fn quantile(times: &[Duration], share: f64) -> f64 {
    let rank = (share * times.len() as f64).ceil() as usize;
    times.get(rank.max(1) - 1).copied().unwrap_or_default().as_secs_f64()
}

/// The mean of one figure over several runs.
pub fn mean_of(reports: &[FleetReport], figure: impl Fn(&FleetReport) -> f64) -> f64 {
    reports.iter().map(figure).sum::<f64>() / reports.len().max(1) as f64
}
