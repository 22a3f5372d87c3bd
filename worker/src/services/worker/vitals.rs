//! What the service tells of itself: readiness and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use nightread_domain::message::Attributes;
use nightread_domain::{Disposition, Lane};
use tokio::time::MissedTickBehavior;

use crate::adapters::amqp::{Publisher, SessionState, SessionWatcher, WorkReport};
use crate::flow::observer::Observer;
use crate::flow::outlook::Outlook;
use crate::flow::report::JobReport;
use crate::flow::unix_now;
use crate::flow::valve::{PauseReason, Valve};
use crate::pipeline::serving::Stop;
use crate::pipeline::tools::Tools;
use crate::services::health::Vitals;
use crate::telemetry::ledger::{Ledger, WorkLeft};
use crate::telemetry::metrics;

/// What `/ready` asks: everything without which this worker takes no work, or takes it in vain.
#[derive(Debug)]
pub(super) struct ServiceVitals {
    prometheus: PrometheusHandle,
    tools: OnceLock<Arc<Tools>>,
    /// Why models cannot be fetched, as long as that is waited for.
    models_away: Mutex<Option<String>>,
    /// `None` until it was asked; then whether it answered at the start, and what else.
    storage: Mutex<Option<Result<(), String>>>,
    session: OnceLock<SessionWatcher>,
    valve: Valve,
    publisher: OnceLock<Arc<Publisher>>,
    stop: OnceLock<Stop>,
}

impl ServiceVitals {
    pub fn new(prometheus: PrometheusHandle, valve: Valve) -> Self {
        Self {
            prometheus,
            tools: OnceLock::new(),
            models_away: Mutex::new(None),
            storage: Mutex::new(None),
            session: OnceLock::new(),
            valve,
            publisher: OnceLock::new(),
            stop: OnceLock::new(),
        }
    }

    pub fn publishes_by(&self, publisher: Arc<Publisher>) {
        // Set once, by the start.
        let _first = self.publisher.set(publisher);
    }

    pub fn models_are_warm(&self, tools: Arc<Tools>) {
        // Set once, by the start; a second call would bring the same tools.
        let _first = self.tools.set(tools);
    }

    /// Why models cannot be fetched; `None` when they are here.
    pub fn models_are_away(&self, why: Option<String>) {
        *self.models_away.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub fn stops_by(&self, stop: Stop) {
        // Set once, by the start.
        let _first = self.stop.set(stop);
    }

    pub fn storage_answers(&self, answer: Result<(), String>) {
        *self.storage.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    pub fn consumes_by(&self, session: SessionWatcher) {
        // Set once, by the start.
        let _first = self.session.set(session);
    }

    fn is_blocked(&self) -> bool {
        self.publisher.get().is_some_and(|publisher| publisher.is_blocked())
    }

    /// Everything that is waited for, the deepest cause first.
    fn waiting(&self) -> Vec<String> {
        if self.tools.get().is_none() {
            // Nothing else has been begun.
            let away = self.models_away.lock().unwrap_or_else(PoisonError::into_inner);
            return vec![away.as_ref().map_or_else(|| "models".to_owned(), |why| format!("models: {why}"))];
        }
        let mut waiting = Vec::new();
        if let Some(stop) = self.stop.get().filter(|stop| stop.drain.is_cancelled()) {
            let why = stop.cause.get();
            waiting.push(why.map_or_else(|| "stopping".to_owned(), |why| format!("stopping: {why}")));
        }
        let paused = self.valve.reasons();
        match &*self.storage.lock().unwrap_or_else(PoisonError::into_inner) {
            None => waiting.push("storage".to_owned()),
            Some(Err(why)) => waiting.push(format!("storage: {why}")),
            Some(Ok(())) => {}
        }
        let session = self.session.get();
        let consumes = match session.map_or(SessionState::Down, |session| *session.state().borrow()) {
            SessionState::Consuming => true,
            // A pause has no consumers, and says so itself.
            SessionState::Up => !paused.is_empty(),
            SessionState::Down => false,
        };
        if !consumes {
            let why = session.and_then(SessionWatcher::trouble);
            waiting.push(why.map_or_else(|| "broker".to_owned(), |why| format!("broker: {why}")));
        }
        if self.is_blocked() && !paused.contains_key(&PauseReason::Publishing) {
            waiting.push("publishing: the broker is short of memory or disk".to_owned());
        }
        waiting.extend(paused.into_iter().map(|(reason, why)| format!("{}: {why}", reason.as_str())));
        waiting
    }
}

impl Vitals for ServiceVitals {
    fn alive(&self) -> Result<(), String> {
        self.tools.get().and_then(|tools| tools.reader.models.failure()).map_or(Ok(()), Err)
    }

    fn ready(&self) -> Result<(), String> {
        let waiting = self.waiting();
        if waiting.is_empty() { self.alive() } else { Err(waiting.join(", ")) }
    }

    fn metrics(&self) -> String {
        if let Some(tools) = self.tools.get() {
            let (items, batches) = tools.reader.models.computed();
            metrics::engine_totals(items, batches);
        }
        metrics::broker_blocked(self.is_blocked());
        metrics::render(&self.prometheus)
    }
}

/// Counts endings.
#[derive(Debug)]
pub(super) struct ServiceObserver {
    ledger: Arc<Ledger>,
}

impl ServiceObserver {
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

/// Tells the fleet, again and again, what this worker's messages cost and how old they were. Nobody waits for it: a
/// report that does not get through is one of many.
pub(super) async fn tell_of_work(
    ledger: Arc<Ledger>,
    outlook: Outlook,
    publisher: Arc<Publisher>,
    every: Duration,
) {
    let worker = hex::encode(rand::random::<[u8; 8]>());
    // Nothing is done yet; and the connection that takes work comes before the one that tells of it.
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let at = unix_now();
        let mut lanes = ledger.report(Instant::now(), at);
        let (messages, seconds) = outlook.left();
        lanes.volumes.left = Some(WorkLeft { messages, seconds });
        let report = WorkReport::Worker { at, worker: worker.clone(), lanes };
        if let Err(error) = publisher.report(&report).await {
            tracing::debug!(%error, "a report of work did not get through");
        }
    }
}

/// Shows, as long as the worker runs, whether it takes anything and why not.
pub(in crate::services) async fn tell_of_pauses(valve: Valve) {
    let tell = |reasons: &BTreeMap<PauseReason, String>| {
        for reason in PauseReason::ALL {
            metrics::paused(reason, reasons.contains_key(&reason));
        }
    };
    valve.follow(tell).await;
}

impl Observer for ServiceObserver {
    fn job_ended(&self, reports: &[JobReport], disposition: &Disposition) {
        metrics::job_ended(reports, disposition);
    }

    fn message_settled(&self, disposition: &Disposition) {
        metrics::message_settled(disposition);
    }

    fn event_ignored(&self, event_type: &str) {
        tracing::info!(event_type, "an event that asks for no work is acknowledged");
        metrics::event_ignored(event_type == "own_result");
    }

    fn delivery_taken(&self, message: &Attributes) {
        let clock = unix_now();
        metrics::delivery_taken(message.lane, message.age(clock));
        self.ledger.taken(message.lane, message.announced_at, Instant::now(), clock);
    }

    fn delivery_left(&self, lane: Lane, announced_at: Option<u64>) {
        metrics::delivery_left();
        self.ledger.left(lane, announced_at, Instant::now());
    }

    fn container(&self, name: &str, answers: bool) {
        metrics::container(name, answers);
    }

    fn outage(&self, open: bool) {
        metrics::storage_outage(open);
    }
}
