//! The session loop: one connection, a consumer for each lane and one for the suspects, and a merge of what they bring.
//!
//! While the valve is closed the session stands without consumers: what is in hand is settled over it, what was not begun
//! is given back. In this order: consumers cancelled, the ends of their streams awaited, then given back; under a
//! live consumer what goes back comes again at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, message::Delivery as Raw};
use nightread_domain::{Delivery, Disposition, ErrorCode, JobError, Lane, Message};
use rand::RngExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connect::{classified, connect, forgiving, in_time, unavailable};
use super::courier::Courier;
use super::lanes::{INGEST_ACTIVE, Lanes};
use super::settlement::RabbitSettlement;
use super::{RabbitOptions, SessionState, properties, topology};

/// How long cancelled consumers may take to end.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// How long it takes at most to see that a session without consumers is broken.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the session loop, the intake and the settlements share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Something arrived, was settled, or ended.
    changed: Notify,
    /// Settlements alive, by lane; of dead sessions too, because their jobs still run.
    in_hand: [AtomicUsize; 3],
    /// The session that stands or stood last.
    epoch: AtomicU64,
    pub stop: CancellationToken,
    /// The loop has ended and its connection is closed.
    pub done: CancellationToken,
    pub state: watch::Sender<SessionState>,
    /// Why the last session ended, or did not begin, while none stands.
    trouble: Mutex<Option<String>>,
    pub courier: Arc<Courier>,
    pub consumer_timeout: Duration,
}

#[derive(Debug)]
struct Queue {
    ready: [VecDeque<Arrived>; 3],
    suspects: VecDeque<Arrived>,
    lanes: Lanes,
    ingest_seen: Option<Instant>,
    ended: Option<Result<(), JobError>>,
}

/// Where a delivery comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Lane(Lane),
    Suspects,
}

impl Source {
    fn all() -> impl Iterator<Item = Self> {
        Lane::ALL.into_iter().map(Self::Lane).chain([Self::Suspects])
    }

    fn queue(self) -> String {
        match self {
            Self::Lane(lane) => topology::lane_queue(lane),
            Self::Suspects => topology::SUSPECT_QUEUE.to_owned(),
        }
    }
}

type Arrived = (Raw, Instant);

/// A delivery that counts among those in hand of its lane.
#[derive(Debug)]
pub(super) struct Taken {
    pub lane: Lane,
    pub suspect: bool,
    pub raw: Raw,
    pub epoch: u64,
    /// The broker's patience with it began then.
    pub arrived: Instant,
}

impl Taken {
    /// As the pipeline sees it.
    pub fn into_delivery(mut self, shared: &Arc<Shared>) -> Delivery {
        let body = Bytes::from(std::mem::take(&mut self.raw.data));
        let attributes = properties::attributes(self.lane, self.suspect, &self.raw.properties);
        let message = Message { body, attributes };
        let settlement = RabbitSettlement::new(self, &message, Arc::clone(shared));
        Delivery { message, settlement: Box::new(settlement) }
    }
}

