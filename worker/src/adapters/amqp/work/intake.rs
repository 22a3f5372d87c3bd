//! The `Intake` port over a session loop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nightread_domain::{Delivery, Intake, JobError};
use tokio::sync::watch;

use super::shared::SessionState;
use super::shared::Shared;
use super::{session, settlement};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::publisher::Publisher;
use crate::adapters::amqp::work::courier::Courier;
use crate::flow::valve::Valve;

/// Consumes the three lanes and the quarantine while the valve is open. Dropping it stops the session loop; settlements keep
/// working until they are gone.
#[derive(Debug)]
pub struct RabbitIntake {
    shared: Arc<Shared>,
}

impl RabbitIntake {
    /// Starts the session loop, which connects by itself, now or whenever the broker is there. `publisher` carries
    /// what is retried, split or dead-lettered.
    pub fn start(options: RabbitOptions, publisher: Arc<Publisher>) -> Self {
        Self::with(options, Courier::new(publisher, Valve::default(), None))
    }

    /// The same with a courier of its own, and the valve that it knows.
    pub fn with(options: RabbitOptions, courier: Arc<Courier>) -> Self {
        let shared = Arc::new(Shared::new(&options, courier));
        tokio::spawn(session::run(options, Arc::clone(&shared)));
        // Whoever waits for a delivery looks again when the valve opens.
        let waker = Arc::downgrade(&shared);
        let valve = shared.courier.valve().clone();
        tokio::spawn(async move {
            valve
                .follow(|_| {
                    if let Some(shared) = waker.upgrade() {
                        shared.wake();
                    }
                })
                .await;
        });
        Self { shared }
    }

    /// Looks at the session from outside, also when the intake is gone.
    pub fn watcher(&self) -> SessionWatcher {
        SessionWatcher { shared: Arc::clone(&self.shared) }
    }
}

/// A view of the session loop.
#[derive(Clone, Debug)]
pub struct SessionWatcher {
    shared: Arc<Shared>,
}

impl SessionWatcher {
    /// Whether a session stands, now and later. For `/ready`.
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.shared.state.subscribe()
    }

    /// Why the last session ended or did not begin, until one consumes.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }

    /// After a stop: waits until everything in flight is settled and the connection is closed, so that the broker has
    /// read every acknowledgement. False when that took longer than `patience`.
    pub async fn closed(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.shared.done.cancelled()).await.is_ok()
    }
}

impl Drop for RabbitIntake {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

#[async_trait]
impl Intake for RabbitIntake {
    async fn next(&mut self) -> Result<Option<Delivery>, JobError> {
        let taken = self.shared.take().await?;
        Ok(taken.map(|taken| settlement::delivery(taken, &self.shared)))
    }

    async fn stop(&mut self) {
        self.shared.stop.cancel();
        self.shared.wake();
    }
}
