//! `nightread relay`: from an Azure Storage queue to RabbitMQ. Taken, published, confirmed, and only then deleted.

pub(in crate::services) mod envelope;
pub(in crate::services) mod vitals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nightread_domain::{ErrorClass, JobError};
use serde_json::json;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::envelope::opened;
use self::vitals::RelayVitals;
use crate::adapters::amqp::Publisher;
use crate::adapters::azure::queue::{MAX_RECEIVED, Received, StorageQueue};
use crate::app;
use crate::app::{require_broker, stop_on_signals};
use crate::services::health::HealthServer;
use crate::settings::{Problems, RelaySettings, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// Pauses between two looks at an empty queue grow up to this.
const LONGEST_IDLE: Duration = Duration::from_secs(2);
const FIRST_IDLE: Duration = Duration::from_millis(250);

/// Pauses while broker or queue are away grow up to this.
const LONGEST_OUTAGE: Duration = Duration::from_secs(15);

/// Between two looks at the queue's depth.
const DEPTH_EVERY: Duration = Duration::from_secs(15);

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EnvelopeOutcome {
    Relayed,
    /// Published, and meanwhile no longer ours: somebody publishes it again.
    Late,
    Poisoned,
    /// It comes again.
    Left,
}

/// The account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    relayed: u64,
    late: u64,
    poisoned: u64,
    left: u64,
}