impl Shared {
    pub fn new(options: &RabbitOptions, courier: Arc<Courier>) -> Self {
        Self {
            queue: Mutex::new(Queue {
                ready: Default::default(),
                suspects: VecDeque::new(),
                lanes: Lanes::new(options.permits, options.weights),
                ingest_seen: None,
                ended: None,
            }),
            changed: Notify::new(),
            in_hand: Default::default(),
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

    fn has_trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
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

    fn how_it_ended(&self) -> Option<Result<(), JobError>> {
        let mut queue = self.queue();
        let how = queue.ended.take()?;
        // Who asks again is told again.
        queue.ended = Some(Ok(()));
        Some(how)
    }

    fn try_take(&self) -> Option<Taken> {
        if !self.courier.valve().is_open() {
            return None;
        }
        let mut queue = self.queue();
        let in_hand = [0, 1, 2].map(|lane: usize| self.in_hand[lane].load(Ordering::Acquire));
        let ready = [0, 1, 2].map(|lane: usize| !queue.ready[lane].is_empty());
        let active = queue.ingest_seen.is_some_and(|seen| seen.elapsed() < INGEST_ACTIVE);
        let (lane, suspect, arrived) = if let Some(arrived) = queue.suspects.pop_front() {
            // First of all: every delivery of a suspect is to be a start, because starts are what is counted.
            (lane_of_suspect(&arrived.0), true, arrived)
        } else {
            let lane = queue.lanes.next(ready, in_hand, active)?;
            (lane, false, queue.ready[lane as usize].pop_front()?)
        };
        Some(self.taken(lane, suspect, arrived))
    }

    fn taken(&self, lane: Lane, suspect: bool, (raw, arrived): Arrived) -> Taken {
        self.in_hand[lane as usize].fetch_add(1, Ordering::AcqRel);
        Taken { lane, suspect, raw, epoch: self.epoch.load(Ordering::Acquire), arrived }
    }

    /// A settlement is gone: its permit is free.
    pub fn released(&self, lane: Lane) {
        self.in_hand[lane as usize].fetch_sub(1, Ordering::AcqRel);
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
        let over = |state: &SessionState| !state.is_up() || self.epoch.load(Ordering::Acquire) != epoch;
        // The sender is ours, so this ends with the session alone.
        let _ = self.state.subscribe().wait_for(over).await;
    }

    fn arrived(&self, source: Source, raw: Raw) {
        let raw = (raw, Instant::now());
        let mut queue = self.queue();
        if source == Source::Lane(Lane::Ingest) {
            queue.ingest_seen = Some(Instant::now());
        }
        match source {
            Source::Lane(lane) => queue.ready[lane as usize].push_back(raw),
            Source::Suspects => queue.suspects.push_back(raw),
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Takes back what was not handed out yet; it counts as in hand until it is settled.
    fn unclaimed(&self) -> Vec<Taken> {
        let mut queue = self.queue();
        let suspects = std::mem::take(&mut queue.suspects).into_iter();
        let suspects = suspects.map(|arrived| (lane_of_suspect(&arrived.0), true, arrived));
        let lanes = Lane::ALL.into_iter().flat_map(|lane| {
            let waiting = std::mem::take(&mut queue.ready[lane as usize]);
            waiting.into_iter().map(move |arrived| (lane, false, arrived)).collect::<Vec<_>>()
        });
        let all: Vec<_> = lanes.chain(suspects).collect();
        drop(queue);
        all.into_iter().map(|(lane, suspect, arrived)| self.taken(lane, suspect, arrived)).collect()
    }

    /// Forgets it: its tags died with their channels, and the broker has the messages again.
    fn forget_unclaimed(&self) {
        for taken in self.unclaimed() {
            self.released(taken.lane);
        }
    }

    /// Returns what was not begun, so that nothing is suspected for it. What must be published for that waits until it can.
    fn give_back_unclaimed(self: &Arc<Self>) {
        // The last first: what goes back goes to the front of its queue.
        for taken in self.unclaimed().into_iter().rev() {
            let settlement = taken.into_delivery(self).settlement;
            tokio::spawn(async move {
                if let Err(error) = settlement.settle(Disposition::Return).await {
                    tracing::debug!(%error, "a delivery that was not begun was not given back");
                }
            });
        }
    }

    fn ended(&self, how: Result<(), JobError>) {
        self.queue().ended = Some(how);
        self.changed.notify_one();
    }

    fn idle(&self) -> bool {
        self.in_hand.iter().all(|count| count.load(Ordering::Acquire) == 0)
    }
}

fn lane_of_suspect(raw: &Raw) -> Lane {
    topology::lane_of_key(raw.routing_key.as_str()).unwrap_or(Lane::Ingest)
}

/// Runs sessions until the shared token stops it, or the broker refuses the very first.
pub(super) async fn run(options: RabbitOptions, shared: Arc<Shared>) {
    let _done = shared.done.clone().drop_guard();
    let mut backoff = Backoff::new(options.longest_backoff);
    let mut stood = false;
    loop {
        let mut since = None;
        let result = session(&options, &shared, &mut since).await;
        shared.state.send_replace(SessionState::Down);
        shared.forget_unclaimed();
        stood |= since.is_some();
        let error = match result {
            Ok(()) => return shared.ended(Ok(())),
            Err(error) if error.code == ErrorCode::BrokerRejected && !stood => {
                return shared.ended(Err(error));
            }
            Err(error) => forgiving(error),
        };
        shared.has_trouble(Some(error.in_full()));
        if shared.stop.is_cancelled() {
            return shared.ended(Ok(()));
        }
        let most = backoff.after(since.map(|since: Instant| since.elapsed()));
        let wait = rand::rng().random_range(most / 2..=most);
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "no session with the broker; trying again");
        tokio::select! {
            () = shared.stop.cancelled() => return shared.ended(Ok(())),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One session; `since` is set when it first consumes. `Ok` when it was stopped and everything in hand is settled.
async fn session(
    options: &RabbitOptions,
    shared: &Arc<Shared>,
    since: &mut Option<Instant>,
) -> Result<(), JobError> {
    let opened = tokio::select! {
        () = shared.stop.cancelled() => return Ok(()),
        opened = open(options) => opened?,
    };
    let (connection, channels) = opened;
    shared.epoch.fetch_add(1, Ordering::AcqRel);
    shared.state.send_replace(SessionState::Up);
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            () = shared.courier.valve().opened() => {}
            () = ended(&connection, &channels) => return Err(unavailable("the broker went away during a pause")),
        }
        let mut consumers = in_time("consumers", consume(&channels)).await?;
        since.get_or_insert_with(Instant::now);
        shared.has_trouble(None);
        shared.state.send_replace(SessionState::Consuming);
        tracing::info!("consuming from the broker");
        if let Some(error) = take_in(&mut consumers, shared).await {
            return Err(error);
        }
        shared.state.send_replace(SessionState::Up);
        cancel(&channels, &mut consumers, shared).await?;
        shared.give_back_unclaimed();
    }
    shared.courier.hurry();
    shared.ended(Ok(()));
    while !shared.idle() {
        let changed = shared.changed.notified();
        if shared.idle() {
            break;
        }
        tokio::select! {
            () = changed => {}
            // A settlement may have been noted between two looks.
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        if !connection.status().connected() {
            return Err(unavailable("the broker went away during the drain"));
        }
    }
    // Saying goodbye makes the broker read every acknowledgement before it.
    let _ = tokio::time::timeout(Duration::from_secs(5), connection.close(200, "drained".into())).await;
    Ok(())
}

/// Takes in what consumers bring, until the worker stops or the valve closes; an error when a consumer fails.
async fn take_in(consumers: &mut Consumers, shared: &Shared) -> Option<JobError> {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return None,
            () = shared.courier.valve().closed() => return None,
            next = consumers.next() => match next {
                Some((source, Some(Ok(raw)))) => shared.arrived(source, raw),
                Some((source, Some(Err(error)))) => {
                    return Some(classified(&format!("the consumer of {} failed", source.queue()), error));
                }
                // Its queue was deleted or moved: a lane that nobody serves is not to look like an empty one.
                Some((source, None)) => {
                    return Some(unavailable(format!("the broker cancelled the consumer of {}", source.queue())));
                }
                None => return Some(unavailable("the consumers were cancelled")),
            },
        }
    }
}

/// Cancels every consumer and takes in what was on its way: it still comes out of the streams, which then end.
async fn cancel(channels: &Channels, consumers: &mut Consumers, shared: &Shared) -> Result<(), JobError> {
    let cancelled = async {
        // By reference: a channel closes when its last handle is dropped, and settlements need it until the end.
        for (source, channel) in channels {
            let tag = source.queue();
            let cancelled = channel.basic_cancel(tag.as_str().into(), BasicCancelOptions::default()).await;
            cancelled.map_err(|error| unavailable("a consumer was not cancelled").with_source(error))?;
        }
        while let Some((source, next)) = consumers.next().await {
            let failed = |error| unavailable("a consumer failed while it was cancelled").with_source(error);
            if let Some(next) = next {
                shared.arrived(source, next.map_err(failed)?);
            }
        }
        Ok(())
    };
    match tokio::time::timeout(CANCEL_PATIENCE, cancelled).await {
        Ok(cancelled) => cancelled,
        Err(_) => Err(unavailable("the consumers were not cancelled in time")),
    }
}

/// Ends when connection or channels do. Without consumers nothing else tells.
async fn ended(connection: &Connection, channels: &Channels) {
    while connection.status().connected() && channels.iter().all(|(_, channel)| channel.status().connected())
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

type Channels = Vec<(Source, Channel)>;
/// Each stream says when it ends: among others that would not be noticed.
type Consumers = SelectAll<BoxStream<'static, (Source, Option<lapin::Result<Raw>>)>>;

async fn open(options: &RabbitOptions) -> Result<(Connection, Channels), JobError> {
    let connection = connect(options, "consume").await?;
    let channels = in_time("channels", channels(&connection, options)).await?;
    Ok((connection, channels))
}

async fn channels(connection: &Connection, options: &RabbitOptions) -> Result<Channels, JobError> {
    let lanes = Lanes::new(options.permits, options.weights);
    let mut channels = Vec::new();
    for source in Source::all() {
        let prefetch = match source {
            Source::Lane(lane) => lanes.prefetch(lane),
            Source::Suspects => 1,
        };
        let refused = |error| classified("the broker opens no channel", error);
        let channel = connection.create_channel().await.map_err(refused)?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(refused)?;
        channels.push((source, channel));
    }
    Ok(channels)
}

async fn consume(channels: &Channels) -> Result<Consumers, JobError> {
    let mut consumers = SelectAll::new();
    for (source, channel) in channels {
        let (source, queue) = (*source, source.queue());
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(queue.as_str().into(), queue.as_str().into(), options, FieldTable::default())
            .await
            .map_err(|error| classified(&format!("cannot consume from {queue}"), error))?;
        let brought = consumer.map(move |raw| (source, Some(raw)));
        consumers.push(brought.chain(futures::stream::iter([(source, None)])).boxed());
    }
    Ok(consumers)
}
