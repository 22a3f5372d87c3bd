//! From counts and reports to seconds of work for each worker. Pure: no clock, no broker.

use std::collections::BTreeMap;

use nightread_domain::{Lane, PerLane};
use serde::Serialize;

use crate::adapters::amqp::topology::{self};
use crate::adapters::amqp::{QueueCount, WorkReport};
use crate::settings::BacklogSettings;
use crate::telemetry::ledger::WorkLeft;
use nightread_domain::retry::Delay;

/// What workers did in these last seconds is what a message costs now.
pub(super) const WINDOW_SECONDS: u64 = 15 * 60;

/// Workers report every half minute; an age from longer ago is no longer true.
const FRESH_SECONDS: u64 = 100;

/// An observation of work without workers holds until the next one, which may come a little late.
const WATCH_SECONDS: u64 = 200;

/// Seconds that a message may cost; anybody may write reports.
const BELIEVED: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// Where the cost of a message is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Known {
    /// Told by workers within the window.
    Measured,
    /// Told by workers before.
    Remembered,
    /// Told by nobody yet.
    Settings,
}

impl Known {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Remembered => "remembered",
            Self::Settings => "settings",
        }
    }
}

/// One queue of work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct QueueWork {
    pub queue: String,
    pub ready: u64,
    pub unacknowledged: u64,
    /// Seconds that one worker needs for one message.
    pub seconds_each: f64,
    pub known: Known,
    /// Messages in flight whose own work is counted, and not what a message costs on average.
    pub estimated: u64,
    pub seconds: f64,
}

/// What waits, and how long it would take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Backlog {
    /// Seconds since 1970.
    pub at: u64,
    pub(super) queues: Vec<QueueWork>,
    pub workers: u64,
    pub seconds: f64,
    pub seconds_per_worker: f64,
    /// Waiting for another try; not counted as work.
    pub delayed: u64,
    pub dead_letters: u64,
    /// The oldest job that is in flight, was taken lately, or waits without a worker.
    pub oldest_job_age_seconds: u64,
    /// Announcements before the broker, where a Storage queue is named.
    pub storage_queue: Option<u64>,
}

/// Everything that was seen at one time.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub at: u64,
    pub counts: &'a BTreeMap<String, QueueCount>,
    pub reports: &'a [WorkReport],
    pub storage_queue: Option<u64>,
}

impl Seen<'_> {
    fn count(&self, queue: &str) -> QueueCount {
        self.counts.get(queue).copied().unwrap_or_default()
    }
}

/// The queues whose messages are work, with the lane that tells their cost; `None`: the dearest that workers told of.
fn work_queues() -> Vec<(String, Option<Lane>)> {
    let lanes = Lane::ALL.into_iter().map(|lane| (topology::lane_queue(lane), Some(lane)));
    lanes.chain([(topology::QUARANTINE_QUEUE.to_owned(), None)]).collect()
}

