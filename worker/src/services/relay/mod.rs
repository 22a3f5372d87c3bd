//! `nightread relay`: from an Azure Storage queue to RabbitMQ. Taken, published, confirmed, and only then deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::join_all;
use nightread_domain::JobError;
use serde_json::json;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::events::queue::{EventQueue, serve};
use super::events::vitals::RelayVitals;
use crate::adapters::azure::queue::Received;
use crate::app::require_broker;
use crate::settings::{Problems, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

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
    serve(settings, Teller::Relay, once, runtime, async |vitals, stop| {
        Ok(Relay::new(settings, vitals)?.run(once, &stop).await?)
    })
}

pub(crate) fn require(settings: &Settings, problems: &mut Problems) {
    require_broker(settings, problems);
    if settings.relay.is_none() {
        problems
            .add("[relay] needs one of queue_url, sas_url or connection_string (NIGHTREAD_RELAY_QUEUE_URL)");
    }
}

struct Relay {
    events: EventQueue,
}

impl Relay {
    fn new(settings: &Settings, vitals: Arc<RelayVitals>) -> Result<Self> {
        let access = settings.relay.as_ref().context("a queue was required above")?;
        Ok(Self { events: EventQueue::new(access, settings, vitals)? })
    }

    async fn run(&self, once: bool, stop: &CancellationToken) -> Result<Account, JobError> {
        let mut account = Account::default();
        let relay = async |messages: Vec<Received>| {
            let outcomes = join_all(messages.iter().map(|message| self.relay(message, stop))).await;
            for outcome in &outcomes {
                account.add(*outcome);
                metrics::relayed(outcome.as_str());
            }
            outcomes.iter().any(|outcome| *outcome != EnvelopeOutcome::Left)
        };
        self.events.run("relayed", once, stop, relay).await?;
        tracing::info!(relayed = account.relayed, poisoned = account.poisoned, "stopped");
        Ok(account)
    }

    async fn relay(&self, received: &Received, stop: &CancellationToken) -> EnvelopeOutcome {
        let message = match self.events.open(received) {
            Ok(message) => message,
            Err(why) => {
                return match self.events.put_aside(received, why).await {
                    Some(true) => EnvelopeOutcome::Poisoned,
                    Some(false) => EnvelopeOutcome::Late,
                    None => EnvelopeOutcome::Left,
                };
            }
        };
        let deadline = self.events.deadline();
        let mut wait = Duration::from_millis(200);
        loop {
            match self.events.publisher.announce(&message).await {
                Ok(()) => {
                    self.events.vitals.published(None);
                    let waited = received.inserted.map(|at| OffsetDateTime::now_utc() - at);
                    // A clock that is behind the service's tells no time.
                    if let Some(waited) = waited.and_then(|waited| Duration::try_from(waited).ok()) {
                        metrics::queue_waited(waited);
                    }
                    let ours = self.events.delete(received).await;
                    return if ours { EnvelopeOutcome::Relayed } else { EnvelopeOutcome::Late };
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
        self.events.vitals.published(Some(error.message.clone()));
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
