//! An Azure Storage queue of events: taken, handed on, and only then deleted. Whoever serves one says what becomes of an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nightread_domain::{ErrorClass, JobError, Message};
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::envelope::opened;
use super::vitals::RelayVitals;
use crate::adapters::amqp::Publisher;
use crate::adapters::azure::queue::{MAX_RECEIVED, Received, StorageQueue};
use crate::app::{self, stop_on_signals};
use crate::services::health::HealthServer;
use crate::services::writing::Writing;
use crate::settings::{RelaySettings, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// Pauses between two looks at an empty queue, and while broker, queue or storage are away, grow from the first up to these.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_IDLE: Duration = Duration::from_secs(2);
const LONGEST_OUTAGE: Duration = Duration::from_secs(15);

/// Between two looks at the queue's depth.
const DEPTH_EVERY: Duration = Duration::from_secs(15);

/// Runs a service of a queue on `runtime`, which ends with it: its metrics, its health unless it runs `once`, and the signals
/// that end it.
///
/// # Errors
/// Whatever kept it from beginning; those of `work`.
pub(in crate::services) fn serve<T>(
    settings: &Settings,
    teller: Teller,
    once: bool,
    runtime: Runtime,
    work: impl AsyncFnOnce(Arc<RelayVitals>, CancellationToken) -> Result<T>,
) -> Result<T> {
    let prometheus = metrics::install(teller).context("the metrics recorder does not start")?;
    let vitals = Arc::new(RelayVitals::new(prometheus));
    let _health = if once {
        None
    } else {
        let writing = Writing::of(settings, teller)?;
        let server = HealthServer::start(settings.listen, Arc::<RelayVitals>::clone(&vitals), writing);
        Some(server.with_context(|| format!("cannot listen on {} ([http] listen)", settings.listen))?)
    };
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals([stop.clone()])?;
        work(vitals, stop).await
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Err(error) = &ended {
        tracing::error!(%error, "stopped");
    }
    ended
}

/// The queue of events, and the broker that they are for.
pub(in crate::services) struct EventQueue {
    queue: StorageQueue,
    poison: StorageQueue,
    pub publisher: Arc<Publisher>,
    pub vitals: Arc<RelayVitals>,
    hidden: Duration,
    most_takes: u64,
}

impl EventQueue {
    /// # Errors
    /// Settings that make no queue or no broker.
    pub fn new(access: &RelaySettings, settings: &Settings, vitals: Arc<RelayVitals>) -> Result<Self> {
        let broker = settings.broker.as_ref().context("a broker was required above")?;
        let (account, name) = app::queue_account(access, settings)?;
        let (queue, poison) = StorageQueue::with_poison(account, name.as_deref())?;
        let publisher = Arc::new(Publisher::new(app::rabbit(broker, &settings.limits)?));
        vitals.publishes_by(Arc::clone(&publisher));
        let RelaySettings { hidden, most_takes, .. } = *access;
        Ok(Self { queue, poison, publisher, vitals, hidden, most_takes })
    }

    /// Hands what is taken to `take` until it is told to stop, or (`once`) until the queue is empty. A queue, broker or
    /// storage that is away is waited for. `take` tells whether anything went through; `done` is what then became of an event,
    /// for the log.
    ///
    /// # Errors
    /// A queue or broker that never let it in.
    pub async fn run(
        &self,
        done: &str,
        once: bool,
        stop: &CancellationToken,
        mut take: impl AsyncFnMut(Vec<Received>) -> bool,
    ) -> Result<(), JobError> {
        let (mut idle, mut outage) = (FIRST_PAUSE, FIRST_PAUSE);
        // One at a time until one goes through: every take counts against a message.
        let mut doubtful = false;
        // Refused at first it is a setting; refused later, keys were renewed or a role has gone: it may come back.
        let mut taken_before = false;
        let mut next_depth = Instant::now();
        while !stop.is_cancelled() {
            if Instant::now() >= next_depth {
                self.look_at_depth().await;
                next_depth = Instant::now() + DEPTH_EVERY;
            }
            let messages = match self.receive(doubtful).await {
                Ok(messages) => messages,
                Err(error) if error.class == ErrorClass::Fatal && !taken_before => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, wait_ms = outage.as_millis() as u64, "nothing can be {done}; trying again");
                    pause(outage, stop).await;
                    outage = (outage * 2).min(LONGEST_OUTAGE);
                    continue;
                }
            };
            taken_before = true;
            if messages.is_empty() {
                if once {
                    break;
                }
                pause(idle, stop).await;
                idle = (idle * 2).min(LONGEST_IDLE);
                continue;
            }
            idle = FIRST_PAUSE;
            doubtful = !take(messages).await;
            if doubtful {
                pause(outage, stop).await;
                outage = (outage * 2).min(LONGEST_OUTAGE);
            } else {
                outage = FIRST_PAUSE;
            }
        }
        Ok(())
    }

    /// Takes nothing while the broker is away: each take counts, and messages that are taken too often are poison.
    async fn receive(&self, doubtful: bool) -> Result<Vec<Received>, JobError> {
        let broker = self.publisher.is_reachable().await;
        if self.vitals.broker(broker.is_ok()) {
            metrics::broker_session(broker.is_ok());
        }
        broker?;
        let most = if doubtful { 1 } else { MAX_RECEIVED };
        let received = self.queue.receive(most, self.hidden).await;
        self.vitals.queue(received.is_ok());
        received
    }

    /// Until when what is taken now may be worked on. While it is hidden it is ours; some of that time is for the deletion.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.hidden * 3 / 4
    }

    /// The announcement in a message, or why it is poison.
    pub fn open(&self, received: &Received) -> Result<Message, &'static str> {
        if received.taken > self.most_takes {
            return Err("it was taken too often");
        }
        let mut message = opened(&received.text).ok_or("it is not JSON, plain or in base64")?;
        // It waits since then, wherever it lay.
        let inserted = received.inserted.map(OffsetDateTime::unix_timestamp);
        message.attributes.announced_at = inserted.and_then(|at| u64::try_from(at).ok());
        Ok(message)
    }

    /// Puts a message into the poison queue, and tells as [`Self::delete`]. `None`: it cannot be put there, and comes again.
    pub async fn put_aside(&self, received: &Received, why: &str) -> Option<bool> {
        match self.poison.put(&received.text).await {
            Ok(()) => {
                tracing::error!(why, taken = received.taken, "a message is put aside as poison");
                Some(self.delete(received).await)
            }
            Err(error) => {
                tracing::error!(%error, why, "a poison message cannot be put aside; is there a queue for it?");
                None
            }
        }
    }

    /// Whether it was ours to the end. A deletion that fails makes a repeat, no loss.
    pub async fn delete(&self, received: &Received) -> bool {
        for wait in [100, 400, 1_600] {
            match self.queue.delete(received).await {
                Ok(deleted) => return deleted,
                Err(error) => {
                    tracing::warn!(%error, "a message that is done with is not deleted yet");
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        false
    }

    async fn look_at_depth(&self) {
        match tokio::join!(self.queue.depth(), self.poison.depth()) {
            // Without rights on the poison queue its depth stays untold.
            (Ok(depth), poison) => metrics::storage_queue(depth, poison.ok()),
            (Err(error), _) => tracing::debug!(%error, "the queue's depth is not told"),
        }
    }
}

async fn pause(wait: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}