/// The backlog, and what the next one that asks should know.
pub(super) fn estimate(seen: &Seen<'_>, settings: &BacklogSettings) -> (Backlog, WorkReport) {
    let costs = PerLane::from_fn(|lane| cost(lane, seen, settings));
    // A fleet that never reads scans must not take its quarantine for scans.
    let told = costs.iter().map(|(_, cost)| *cost).filter(|(_, known)| *known != Known::Settings);
    let dearest = told.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or(costs.ingest);
    let queues: Vec<QueueWork> = work_queues()
        .into_iter()
        .map(|(queue, lane)| {
            let count = seen.count(&queue);
            let (seconds_each, known) = lane.map_or(dearest, |lane| costs[lane]);
            let (ready, unacknowledged) = (count.ready, count.unacknowledged);
            let left = lane.map_or_else(WorkLeft::default, |lane| left(lane, unacknowledged, seen));
            let others = count.messages().saturating_sub(left.messages);
            let seconds = left.seconds + others as f64 * seconds_each;
            let estimated = left.messages;
            QueueWork { queue, ready, unacknowledged, seconds_each, known, estimated, seconds }
        })
        .collect();
    // Every worker has one consumer on every lane.
    let workers = Lane::ALL
        .into_iter()
        .map(|lane| seen.count(&topology::lane_queue(lane)).consumers)
        .max()
        .unwrap_or(0);
    let seconds: f64 = queues.iter().map(|queue| queue.seconds).sum();
    let waits = queues.iter().any(|queue| queue.ready + queue.unacknowledged > 0);
    let seconds_per_worker = if workers == 0 && waits {
        // However little it is: without a worker it is never done.
        seconds.max(settings.scale_out_seconds + 1.0)
    } else {
        seconds / workers.max(1) as f64
    };
    let unattended_since = PerLane::from_fn(|lane| {
        let waits = workers == 0 && seen.count(&topology::lane_queue(lane)).ready > 0;
        waits.then(|| watched(lane, seen).unwrap_or(seen.at))
    });
    let ages = seen.reports.iter().filter_map(|report| match report {
        WorkReport::Worker { at, lanes, .. } if at.saturating_add(FRESH_SECONDS) >= seen.at => {
            lanes.iter().filter_map(|(_, lane)| lane.oldest_age).max()
        }
        _ => None,
    });
    let unattended = unattended_since.iter().filter_map(|(_, since)| Some(seen.at.saturating_sub((*since)?)));
    let backlog = Backlog {
        at: seen.at,
        workers,
        seconds,
        seconds_per_worker,
        delayed: Delay::ALL
            .into_iter()
            .map(|delay| seen.count(&topology::delay_queue(delay)).messages())
            .sum(),
        dead_letters: seen.count(topology::DEAD_QUEUE).messages(),
        oldest_job_age_seconds: ages.chain(unattended).max().unwrap_or(0),
        storage_queue: seen.storage_queue,
        queues,
    };
    let seconds_each = costs.map(|(seconds, known)| (known != Known::Settings).then_some(seconds));
    (backlog, WorkReport::Backlog { at: seen.at, seconds_each, unattended_since })
}

/// What is left of the messages in hand whose own work workers know, by the last that each told; of no more than are in hand.
fn left(lane: Lane, unacknowledged: u64, seen: &Seen<'_>) -> WorkLeft {
    let mut last: BTreeMap<&str, (u64, WorkLeft)> = BTreeMap::new();
    for report in seen.reports {
        let WorkReport::Worker { at, worker, lanes } = report else { continue };
        let Some(left) = lanes[lane].left.filter(|left| left.messages == 0 || believed(left)) else {
            continue;
        };
        let is_fresh = !worker.is_empty() && at.saturating_add(FRESH_SECONDS) >= seen.at;
        if is_fresh && last.get(worker.as_str()).is_none_or(|(before, _)| before <= at) {
            last.insert(worker, (*at, left));
        }
    }
    let (mut messages, mut seconds) = (0_u64, 0.0);
    for (_, left) in last.into_values().filter(|(_, left)| left.messages > 0) {
        messages = messages.saturating_add(left.messages);
        seconds += left.seconds;
    }
    // Counts are a little late, and a message of the quarantine is in hand under another queue.
    let known = messages.min(unacknowledged);
    let share = seconds * known as f64 / messages.max(1) as f64;
    // What is in hand is not done, however little is left.
    WorkLeft { messages: known, seconds: share.max(known as f64 * BELIEVED.start()) }
}

/// Anybody may write reports.
fn believed(left: &WorkLeft) -> bool {
    (0.0..=*BELIEVED.end()).contains(&(left.seconds / left.messages as f64))
}

fn cost(lane: Lane, seen: &Seen<'_>, settings: &BacklogSettings) -> (f64, Known) {
    let (mut messages, mut seconds, mut remembered) = (0, 0.0, None);
    for report in seen.reports {
        match report {
            WorkReport::Worker { lanes, .. } => {
                messages = lanes[lane].messages.saturating_add(messages);
                seconds += lanes[lane].seconds;
            }
            WorkReport::Backlog { seconds_each, .. } => remembered = seconds_each[lane].or(remembered),
            WorkReport::Mark { .. } => {}
        }
    }
    let measured = (messages > 0).then(|| seconds / messages as f64);
    let [measured, remembered] =
        [measured, remembered].map(|seconds| seconds.filter(|seconds| BELIEVED.contains(seconds)));
    match (measured, remembered) {
        (Some(seconds), _) => (seconds, Known::Measured),
        (None, Some(seconds)) => (seconds, Known::Remembered),
        (None, None) => (settings.seconds_each[lane], Known::Settings),
    }
}

