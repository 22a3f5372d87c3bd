//! What the session loop, the intake and the settlements share: deliveries that arrived, and what is in flight.

use super::courier::Courier;
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::topology;
use lapin::message::Delivery as Raw;
use nightread_domain::lanes::{INGEST_ACTIVE, PermitShares};
use nightread_domain::{JobError, Lane, PerLane};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether a session with the broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Down,
    /// Without consumers: at its start, or during a pause.
    Up,
    /// With a consumer on every queue.
    Consuming,
}

impl SessionState {
    pub fn is_up(self) -> bool {
        self != Self::Down
    }
}

/// What the session loop, the intake and the settlements share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Something arrived, was settled, or ended.
    pub changed: Notify,
    /// Settlements alive, by lane; of dead sessions too, because their jobs still run.
    in_flight: PerLane<AtomicUsize>,
    /// The session that stands or stood last.
    pub epoch: AtomicU64,
    pub stop: CancellationToken,
    /// The loop has ended and its connection is closed.
    pub done: CancellationToken,
    pub state: watch::Sender<SessionState>,
    /// Why the last session ended, or did not begin, while none stands.
    trouble: Mutex<Option<String>>,
    pub courier: Arc<Courier>,
    pub consumer_timeout: PerLane<Duration>,
}

#[derive(Debug)]
pub struct Queue {
    ready: PerLane<VecDeque<Arrived>>,
    quarantine: VecDeque<Arrived>,
    deliveries: VecDeque<Arrived>,
    shares: PermitShares,
    ingest_seen: Option<Instant>,
    ended: Option<Result<(), JobError>>,
}

/// Where a delivery comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Lane(Lane),
    Quarantine,
    /// Results that are to be sent to archives. They count as ingest's: who takes them takes nothing else.
    Deliveries,
}

impl Origin {
    /// Whatever these options ask for.
    pub fn asked_for(options: &RabbitOptions) -> Vec<Self> {
        if options.deliveries { vec![Self::Deliveries] } else { Self::of(&options.lanes).collect() }
    }

    /// Whatever a worker of these lanes consumes. What may kill workers goes with ingest: a run of a few scans must not
    /// meet it in their place.
    pub fn of(lanes: &[Lane]) -> impl Iterator<Item = Self> {
        let takes = |lane: Lane| lanes.is_empty() || lanes.contains(&lane);
        let quarantine = takes(Lane::Ingest).then_some(Self::Quarantine);
        Lane::ALL.into_iter().filter(move |lane| takes(*lane)).map(Self::Lane).chain(quarantine)
    }

    pub fn queue(self) -> String {
        match self {
            Self::Lane(lane) => topology::lane_queue(lane),
            Self::Quarantine => topology::QUARANTINE_QUEUE.to_owned(),
            Self::Deliveries => topology::DELIVERIES.to_owned(),
        }
    }
}

type Arrived = (Raw, Instant);

/// A delivery that counts among those in flight of its lane.
#[derive(Debug)]
pub(super) struct Taken {
    pub lane: Lane,
    pub origin: Origin,
    pub raw: Raw,
    pub epoch: u64,
    /// The broker's patience with it began then.
    pub arrived: Instant,
}

impl Shared {
    pub fn new(options: &RabbitOptions, courier: Arc<Courier>) -> Self {
        Self {
            queue: Mutex::new(Queue {
                ready: PerLane::default(),
                quarantine: VecDeque::new(),
                deliveries: VecDeque::new(),
                shares: options.shares(),
                ingest_seen: None,
                ended: None,
            }),
            changed: Notify::new(),
            in_flight: PerLane::default(),
            epoch: AtomicU64::new(0),
            stop: CancellationToken::new(),
            done: CancellationToken::new(),
            state: watch::Sender::new(SessionState::Down),
            trouble: Mutex::new(None),
            courier,
            consumer_timeout: options.consumer_timeout,
        }
    }

    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn has_trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next delivery, and while the valve is closed; `None` when there will be no more. Cancel-safe:
    /// nothing is taken before it is returned.
    pub async fn take(&self) -> Result<Option<Taken>, JobError> {
        loop {
            let changed = self.changed.notified();
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            if let Some(taken) = self.try_take() {
                return Ok(Some(taken));
            }
            if let Some(how) = self.how_it_ended() {
                return how.map(|()| None);
            }
            changed.await;
        }
    }

    pub fn how_it_ended(&self) -> Option<Result<(), JobError>> {
        let mut queue = self.queue();
        let how = queue.ended.take()?;
        // Who asks again is told again.
        queue.ended = Some(Ok(()));
        Some(how)
    }