/// Relays until it is told to stop, or (`once`) until the queue is empty; `runtime` ends with it.
///
/// # Errors
/// Whatever kept it from beginning; a queue or broker that never let it in.
pub(crate) fn run(settings: &Settings, once: bool, runtime: Runtime) -> Result<Account> {
    let prometheus = metrics::install(Teller::Relay).context("the metrics recorder does not start")?;
    let vitals = Arc::new(RelayVitals::new(prometheus));
    let _health = if once {
        None
    } else {
        let server = HealthServer::start(settings.listen, Arc::<RelayVitals>::clone(&vitals));
        Some(server.with_context(|| format!("cannot listen on {} ([http] listen)", settings.listen))?)
    };
    let ended = runtime.block_on(async {
        let relay = Relay::new(settings, vitals)?;
        let stop = CancellationToken::new();
        stop_on_signals([stop.clone()])?;
        anyhow::Ok(relay.run(once, &stop).await?)
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Err(error) = &ended {
        tracing::error!(%error, "stopped");
    }
    ended
}

pub(crate) fn require(settings: &Settings, problems: &mut Problems) {
    require_broker(settings, problems);
    if settings.relay.is_none() {
        problems
            .add("[relay] needs one of queue_url, sas_url or connection_string (NIGHTREAD_RELAY_QUEUE_URL)");
    }
}

struct Relay {
    queue: StorageQueue,
    poison: StorageQueue,
    publisher: Arc<Publisher>,
    settings: RelaySettings,
    vitals: Arc<RelayVitals>,
}

impl Relay {
    fn new(settings: &Settings, vitals: Arc<RelayVitals>) -> Result<Self> {
        let relay = settings.relay.clone().context("a queue was required above")?;
        let broker = settings.broker.as_ref().context("a broker was required above")?;
        let (account, name) = app::queue_account(&relay, settings)?;
        let (queue, poison) = StorageQueue::with_poison(account, name.as_deref())?;
        let publisher = Arc::new(Publisher::new(app::rabbit(broker, &settings.limits)?));
        vitals.publishes_by(Arc::clone(&publisher));
        Ok(Self { queue, poison, publisher, settings: relay, vitals })
    }

    /// Until it is told to stop, or (`once`) until the queue is empty. A queue or broker that is away is waited for.
    async fn run(&self, once: bool, stop: &CancellationToken) -> Result<Account, JobError> {
        let mut account = Account::default();
        let (mut idle, mut outage) = (FIRST_IDLE, FIRST_IDLE);
        let mut doubtful = false;
        // Refused at first it is a setting; refused later, keys were renewed or a role has gone: it may come back.
        let mut taken_before = false;
        let mut next_depth = Instant::now();
        while !stop.is_cancelled() {
            if Instant::now() >= next_depth {
                self.look_at_depth().await;
                next_depth = Instant::now() + DEPTH_EVERY;
            }
            let taken = self.take(doubtful).await;
            let messages = match taken {
                Ok(messages) => {
                    taken_before = true;
                    messages
                }
                Err(error) if error.class == ErrorClass::Fatal && !taken_before => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, wait_ms = outage.as_millis() as u64, "nothing can be relayed; trying again");
                    pause(outage, stop).await;
                    outage = (outage * 2).min(LONGEST_OUTAGE);
                    continue;
                }
            };
            if messages.is_empty() {
                if once {
                    break;
                }
                pause(idle, stop).await;
                idle = (idle * 2).min(LONGEST_IDLE);
                continue;
            }
            idle = FIRST_IDLE;
            let outcomes =
                futures::future::join_all(messages.iter().map(|message| self.relay(message, stop))).await;
            // One at a time, until one goes through: every take counts against a message.
            doubtful = outcomes.iter().all(|outcome| *outcome == EnvelopeOutcome::Left);
            for outcome in outcomes {
                account.add(outcome);
                metrics::relayed(outcome.as_str());
            }
            if doubtful {
                pause(outage, stop).await;
                outage = (outage * 2).min(LONGEST_OUTAGE);
            } else {
                outage = FIRST_IDLE;
            }
        }
        tracing::info!(relayed = account.relayed, poisoned = account.poisoned, "stopped");
        Ok(account)
    }

    /// Takes nothing while the broker is away: each take counts, and messages that are taken too often are poison.
    async fn take(&self, doubtful: bool) -> Result<Vec<Received>, JobError> {
        let broker = self.publisher.is_reachable().await;
        if self.vitals.broker(broker.is_ok()) {
            metrics::broker_session(broker.is_ok());
        }
        broker?;
        let most = if doubtful { 1 } else { MAX_RECEIVED };
        let received = self.queue.receive(most, self.settings.hidden).await;
        self.vitals.queue(received.is_ok());
        received
    }

    async fn relay(&self, received: &Received, stop: &CancellationToken) -> EnvelopeOutcome {
        if received.taken > self.settings.most_takes {
            return self.put_aside(received, "it was taken too often").await;
        }
        let Some(mut message) = opened(&received.text) else {
            return self.put_aside(received, "it is not JSON, plain or in base64").await;
        };
        // It waits since then, wherever it lay.
        let inserted = received.inserted.map(OffsetDateTime::unix_timestamp);
        message.attributes.announced_at = inserted.and_then(|at| u64::try_from(at).ok());
        // While it is hidden it is ours; some of that time is for the deletion.
        let deadline = Instant::now() + self.settings.hidden * 3 / 4;
        let mut wait = Duration::from_millis(200);
        loop {
            match self.publisher.announce(&message).await {
                Ok(()) => {
                    self.vitals.published(None);
                    let waited = received.inserted.map(|at| OffsetDateTime::now_utc() - at);
                    // A clock that is behind the service's tells no time.
                    if let Some(waited) = waited.and_then(|waited| Duration::try_from(waited).ok()) {
                        metrics::queue_waited(waited);
                    }
                    return self.delete(received, EnvelopeOutcome::Relayed).await;
                }
                Err(error) if Instant::now() + wait < deadline && !stop.is_cancelled() => {
                    self.not_published(&error);
                    tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "the broker does not take an event; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                Err(error) => {
                    self.not_published(&error);
                    tracing::error!(%error, "an event stays in its queue and comes again");
                    return EnvelopeOutcome::Left;
                }
            }
        }
    }

    fn not_published(&self, error: &JobError) {
        metrics::publish_failed();
        self.vitals.published(Some(error.message.clone()));
    }

    async fn put_aside(&self, received: &Received, why: &str) -> EnvelopeOutcome {
        match self.poison.put(&received.text).await {
            Ok(()) => {
                tracing::error!(why, taken = received.taken, "a message is put aside as poison");
                self.delete(received, EnvelopeOutcome::Poisoned).await
            }
            Err(error) => {
                tracing::error!(%error, why, "a poison message cannot be put aside; is there a queue for it?");
                EnvelopeOutcome::Left
            }
        }
    }

    /// A deletion that fails makes a repeat, no loss.
    async fn delete(&self, received: &Received, done: EnvelopeOutcome) -> EnvelopeOutcome {
        for wait in [100, 400, 1_600] {
            match self.queue.delete(received).await {
                Ok(true) => return done,
                Ok(false) => return EnvelopeOutcome::Late,
                Err(error) => {
                    tracing::warn!(%error, "a relayed message is not deleted yet");
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        EnvelopeOutcome::Late
    }

    async fn look_at_depth(&self) {
        match tokio::join!(self.queue.depth(), self.poison.depth()) {
            (Ok(depth), poison) => {
                // Without rights on the poison queue its depth stays untold.
                metrics::storage_queue(depth, poison.ok());
            }
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

impl EnvelopeOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Late => "late",
            Self::Poisoned => "poisoned",
            Self::Left => "left",
        }
    }
}

impl Account {
    fn add(&mut self, outcome: EnvelopeOutcome) {
        *match outcome {
            EnvelopeOutcome::Relayed => &mut self.relayed,
            EnvelopeOutcome::Late => &mut self.late,
            EnvelopeOutcome::Poisoned => &mut self.poisoned,
            EnvelopeOutcome::Left => &mut self.left,
        } += 1;
    }

    pub fn as_text(self) -> String {
        format!(
            "{} relayed, {} relayed late (they may come twice), {} put aside as poison, {} left",
            self.relayed, self.late, self.poisoned, self.left
        )
    }

    pub fn as_json(self) -> serde_json::Value {
        json!({ "relayed": self.relayed, "late": self.late, "poisoned": self.poisoned, "left": self.left })
    }
}
