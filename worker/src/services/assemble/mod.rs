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

use anyhow::{Context, Result};
use futures::future::join_all;
use nightread_domain::JobError;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::account::Account;
use self::account::Outcome;
use self::closer::Closer;
use self::collector::Collector;
use self::shelf::Shelf;
use super::events::queue::{EventQueue, serve};
use super::events::vitals::RelayVitals;
use crate::adapters::azure::queue::Received;
use crate::app;
use crate::app::require_broker;
use crate::settings::{AssembleSettings, Problems, Settings};
use crate::telemetry::metrics;
use crate::telemetry::metrics::table::Teller;

/// Series that were changed and are not looked at yet. More are found by listing.
const CHANGED: usize = 1_024;

/// Assembles until it is told to stop, or (`once`) until the queue is empty and every series is announced; `runtime` ends with
/// it.
///
/// # Errors
/// Whatever kept it from beginning; a queue or broker that never let it in.
pub(crate) fn run(settings: &Settings, once: bool, runtime: Runtime) -> Result<Account> {
    serve(settings, Teller::Assemble, once, runtime, async |vitals, stop| {
        assemble(settings, vitals, once, &stop).await
    })
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
    let events = EventQueue::new(&access, settings, Arc::clone(&vitals))?;
    let publisher = Arc::clone(&events.publisher);
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
        publisher,
        vitals,
        allowed: app::allowed(settings)?,
        routing: settings.routing.clone(),
        quiet,
        changed,
    };
    let intake = QueueIntake { events, collector };
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
    events: EventQueue,
    collector: Collector,
}

impl QueueIntake {
    async fn run(&self, once: bool, stop: &CancellationToken) -> Result<Account, JobError> {
        let mut account = Account::default();
        let take = async |messages| {
            let outcomes = self.take(messages).await;
            for outcome in &outcomes {
                account.add(*outcome);
                metrics::assembled(outcome.as_str());
            }
            outcomes.iter().any(|outcome| *outcome != Outcome::Left)
        };
        self.events.run("assembled", once, stop, take).await?;
        Ok(account)
    }

    /// What became of every event. A message is deleted when all of its events are done with.
    async fn take(&self, received: Vec<Received>) -> Vec<Outcome> {
        let deadline = self.events.deadline();
        let (mut poisoned, mut taken, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for received in received {
            match self.events.open(&received) {
                Ok(message) => {
                    messages.push(message);
                    taken.push(received);
                }
                Err(why) => poisoned.push((received, why)),
            }
        }
        let outcomes = self.collector.take(messages, deadline).await;
        let settled = taken.iter().zip(outcomes).map(|(received, outcomes)| self.settle(received, outcomes));
        let aside = poisoned.iter().map(|(received, why)| self.put_aside(received, why));
        let (settled, aside) = tokio::join!(join_all(settled), join_all(aside));
        settled.into_iter().flatten().chain(aside).collect()
    }

    async fn settle(&self, received: &Received, outcomes: Vec<Outcome>) -> Vec<Outcome> {
        if outcomes.contains(&Outcome::Left) || self.events.delete(received).await {
            return outcomes;
        }
        vec![Outcome::Late; outcomes.len()]
    }

    async fn put_aside(&self, received: &Received, why: &str) -> Outcome {
        match self.events.put_aside(received, why).await {
            Some(true) => Outcome::Poisoned,
            Some(false) => Outcome::Late,
            None => Outcome::Left,
        }
    }
}
