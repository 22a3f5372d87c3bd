//! One machine: what it has in flight, and what it takes next by the worker's own rule.

use std::collections::VecDeque;
use std::time::Duration;

use nightread_domain::{Lane, PerLane};

use super::{MachineType, ScaleSet};
use nightread_domain::lanes::{INGEST_ACTIVE, PermitShares};

/// Where a machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Serving,
    /// Takes nothing more; what is not finished at the deadline goes back.
    Draining {
        evicted: bool,
    },
    Gone,
}

/// A job that has a slot.
#[derive(Clone, Copy, Debug)]
struct Working {
    job: usize,
    since: Duration,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub set: ScaleSet,
    pub ordered: Duration,
    pub state: State,
    slots: usize,
    permits: usize,
    shares: PermitShares,
    in_flight: PerLane<usize>,
    ingest_seen: Option<Duration>,
    waiting: VecDeque<usize>,
    working: Vec<Working>,
}

impl Machine {
    pub fn new(set: ScaleSet, ordered: Duration, kind: &MachineType) -> Self {
        Self {
            set,
            ordered,
            state: State::Starting,
            slots: kind.slots,
            permits: kind.permits,
            shares: PermitShares::new(kind.permits, kind.weights),
            in_flight: PerLane::default(),
            ingest_seen: None,
            waiting: VecDeque::new(),
            working: Vec::new(),
        }
    }

    /// Whether its scale set counts it: it starts or serves.
    pub fn counts_for(&self, set: ScaleSet) -> bool {
        self.set == set && matches!(self.state, State::Starting | State::Serving)
    }

    /// The lane from which it takes a job now, if it takes one.
    pub fn wants(&mut self, now: Duration, ready: PerLane<bool>) -> Option<Lane> {
        if self.state != State::Serving || self.waiting.len() + self.working.len() >= self.permits {
            return None;
        }
        if ready.ingest {
            self.ingest_seen = Some(now);
        }
        let active = self.ingest_seen.is_some_and(|seen| now.saturating_sub(seen) < INGEST_ACTIVE);
        self.shares.next(ready, self.in_flight, active)
    }

    pub fn accept(&mut self, job: usize, lane: Lane) {
        self.in_flight[lane] += 1;
        self.waiting.push_back(job);
    }

    /// Gives the next job in flight a free slot.
    pub fn begin(&mut self, now: Duration) -> Option<usize> {
        if self.working.len() >= self.slots {
            return None;
        }
        let job = self.waiting.pop_front()?;
        self.working.push(Working { job, since: now });
        Some(job)
    }

    /// Takes a finished job off its slot; the time it was worked on. `None` when it went back before.
    pub fn finish(&mut self, now: Duration, job: usize, lane: Lane) -> Option<Duration> {
        let at = self.working.iter().position(|working| working.job == job)?;
        self.in_flight[lane] -= 1;
        Some(now.saturating_sub(self.working.swap_remove(at).since))
    }

    /// Gives everything back: the jobs that were in flight, and the slot time that is lost with them.
    pub fn give_back(&mut self, now: Duration) -> (Vec<usize>, Duration) {
        self.in_flight = PerLane::default();
        let lost = self.working.iter().map(|working| now.saturating_sub(working.since)).sum();
        let jobs = self.working.drain(..).map(|working| working.job).chain(self.waiting.drain(..)).collect();
        (jobs, lost)
    }

    pub fn in_flight(&self) -> PerLane<usize> {
        self.in_flight
    }

    pub fn is_idle(&self) -> bool {
        self.working.is_empty() && self.waiting.is_empty()
    }
}
