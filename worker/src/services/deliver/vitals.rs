//! What `nightread deliver` tells of itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::adapters::amqp::{Publisher, SessionState, SessionWatcher, topology};
use crate::flow::valve::Valve;
use crate::pipeline::serving::Stop;
use crate::services::health::Vitals;
use crate::telemetry::metrics;

/// Between two looks at how much waits.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// What `/ready` asks. Nothing but a restart by hand would help, so it is always alive.
#[derive(Debug)]
pub(super) struct DeliverVitals {
    prometheus: PrometheusHandle,
    valve: Valve,
    begun: OnceLock<(SessionWatcher, Arc<Publisher>, Stop)>,
}

impl DeliverVitals {
    pub fn new(prometheus: PrometheusHandle, valve: Valve) -> Self {
        Self { prometheus, valve, begun: OnceLock::new() }
    }

    pub fn begun(&self, session: SessionWatcher, publisher: Arc<Publisher>, stop: Stop) {
        // Set once, by the start.
        let _first = self.begun.set((session, publisher, stop));
    }
}

impl Vitals for DeliverVitals {
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        let Some((session, _, stop)) = self.begun.get() else { return Err("broker".to_owned()) };
        let mut waiting = Vec::new();
        if stop.drain.is_cancelled() {
            waiting.push("stopping".to_owned());
        }
        let paused = self.valve.reasons();
        let consumes = match *session.state().borrow() {
            SessionState::Consuming => true,
            // A pause has no consumers, and says so itself.
            SessionState::Up => !paused.is_empty(),
            SessionState::Down => false,
        };
        if !consumes {
            let why = session.trouble();
            waiting.push(why.map_or_else(|| "broker".to_owned(), |why| format!("broker: {why}")));
        }
        waiting.extend(paused.into_iter().map(|(reason, why)| format!("{}: {why}", reason.as_str())));
        if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
    }

    fn metrics(&self) -> String {
        metrics::broker_blocked(self.begun.get().is_some_and(|(_, publisher, _)| publisher.is_blocked()));
        metrics::render(&self.prometheus)
    }
}

/// Shows, as long as it runs, how many results wait for their archives, and how many were given up.
pub(super) async fn tell_of_queues(publisher: Arc<Publisher>) {
    loop {
        for (state, queue) in [("waiting", topology::DELIVERIES), ("dead", topology::DELIVERIES_DEAD)] {
            match publisher.depth(queue).await {
                Ok(depth) => metrics::undelivered(state, depth),
                Err(error) => tracing::debug!(%error, queue, "the depth of a queue is not told"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
