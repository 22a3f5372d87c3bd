//! The session loop: one connection, a consumer for each lane and one for the suspects, and a merge of what they bring.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{SelectAll, select_all};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer, message::Delivery as Raw};
use nightread_domain::{ErrorCode, JobError, Lane};
use rand::RngExt;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::connect::{classified, connect, forgiving, unavailable};
use super::lanes::{INGEST_ACTIVE, Lanes};
use super::{RabbitOptions, SessionState, topology};

const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// How long cancelled consumers may take to end.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

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
}

#[derive(Debug)]
struct Queue {
    ready: [VecDeque<Raw>; 3],
    suspects: VecDeque<Raw>,
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

/// What the intake hands out next.
#[derive(Debug)]
pub(super) enum Taken {
    Delivery { lane: Lane, suspect: bool, raw: Box<Raw>, epoch: u64 },
    Ended(Result<(), JobError>),
}

impl Shared {
    pub fn new(options: &RabbitOptions) -> Self {
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
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next delivery. Cancel-safe: nothing is taken before it is returned.
    pub async fn take(&self) -> Taken {
        loop {
            let changed = self.changed.notified();
            if let Some(taken) = self.try_take() {
                return taken;
            }
            changed.await;
        }
    }

    fn try_take(&self) -> Option<Taken> {
        let mut queue = self.queue();
        if self.stop.is_cancelled() {
            return Some(Taken::Ended(Ok(())));
        }
        let in_hand = [0, 1, 2].map(|lane: usize| self.in_hand[lane].load(Ordering::Acquire));
        let ready = [0, 1, 2].map(|lane: usize| !queue.ready[lane].is_empty());
        let active = queue.ingest_seen.is_some_and(|seen| seen.elapsed() < INGEST_ACTIVE);
        let taken = if let Some(raw) = queue.suspects.pop_front() {
            // First of all: every delivery of a suspect is to be a start, because starts are what is counted.
            Some((topology::lane_of_key(raw.routing_key.as_str()).unwrap_or(Lane::Ingest), true, raw))
        } else {
            let lane = queue.lanes.next(ready, in_hand, active);
            lane.and_then(|lane| Some((lane, false, queue.ready[lane as usize].pop_front()?)))
        };
        if let Some((lane, suspect, raw)) = taken {
            self.in_hand[lane as usize].fetch_add(1, Ordering::AcqRel);
            let epoch = self.epoch.load(Ordering::Acquire);
            return Some(Taken::Delivery { lane, suspect, raw: Box::new(raw), epoch });
        }
        queue.ended.take().map(|ended| {
            // Who asks again is told again.
            queue.ended = Some(Ok(()));
            Taken::Ended(ended)
        })
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
        self.epoch.load(Ordering::Acquire) == epoch && *self.state.borrow() == SessionState::Up
    }

    fn arrived(&self, source: Source, raw: Raw) {
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

    /// Takes back what was not handed out yet.
    fn unclaimed(&self) -> Vec<Raw> {
        let mut queue = self.queue();
        let suspects = std::mem::take(&mut queue.suspects);
        queue.ready.iter_mut().flat_map(std::mem::take).chain(suspects).collect()
    }

    fn ended(&self, how: Result<(), JobError>) {
        self.queue().ended = Some(how);
        self.changed.notify_one();
    }

    fn idle(&self) -> bool {
        self.in_hand.iter().all(|count| count.load(Ordering::Acquire) == 0)
    }
}

/// Runs sessions until the shared token stops it, or the broker refuses the very first.
pub(super) async fn run(options: RabbitOptions, shared: Arc<Shared>) {
    let _done = shared.done.clone().drop_guard();
    let mut backoff = FIRST_BACKOFF;
    let mut stood = false;
    loop {
        let result = session(&options, &shared, &mut stood).await;
        shared.state.send_replace(SessionState::Down);
        // Their tags died with their channel, and the broker has the messages again.
        drop(shared.unclaimed());
        let error = match result {
            Ok(()) => return shared.ended(Ok(())),
            Err(error) if error.code == ErrorCode::BrokerRejected && !stood => {
                return shared.ended(Err(error));
            }
            Err(error) => forgiving(error),
        };
        if shared.stop.is_cancelled() {
            return shared.ended(Ok(()));
        }
        let wait = rand::rng().random_range(backoff / 2..=backoff);
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "no session with the broker; trying again");
        tokio::select! {
            () = shared.stop.cancelled() => return shared.ended(Ok(())),
            () = tokio::time::sleep(wait) => {}
        }
        backoff = (backoff * 2).min(options.longest_backoff);
        if stood {
            // It stood for a while since the last failure: begin gently again.
            backoff = backoff.min(Duration::from_secs(2));
        }
    }
}

/// One session. `Ok` when it was stopped and everything in hand is settled.
async fn session(options: &RabbitOptions, shared: &Shared, stood: &mut bool) -> Result<(), JobError> {
    let opened = tokio::select! {
        () = shared.stop.cancelled() => return Ok(()),
        opened = open(options) => opened?,
    };
    let (connection, consumers) = opened;
    let channels: Vec<_> =
        consumers.iter().map(|(_, channel, consumer)| (channel.clone(), consumer.tag())).collect();
    let mut deliveries: SelectAll<_> =
        select_all(consumers.into_iter().map(|(source, _, consumer)| consumer.map(move |raw| (source, raw))));
    shared.epoch.fetch_add(1, Ordering::AcqRel);
    shared.state.send_replace(SessionState::Up);
    *stood = true;
    tracing::info!("consuming from the broker");
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => break,
            next = deliveries.next() => match next {
                Some((source, Ok(raw))) => shared.arrived(source, raw),
                Some((source, Err(error))) => {
                    return Err(classified(&format!("the consumer of {} failed", source.queue()), error));
                }
                None => return Err(unavailable("the consumers were cancelled")),
            },
        }
        // A consumer that the broker cancels (its queue was deleted or moved) ends without an error.
        if deliveries.len() < Source::all().count() {
            return Err(unavailable("the broker cancelled a consumer"));
        }
    }
    // By reference: a channel closes when its last handle is dropped, and settlements need it until the end.
    for (channel, tag) in &channels {
        let _ = channel.basic_cancel(tag.clone(), BasicCancelOptions::default()).await;
    }
    // What was on its way when the consumers were cancelled still comes out of their streams, which then end.
    let last = async {
        while let Some((source, Ok(raw))) = deliveries.next().await {
            shared.arrived(source, raw);
        }
    };
    let _ = tokio::time::timeout(CANCEL_PATIENCE, last).await;
    for raw in shared.unclaimed() {
        let _ = raw.nack(BasicNackOptions { requeue: true, ..Default::default() }).await;
    }
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

async fn open(options: &RabbitOptions) -> Result<(Connection, Vec<(Source, Channel, Consumer)>), JobError> {
    let connection = connect(options, "consume").await?;
    let lanes = Lanes::new(options.permits, options.weights);
    let mut consumers = Vec::new();
    for source in Source::all() {
        let prefetch = match source {
            Source::Lane(lane) => lanes.prefetch(lane),
            Source::Suspects => 1,
        };
        let (channel, consumer) = consume(&connection, source, prefetch).await?;
        consumers.push((source, channel, consumer));
    }
    Ok((connection, consumers))
}

async fn consume(
    connection: &Connection,
    source: Source,
    prefetch: u16,
) -> Result<(Channel, Consumer), JobError> {
    let queue = source.queue();
    let refused = |error| classified(&format!("cannot consume from {queue}"), error);
    let channel = connection.create_channel().await.map_err(refused)?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(refused)?;
    let consumer = channel
        .basic_consume(
            queue.as_str().into(),
            queue.as_str().into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(refused)?;
    Ok((channel, consumer))
}
