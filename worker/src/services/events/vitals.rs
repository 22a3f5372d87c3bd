//! What the relay and the webhook tell of themselves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics_exporter_prometheus::PrometheusHandle;

use crate::adapters::amqp::Publisher;
use crate::services::health::Vitals;
use crate::telemetry::metrics;

/// Latches that `/ready` waits for. Nothing but a restart by hand would help a relay, so it is always alive.
#[derive(Debug)]
pub(in crate::services) struct RelayVitals {
    prometheus: PrometheusHandle,
    broker: AtomicBool,
    queue: AtomicBool,
    /// Why the broker did not take the last event.
    refused: Mutex<Option<String>>,
    publisher: OnceLock<Arc<Publisher>>,
}

impl RelayVitals {
    pub fn new(prometheus: PrometheusHandle) -> Self {
        let no = || AtomicBool::new(false);
        let (refused, publisher) = (Mutex::new(None), OnceLock::new());
        Self { prometheus, broker: no(), queue: no(), refused, publisher }
    }

    pub fn publishes_by(&self, publisher: Arc<Publisher>) {
        // Set once, by the start.
        let _first = self.publisher.set(publisher);
    }

    /// `true` when this is a change.
    pub fn broker(&self, up: bool) -> bool {
        self.broker.swap(up, Ordering::Relaxed) != up
    }

    pub fn queue(&self, up: bool) {
        self.queue.store(up, Ordering::Relaxed);
    }

    /// The broker took an event, or did not for this reason.
    pub fn published(&self, refused: Option<String>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }
}

impl Vitals for RelayVitals {
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        let parts =
            [(self.broker.load(Ordering::Relaxed), "broker"), (self.queue.load(Ordering::Relaxed), "queue")];
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let waiting: Vec<_> = parts
            .into_iter()
            .filter(|(up, _)| !up)
            .map(|(_, what)| what.to_owned())
            .chain(refused.map(|why| format!("publishing: {why}")))
            .collect();
        if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
    }

    fn metrics(&self) -> String {
        metrics::broker_blocked(self.publisher.get().is_some_and(|publisher| publisher.is_blocked()));
        metrics::render(&self.prometheus)
    }
}