    pub fn try_take(&self) -> Option<Taken> {
        if !self.courier.valve().is_open() {
            return None;
        }
        let mut queue = self.queue();
        let in_flight = PerLane::from_fn(|lane| self.in_flight[lane].load(Ordering::Acquire));
        let ready = PerLane::from_fn(|lane| !queue.ready[lane].is_empty());
        let active = queue.ingest_seen.is_some_and(|seen| seen.elapsed() < INGEST_ACTIVE);
        let (lane, origin, arrived) = if let Some(arrived) = queue.quarantine.pop_front() {
            // First of all: every delivery of a quarantined message is to be a start, because starts are what is counted.
            (lane_of_quarantined(&arrived.0), Origin::Quarantine, arrived)
        } else if let Some(arrived) = queue.deliveries.pop_front() {
            (Lane::Ingest, Origin::Deliveries, arrived)
        } else {
            let lane = queue.shares.next(ready, in_flight, active)?;
            (lane, Origin::Lane(lane), queue.ready[lane].pop_front()?)
        };
        Some(self.taken(lane, origin, arrived))
    }

    pub fn taken(&self, lane: Lane, origin: Origin, (raw, arrived): Arrived) -> Taken {
        self.in_flight[lane].fetch_add(1, Ordering::AcqRel);
        Taken { lane, origin, raw, epoch: self.epoch.load(Ordering::Acquire), arrived }
    }

    /// A settlement is gone: its permit is free.
    pub fn released(&self, lane: Lane) {
        self.in_flight[lane].fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    pub fn wake(&self) {
        self.changed.notify_one();
    }

    pub fn is_current(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch && self.state.borrow().is_up()
    }

    /// Waits until the session of this epoch is over.
    pub async fn lost(&self, epoch: u64) {
        let mut states = self.state.subscribe();
        let over = states.wait_for(|state| !state.is_up() || self.epoch.load(Ordering::Acquire) != epoch);
        // The sender is ours, so this ends with the session alone.
        let _ = over.await;
    }

    pub fn arrived(&self, source: Origin, raw: Raw) {
        let raw = (raw, Instant::now());
        let mut queue = self.queue();
        if source == Origin::Lane(Lane::Ingest) {
            queue.ingest_seen = Some(Instant::now());
        }
        match source {
            Origin::Lane(lane) => queue.ready[lane].push_back(raw),
            Origin::Quarantine => queue.quarantine.push_back(raw),
            Origin::Deliveries => queue.deliveries.push_back(raw),
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Takes back what was not handed out yet; it counts as in flight until it is settled.
    pub fn unclaimed(&self) -> Vec<Taken> {
        let mut queue = self.queue();
        let quarantine = std::mem::take(&mut queue.quarantine).into_iter();
        let quarantine =
            quarantine.map(|arrived| (lane_of_quarantined(&arrived.0), Origin::Quarantine, arrived));
        let deliveries = std::mem::take(&mut queue.deliveries).into_iter();
        let deliveries = deliveries.map(|arrived| (Lane::Ingest, Origin::Deliveries, arrived));
        let lanes = Lane::ALL.into_iter().flat_map(|lane| {
            let waiting = std::mem::take(&mut queue.ready[lane]);
            waiting.into_iter().map(move |arrived| (lane, Origin::Lane(lane), arrived)).collect::<Vec<_>>()
        });
        let all: Vec<_> = lanes.chain(quarantine).chain(deliveries).collect();
        drop(queue);
        all.into_iter().map(|(lane, origin, arrived)| self.taken(lane, origin, arrived)).collect()
    }

    /// Forgets it: its tags died with their channels, and the broker has the messages again.
    pub fn forget_unclaimed(&self) {
        for taken in self.unclaimed() {
            self.released(taken.lane);
        }
    }

    pub fn ended(&self, how: Result<(), JobError>) {
        self.queue().ended = Some(how);
        self.changed.notify_one();
    }

    pub fn idle(&self) -> bool {
        self.in_flight.iter().all(|(_, count)| count.load(Ordering::Acquire) == 0)
    }
}

fn lane_of_quarantined(raw: &Raw) -> Lane {
    topology::lane_of_key(raw.routing_key.as_str()).unwrap_or(Lane::Ingest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_lanes_is_taken_and_the_quarantine_goes_with_ingest() {
        let of = |lanes: &[Lane]| Origin::of(lanes).map(Origin::queue).collect::<Vec<_>>();
        assert_eq!(of(&[]), of(&Lane::ALL));
        assert_eq!(of(&[]).len(), 4);
        assert_eq!(of(&[Lane::Volumes]), [topology::lane_queue(Lane::Volumes)]);
        let images = of(&[Lane::Bulk, Lane::Ingest]);
        assert_eq!(images.len(), 3);
        assert!(images.contains(&topology::QUARANTINE_QUEUE.to_owned()));
    }
}