/// Since when earlier looks, one after the other, saw this lane wait without a worker.
fn watched(lane: Lane, seen: &Seen<'_>) -> Option<u64> {
    seen.reports.iter().rev().find_map(|report| match report {
        WorkReport::Backlog { at, unattended_since, .. } if at.saturating_add(WATCH_SECONDS) >= seen.at => {
            Some(unattended_since[lane])
        }
        _ => None,
    })?
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // 0 and the threshold are exact
mod tests {
    use super::*;
    use crate::telemetry::ledger::LaneWork;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn settings() -> BacklogSettings {
        BacklogSettings {
            management_url: None,
            seconds_each: PerLane { ingest: 0.02, bulk: 0.02, volumes: 20.0 },
            scale_out_seconds: 600.0,
            metrics: None,
        }
    }

    fn counts(lanes: [(u64, u64, u64); 3]) -> BTreeMap<String, QueueCount> {
        let lanes = PerLane::from(lanes);
        let of = |lane: Lane| {
            let (ready, unacknowledged, consumers) = lanes[lane];
            (topology::lane_queue(lane), QueueCount { ready, unacknowledged, consumers })
        };
        Lane::ALL.map(of).into()
    }

    fn seen(lanes: [(u64, u64, u64); 3], reports: &[WorkReport]) -> (Backlog, WorkReport) {
        let counts = counts(lanes);
        estimate(&Seen { at: NOW, counts: &counts, reports, storage_queue: None }, &settings())
    }

    fn worker(at: u64, lane: Lane, messages: u64, seconds: f64, oldest_age: Option<u64>) -> WorkReport {
        let mut lanes = PerLane::<LaneWork>::default();
        lanes[lane] = LaneWork { messages, seconds, oldest_age, left: None };
        WorkReport::Worker { at, worker: String::new(), lanes }
    }

    fn holds(at: u64, worker: &str, messages: u64, seconds: f64) -> WorkReport {
        let mut lanes = PerLane::<LaneWork>::default();
        lanes.volumes.left = Some(WorkLeft { messages, seconds });
        WorkReport::Worker { at, worker: worker.to_owned(), lanes }
    }

    #[test]
    fn ready_and_unacknowledged_count_alike_and_are_shared_between_the_workers() {
        let (backlog, _) = seen([(100, 50, 2), (0, 0, 2), (1, 2, 2)], &[]);
        assert!((backlog.seconds - (150.0 * 0.02 + 60.0)).abs() < 1e-9);
        assert!((backlog.seconds_per_worker - backlog.seconds / 2.0).abs() < 1e-9);
        assert_eq!(backlog.queues[0].known, Known::Settings);
    }

    #[test]
    fn nothing_is_nothing_and_work_without_a_worker_is_more_than_the_threshold() {
        assert_eq!(seen([(0, 0, 0); 3], &[]).0.seconds_per_worker, 0.0);
        assert_eq!(seen([(1, 0, 0), (0, 0, 0), (0, 0, 0)], &[]).0.seconds_per_worker, 601.0);
        let (much, _) = seen([(0, 0, 0), (160_000, 0, 0), (0, 0, 0)], &[]);
        assert!((much.seconds_per_worker - 3200.0).abs() < 1e-6);
    }

    #[test]
    fn what_workers_told_beats_what_was_remembered_beats_the_settings() {
        let remembered = WorkReport::Backlog {
            at: NOW - 60,
            seconds_each: [Some(0.5), None, Some(90.0)].into(),
            unattended_since: PerLane::default(),
        };
        let reports = [
            worker(NOW - 120, Lane::Ingest, 10, 1.0, None),
            remembered,
            worker(NOW - 30, Lane::Ingest, 30, 1.0, None),
            // Busy, and nothing finished yet.
            worker(NOW - 20, Lane::Volumes, 0, 30.0, None),
        ];
        let (backlog, conclusion) = seen([(1, 0, 1); 3], &reports);
        let known: Vec<_> = backlog.queues.iter().map(|queue| (queue.seconds_each, queue.known)).collect();
        assert_eq!(known[..3], [(0.05, Known::Measured), (0.02, Known::Settings), (90.0, Known::Remembered)]);
        let WorkReport::Backlog { seconds_each, .. } = conclusion else { panic!("a conclusion") };
        assert_eq!(seconds_each, [Some(0.05), None, Some(90.0)].into());
    }

    #[test]
    fn what_is_left_of_a_volume_in_hand_counts_and_not_the_mean() {
        let volumes = |ready, unacknowledged| [(0, 0, 2), (0, 0, 2), (ready, unacknowledged, 2)];
        let measured = worker(NOW - 200, Lane::Volumes, 10, 200.0, None);
        let reports = [
            measured.clone(),
            holds(NOW - 70, "a", 1, 1500.0),
            holds(NOW - 10, "a", 1, 1200.0),
            holds(NOW - 40, "b", 2, 30.0),
            holds(NOW - 300, "gone", 1, 900.0),
            // A worker of before, and a stranger.
            holds(NOW - 5, "", 1, 900.0),
            holds(NOW - 5, "stranger", 1, f64::NAN),
        ];
        let work = |lanes, reports: &[WorkReport]| {
            let volumes = seen(lanes, reports).0.queues.swap_remove(2);
            (volumes.estimated, volumes.seconds)
        };
        // Two wait and one is not decoded yet: 20 s each.
        assert_eq!(work(volumes(2, 4), &reports), (3, 1230.0 + 60.0));
        assert_eq!(work(volumes(2, 0), &reports), (0, 40.0), "what is not in hand is over");
        assert_eq!(work(volumes(0, 1), &reports), (1, 410.0), "a third of what was told of");
        let done = [&reports[..], &[holds(NOW, "a", 0, 0.0)]].concat();
        assert_eq!(work(volumes(0, 2), &done), (2, 30.0));
        assert_eq!(work(volumes(1, 1), &[measured]), (0, 40.0));
    }

    #[test]
    fn quarantined_messages_cost_what_the_dearest_lane_is_known_to_cost() {
        let mut counts = counts([(0, 0, 1); 3]);
        counts
            .insert(topology::QUARANTINE_QUEUE.to_owned(), QueueCount { ready: 10, ..QueueCount::default() });
        let cost = |reports: &[WorkReport]| {
            let seen = Seen { at: NOW, counts: &counts, reports, storage_queue: None };
            estimate(&seen, &settings()).0.seconds
        };
        assert!((cost(&[]) - 0.2).abs() < 1e-9, "images, until somebody tells");
        let told = [worker(NOW, Lane::Bulk, 10, 1.0, None), worker(NOW, Lane::Ingest, 10, 3.0, None)];
        assert!((cost(&told) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_oldest_job_is_what_a_worker_saw_lately_or_what_nobody_takes() {
        let stale = worker(NOW - 500, Lane::Bulk, 1, 1.0, Some(9_000));
        let fresh = worker(NOW - 20, Lane::Bulk, 1, 1.0, Some(70));
        assert_eq!(seen([(0, 1, 1); 3], &[stale.clone(), fresh]).0.oldest_job_age_seconds, 70);
        let alone = [(5, 0, 0), (0, 0, 0), (0, 0, 0)];
        let (first, conclusion) = seen(alone, &[stale]);
        assert_eq!(first.oldest_job_age_seconds, 0, "seen for the first time");
        let WorkReport::Backlog { unattended_since, .. } = conclusion else { panic!("a conclusion") };
        assert_eq!(unattended_since, [Some(NOW), None, None].into());
        let watch = |at| WorkReport::Backlog {
            at,
            seconds_each: PerLane::default(),
            unattended_since: [Some(NOW - 7_000), None, None].into(),
        };
        assert_eq!(seen(alone, &[watch(NOW - 60)]).0.oldest_job_age_seconds, 7_000);
        assert_eq!(seen(alone, &[watch(NOW - 600)]).0.oldest_job_age_seconds, 0, "nobody watched meanwhile");
        assert_eq!(seen([(5, 0, 1), (0, 0, 1), (0, 0, 1)], &[watch(NOW - 60)]).0.oldest_job_age_seconds, 0);
    }

    proptest! {
        /// Whatever strangers report, the figures are finite and never negative, and never 0 while something waits.
        #[test]
        fn figures_are_sound(lanes in prop::array::uniform3((0u64..1_000_000, 0u64..1_000_000, 0u64..50)), messages in any::<u64>(), seconds in any::<f64>(), at in any::<u32>()) {
            let told = [worker(u64::from(at), Lane::Bulk, messages, seconds, Some(1)), worker(NOW, Lane::Bulk, messages, seconds, None), holds(NOW, "w", messages, seconds)];
            let (backlog, _) = seen(lanes, &told);
            prop_assert!(backlog.seconds_per_worker.is_finite() && backlog.seconds_per_worker >= 0.0);
            let waits = lanes.iter().any(|(ready, held, _)| ready + held > 0);
            prop_assert_eq!(waits, backlog.seconds_per_worker > 0.0);
        }
    }
}
