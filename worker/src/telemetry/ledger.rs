//! Where a worker's time goes, lane by lane: what `nightread backlog` reckons with.
//!
//! A worker has many jobs in flight, so the time of one job says little about how many it does in an hour. Here every
//! second in which anything is in flight is shared equally between what is in flight. So the seconds of all lanes add up to
//! the time that the worker was busy, and seconds over messages is what one more message costs *this worker*, with all
//! its cores: the reciprocal of its throughput.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nightread_domain::{Lane, PerLane};
use serde::{Deserialize, Serialize};

/// A stranger's clock may say anything; nothing waits for longer than this.
const OLDEST_BELIEVED: u64 = 30 * 24 * 3600;

/// What one lane was and had since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneWork {
    /// Messages settled or given back.
    pub messages: u64,
    /// The worker's seconds that went into them.
    pub seconds: f64,
    /// Seconds since the oldest message that was taken or still in flight was announced, where its sender said when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_age: Option<u64>,
    /// What is left now of those messages in hand whose own work is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<WorkLeft>,
}

/// Messages in hand whose own work is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkLeft {
    pub messages: u64,
    /// The worker's seconds that are left of all of them.
    pub seconds: f64,
}

/// One lane until the next report.
#[derive(Debug, Default)]
struct Column {
    /// What is in flight, by when it was announced.
    in_flight: BTreeMap<Option<u64>, u32>,
    messages: u64,
    seconds: f64,
    oldest_taken: Option<u64>,
}

impl Column {
    fn count(&self) -> u32 {
        self.in_flight.values().sum()
    }
}

#[derive(Debug)]
struct Columns {
    lanes: PerLane<Column>,
    charged: Instant,
}

/// The account of one worker.
#[derive(Debug)]
pub struct Ledger(Mutex<Columns>);

impl Ledger {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Columns { lanes: PerLane::default(), charged: now }))
    }

    /// A message came into hand.
    pub fn taken(&self, lane: Lane, announced_at: Option<u64>, now: Instant, clock: u64) {
        let mut columns = self.charge(now);
        let column = &mut columns.lanes[lane];
        *column.in_flight.entry(announced_at).or_default() += 1;
        column.oldest_taken = column.oldest_taken.max(age(announced_at, clock));
    }

    /// It is gone, whatever became of it.
    pub fn left(&self, lane: Lane, announced_at: Option<u64>, now: Instant) {
        let mut columns = self.charge(now);
        let column = &mut columns.lanes[lane];
        column.messages += 1;
        if let Some(count) = column.in_flight.get_mut(&announced_at) {
            *count -= 1;
            if *count == 0 {
                column.in_flight.remove(&announced_at);
            }
        }
    }

    /// What happened since the last report, for each lane.
    pub fn report(&self, now: Instant, clock: u64) -> PerLane<LaneWork> {
        let mut columns = self.charge(now);
        columns.lanes.each_mut().map(|column| {
            let held = column.in_flight.keys().filter_map(|at| age(*at, clock)).max();
            LaneWork {
                messages: std::mem::take(&mut column.messages),
                seconds: std::mem::take(&mut column.seconds),
                oldest_age: column.oldest_taken.take().max(held),
                left: None,
            }
        })
    }

    fn charge(&self, now: Instant) -> MutexGuard<'_, Columns> {
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(columns.charged).as_secs_f64();
        columns.charged = now;
        let all: u32 = columns.lanes.iter().map(|(_, column)| column.count()).sum();
        if all > 0 {
            for lane in Lane::ALL {
                let column = &mut columns.lanes[lane];
                column.seconds += passed * f64::from(column.count()) / f64::from(all);
            }
        }
        columns
    }
}

fn age(announced_at: Option<u64>, clock: u64) -> Option<u64> {
    announced_at.map(|at| clock.saturating_sub(at)).filter(|age| *age <= OLDEST_BELIEVED)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    const CLOCK: u64 = 1_800_000_000;

    #[test]
    fn four_at_once_cost_a_quarter_each() {
        let start = Instant::now();
        let ledger = Ledger::new(start);
        for _ in 0..4 {
            ledger.taken(Lane::Ingest, None, start + Duration::from_secs(10), CLOCK);
        }
        for _ in 0..4 {
            ledger.left(Lane::Ingest, None, start + Duration::from_secs(12));
        }
        let PerLane { ingest, bulk, volumes } = ledger.report(start + Duration::from_secs(100), CLOCK);
        assert_eq!(
            ingest,
            LaneWork { messages: 4, seconds: 2.0, ..LaneWork::default() },
            "half a second each"
        );
        assert_eq!([bulk, volumes], [LaneWork::default(); 2]);
        assert_eq!(ledger.report(start + Duration::from_secs(200), CLOCK), PerLane::default(), "told once");
    }

    #[test]
    fn the_oldest_is_the_one_in_flight_or_the_one_that_came_late() {
        let start = Instant::now();
        let ledger = Ledger::new(start);
        ledger.taken(Lane::Volumes, Some(CLOCK - 50), start, CLOCK);
        ledger.taken(Lane::Volumes, Some(CLOCK - 90), start, CLOCK);
        ledger.left(Lane::Volumes, Some(CLOCK - 90), start);
        assert_eq!(ledger.report(start, CLOCK + 30).volumes.oldest_age, Some(90), "at its delivery");
        assert_eq!(ledger.report(start, CLOCK + 60).volumes.oldest_age, Some(110), "it is still in flight");
        for nonsense in [Some(0), Some(u64::MAX), None] {
            ledger.taken(Lane::Bulk, nonsense, start, CLOCK);
        }
        assert_eq!(ledger.report(start, CLOCK).bulk.oldest_age, Some(0), "a clock ahead of ours is now");
    }

    proptest! {
        /// Whatever comes and goes, the lanes share exactly the time in which anything was in flight.
        #[test]
        fn the_seconds_add_up_to_the_busy_time(steps in prop::collection::vec((prop::sample::select(&Lane::ALL), any::<bool>(), 0u64..50), 1..80)) {
            let start = Instant::now();
            let ledger = Ledger::new(start);
            let (mut now, mut held, mut busy, mut left) = (0, PerLane::<u32>::default(), 0, 0);
            for (lane, takes, wait) in steps {
                if held.iter().map(|(_, count)| count).sum::<u32>() > 0 {
                    busy += wait;
                }
                now += wait;
                let at = start + Duration::from_millis(now);
                if takes {
                    held[lane] += 1;
                    ledger.taken(lane, None, at, CLOCK);
                } else if held[lane] > 0 {
                    held[lane] -= 1;
                    left += 1;
                    ledger.left(lane, None, at);
                }
            }
            let report = ledger.report(start + Duration::from_millis(now), CLOCK);
            let seconds: f64 = report.iter().map(|(_, lane)| lane.seconds).sum();
            prop_assert!((seconds - busy as f64 / 1e3).abs() < 1e-6, "{} and {}", seconds, busy);
            prop_assert_eq!(report.iter().map(|(_, lane)| lane.messages).sum::<u64>(), left);
        }
    }
}
