//! The `Intake` port over a session loop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nightread_domain::message::Attributes;
use nightread_domain::{Delivery, Intake, JobError, Message};
use tokio::sync::watch;

use super::session::{self, Shared, Taken};
use super::settlement::RabbitSettlement;
use super::{Publisher, RabbitOptions, SessionState, properties};

/// Consumes the three lanes and the suspects. Dropping it stops the session loop; settlements keep working until they are gone.
#[derive(Debug)]
pub struct RabbitIntake {
    shared: Arc<Shared>,
    publisher: Arc<Publisher>,
}

impl RabbitIntake {
    /// Starts the session loop, which connects by itself, now or whenever the broker is there. `publisher` carries
    /// what is retried, split or dead-lettered.
    pub fn start(options: RabbitOptions, publisher: Arc<Publisher>) -> Self {
        let shared = Arc::new(Shared::new(&options));
        tokio::spawn(session::run(options, Arc::clone(&shared)));
        Self { shared, publisher }
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

    /// After a stop: waits until everything in hand is settled and the connection is closed, so that the broker has
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
        match self.shared.take().await {
            Taken::Ended(how) => how.map(|()| None),
            Taken::Delivery { lane, suspect, mut raw, epoch } => {
                let body = Bytes::from(std::mem::take(&mut raw.data));
                let attributes = Attributes { suspect, ..properties::attributes(lane, &raw.properties) };
                let message = Message { body, attributes };
                let settlement = RabbitSettlement::new(
                    *raw,
                    &message,
                    epoch,
                    Arc::clone(&self.shared),
                    Arc::clone(&self.publisher),
                );
                Ok(Some(Delivery { message, settlement: Box::new(settlement) }))
            }
        }
    }

    async fn stop(&mut self) {
        self.shared.stop.cancel();
        self.shared.wake();
    }
}
