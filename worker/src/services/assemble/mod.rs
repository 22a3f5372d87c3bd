//! `nightread assemble`: from events of single files to announcements of whole series. Taken, kept with the series, and only then
//! deleted; announced when nothing more came for a while, or when all that should come is there.

mod account;
mod closer;
mod collector;
mod shelf;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::join_all;
use nightread_domain::{ErrorClass, JobError};
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::account::Account;
use self::account::Outcome;
use self::closer::Closer;
use self::collector::Collector;
use self::shelf::Shelf;
use crate::adapters::amqp::Publisher;
use crate::adapters::azure::queue::{MAX_RECEIVED, Received, StorageQueue};
use crate::app;
use crate::app::{require_broker, stop_on_signals};
use crate::services::health::HealthServer;
use crate::services::relay::envelope::opened;
use crate::services::relay::vitals::RelayVitals;
use crate::settings::{AssembleSettings, Problems, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// Pauses between two looks at an empty queue, and while broker, queue or storage are away, grow from the first up to these.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_IDLE: Duration = Duration::from_secs(2);
const LONGEST_OUTAGE: Duration = Duration::from_secs(15);

/// Between two looks at the queue's depth.
const DEPTH_EVERY: Duration = Duration::from_secs(15);

/// Series that were changed and are not looked at yet. More are found by listing.
const CHANGED: usize = 1_024;

/// Assembles until it is told to stop, or (`once`) until the queue is empty and every series is announced; `runtime` ends with
/// it.
///
/// # Errors
/// Whatever kept it from beginning; a queue or broker that never let it in.
pub(crate) fn run(settings: &Settings, once: bool, runtime: Runtime) -> Result<Account> {
    let prometheus = metrics::install(Teller::Assemble).context("the metrics recorder does not start")?;
    let vitals = Arc::new(RelayVitals::new(prometheus));
    let _health = if once {
        None
    } else {
        let server = HealthServer::start(settings.listen, Arc::<RelayVitals>::clone(&vitals));
        Some(server.with_context(|| format!("cannot listen on {} ([http] listen)", settings.listen))?)
    };
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals([stop.clone()])?;
        assemble(settings, vitals, once, &stop).await
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Err(error) = &ended {
        tracing::error!(%error, "stopped");
    }
    ended
}

pub(crate) fn require(settings: &Settings, problems: &mut Problems) {
    require_broker(settings, problems);
    if settings.storage.is_none() {
        problems.add("[storage] is incomplete: kind folder needs folder, kind azure needs a way in");
    }
    if settings.assemble.is_none() {
        problems.add(
            "[assemble] needs one of queue_url, sas_url or connection_string (NIGHTREAD_ASSEMBLE_QUEUE_URL)",
        );
    }
    if !settings.routing.rules.iter().any(|rule| rule.instances) {
        problems.add("[[routes]]: no route carries instances of series (instances = true): there is nothing to assemble");
    }
}

async fn assemble(
    settings: &Settings,
    vitals: Arc<RelayVitals>,
    once: bool,
    stop: &CancellationToken,
) -> Result<Account> {
    let AssembleSettings { queue: access, quiet } =
        settings.assemble.clone().context("a queue was required above")?;
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let (account, name) = app::queue_account(&access, settings)?;
    let (queue, poison) = StorageQueue::with_poison(account, name.as_deref())?;
    let publisher = Arc::new(Publisher::new(app::rabbit(broker, &settings.limits)?));
    vitals.publishes_by(Arc::clone(&publisher));
    let stores = app::stores(settings)?;
    let shelf = Shelf::new(Arc::clone(&stores.results), stores.results_container.clone());
    let (changed, changes) = mpsc::channel(CHANGED);
    let closer = Closer {
        shelf: shelf.clone(),
        publisher: Arc::clone(&publisher),
        vitals: Arc::clone(&vitals),
        quiet,
        lease: access.hidden,
    };
    let collector = Collector {
        source: stores.source,
        shelf,
        publisher: Arc::clone(&publisher),
        vitals: Arc::clone(&vitals),
        allowed: app::allowed(settings)?,
        routing: settings.routing.clone(),
        quiet,
        changed,
    };
    let (hidden, most_takes) = (access.hidden, access.most_takes);
    let intake = QueueIntake { queue, poison, publisher, collector, vitals, hidden, most_takes };
    let finish = CancellationToken::new();
    let collecting = async {
        let account = intake.run(once, stop).await;
        // Of an error the other half must know too.
        if account.is_err() {
            stop.cancel();
        }
        finish.cancel();
        account
    };
    let (account, announced) = tokio::join!(collecting, closer.run(changes, &finish, stop));
    let mut account = account?;
    account.announced = announced;
    tracing::info!(announced, "stopped");
    Ok(account)
}

/// The queue of events, and what they are given to.
struct QueueIntake {
    queue: StorageQueue,
    poison: StorageQueue,
    publisher: Arc<Publisher>,
    collector: Collector,
    vitals: Arc<RelayVitals>,
    hidden: Duration,
    most_takes: u64,
}

impl QueueIntake {
    /// Until it is told to stop, or (`once`) until the queue is empty. A queue, broker or storage that is away is waited for.
    async fn run(&self, once: bool, stop: &CancellationToken) -> Result<Account, JobError> {
        let mut account = Account::default();
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
                    tracing::warn!(%error, wait_ms = outage.as_millis() as u64, "nothing can be assembled; trying again");
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
            let outcomes = self.take(messages).await;
            doubtful = outcomes.iter().all(|outcome| *outcome == Outcome::Left);
            for outcome in outcomes {
                account.add(outcome);
                metrics::assembled(outcome.as_str());
            }
            if doubtful {
                pause(outage, stop).await;
                outage = (outage * 2).min(LONGEST_OUTAGE);
            } else {
                outage = FIRST_PAUSE;
            }
        }
        Ok(account)
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

    /// What became of every event. A message is deleted when all of its events are done with.
    async fn take(&self, received: Vec<Received>) -> Vec<Outcome> {
        // While they are hidden they are ours; some of that time is for the deletion.
        let deadline = Instant::now() + self.hidden * 3 / 4;
        let (mut poisoned, mut taken, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for received in received {
            let message = opened(&received.text).filter(|_| received.taken <= self.most_takes);
            match message {
                Some(mut message) => {
                    // It waits since then, wherever it lay.
                    let inserted = received.inserted.map(OffsetDateTime::unix_timestamp);
                    message.attributes.announced_at = inserted.and_then(|at| u64::try_from(at).ok());
                    messages.push(message);
                    taken.push(received);
                }
                None => poisoned.push(received),
            }
        }
        let outcomes = self.collector.take(messages, deadline).await;
        let settled = taken.iter().zip(outcomes).map(|(received, outcomes)| self.settle(received, outcomes));
        let aside = poisoned.iter().map(|received| self.put_aside(received));
        let (settled, aside) = tokio::join!(join_all(settled), join_all(aside));
        settled.into_iter().flatten().chain(aside).collect()
    }

    async fn settle(&self, received: &Received, outcomes: Vec<Outcome>) -> Vec<Outcome> {
        if outcomes.contains(&Outcome::Left) || self.delete(received).await {
            return outcomes;
        }
        vec![Outcome::Late; outcomes.len()]
    }

    async fn put_aside(&self, received: &Received) -> Outcome {
        match self.poison.put(&received.text).await {
            Ok(()) => {
                tracing::error!(taken = received.taken, "a message is put aside as poison");
                if self.delete(received).await { Outcome::Poisoned } else { Outcome::Late }
            }
            Err(error) => {
                tracing::error!(%error, "a poison message cannot be put aside; is there a queue for it?");
                Outcome::Left
            }
        }
    }

    /// Whether it was ours to the end. A deletion that fails makes a repeat, no loss.
    async fn delete(&self, received: &Received) -> bool {
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
