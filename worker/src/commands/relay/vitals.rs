//! What the relay tells of itself.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics_exporter_prometheus::PrometheusHandle;

use crate::telemetry::health::Vitals;

/// Latches that `/ready` waits for. Nothing but a restart by hand would help a relay, so it is always alive.
#[derive(Debug)]
pub(in crate::commands) struct RelayVitals {
    prometheus: PrometheusHandle,
    broker: AtomicBool,
    queue: AtomicBool,
}

impl RelayVitals {
    pub fn new(prometheus: PrometheusHandle) -> Self {
        Self { prometheus, broker: AtomicBool::new(false), queue: AtomicBool::new(false) }
    }

    /// `true` when this is a change.
    pub fn broker(&self, up: bool) -> bool {
        self.broker.swap(up, Ordering::Relaxed) != up
    }

    pub fn queue(&self, up: bool) {
        self.queue.store(up, Ordering::Relaxed);
    }
}

impl Vitals for RelayVitals {
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        let parts =
            [(self.broker.load(Ordering::Relaxed), "broker"), (self.queue.load(Ordering::Relaxed), "queue")];
        let waiting: Vec<_> = parts.into_iter().filter_map(|(up, what)| (!up).then_some(what)).collect();
        if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
    }

    fn metrics(&self) -> String {
        self.prometheus.render()
    }
}
