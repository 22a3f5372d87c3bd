//! Publishing that does not give up: what a settlement must publish is on its way until the broker has it.
//!
//! While the broker does not take it, the valve is closed, the delivery stays unacknowledged, and the same message is
//! tried again and again: nothing else proves that it can be published. Before the broker loses patience with the
//! delivery the message is recorded in the outbox, and the delivery may be acknowledged.

use std::sync::Arc;
use std::time::Duration;

use nightread_domain::JobError;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use crate::adapters::amqp::connect::unavailable;
use crate::adapters::amqp::publisher::Outgoing;
use crate::adapters::amqp::publisher::Publisher;
use crate::flow::valve::{Pause, PauseReason, Valve};
use crate::telemetry::metrics;

/// A broker that says nothing for so long takes nothing, as far as taking more work is concerned.
const SILENCE: Duration = Duration::from_secs(5);

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a drain waits before what is held is recorded.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// Between two tries to record.
const BETWEEN_RECORDS: Duration = Duration::from_secs(5);

/// Carries messages to the broker, however long it takes. Shared by all settlements of a worker.
#[derive(Debug)]
pub struct Courier {
    publisher: Arc<Publisher>,
    valve: Valve,
    outbox: Option<Arc<Outbox>>,
    /// Held by the one that asks the broker whether it takes messages again; the others wait for what it hears.
    turn: Mutex<()>,
    /// Raised when the broker took a message again.
    taken: watch::Sender<()>,
    hurry: CancellationToken,
}

/// Aborts the task when nobody waits for it any more.
struct Carrying(Option<JoinHandle<()>>);

impl Drop for Carrying {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Courier {
    /// `valve` is closed while the broker takes nothing. Without an outbox everything waits for the broker.
    pub fn new(publisher: Arc<Publisher>, valve: Valve, outbox: Option<Arc<Outbox>>) -> Arc<Self> {
        Arc::new(Self {
            publisher,
            valve,
            outbox,
            turn: Mutex::new(()),
            taken: watch::Sender::new(()),
            hurry: CancellationToken::new(),
        })
    }

    pub fn valve(&self) -> &Valve {
        &self.valve
    }

    /// From now on waits no longer for the broker than a drain can: what it does not take is recorded.
    pub(super) fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Ends when the broker has the message, or when it is recorded, which is tried from `until` on.
    pub(super) async fn carry(self: &Arc<Self>, outgoing: Outgoing, until: Instant) -> Result<(), JobError> {
        let courier = Arc::clone(self);
        let sent = outgoing.clone();
        let mut carrying = Carrying(Some(tokio::spawn(async move { courier.publish(&sent).await })));
        let Some(task) = &mut carrying.0 else { return Ok(()) };
        // A job that took long leaves the broker no less time than any other.
        let until = until.max(Instant::now() + SILENCE);
        let late = async {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.hurry.cancelled() => tokio::time::sleep(DRAIN_PATIENCE).await,
            }
        };
        tokio::select! {
            sent = &mut *task => return sent.map_err(broken),
            () = late => {}
        }
        let Some(outbox) = &self.outbox else { return task.await.map_err(broken) };
        let record = async {
            loop {
                match outbox.record(&outgoing).await {
                    Ok(record) => return record,
                    Err(error) => {
                        tracing::error!(%error, "what the broker does not take cannot be recorded either");
                        tokio::time::sleep(BETWEEN_RECORDS).await;
                    }
                }
            }
        };
        let record = tokio::select! {
            // It was published after all; a record half made is told once more, and then goes.
            sent = &mut *task => return sent.map_err(broken),
            record = record => record,
        };
        metrics::outbox("recorded");
        tracing::warn!(
            exchange = %outgoing.exchange,
            record = record.name(),
            "the broker takes no messages; what it must be told is recorded with the results"
        );
        // It is still on its way, and keeps the valve closed.
        if let Some(task) = carrying.0.take() {
            let outbox = Arc::clone(outbox);
            tokio::spawn(async move {
                if task.await.is_ok() {
                    outbox.told(&record).await;
                }
            });
        }
        Ok(())
    }

    /// Publishes, whatever it takes. While it does not succeed the valve is closed.
    pub(super) async fn publish(&self, outgoing: &Outgoing) {
        let mut pause: Option<Pause> = None;
        let mut wait = FIRST_WAIT;
        let mut taken = self.taken.subscribe();
        // One at a time asks a broker in trouble. What it hears is heard by all.
        let mut turn = None;
        loop {
            let attempt = self.publisher.publish_through_alarms(outgoing);
            tokio::pin!(attempt);
            let done = if let Ok(done) = tokio::time::timeout(SILENCE, &mut attempt).await {
                done
            } else {
                pause.get_or_insert_with(|| self.pause("the broker does not confirm messages"));
                attempt.await
            };
            let Err(error) = done else { break };
            metrics::publish_failed();
            if pause.is_none() {
                tracing::warn!(%error, exchange = %outgoing.exchange, "the broker takes no messages; trying again");
            } else {
                tracing::debug!(%error, exchange = %outgoing.exchange, "the broker still takes no messages");
            }
            // The new one first, so that the valve does not open between them.
            pause = Some(self.pause(&error.message));
            drop(turn.take());
            turn = tokio::select! {
                turn = self.turn.lock() => Some(turn),
                _ = taken.changed() => None,
            };
            tokio::select! {
                () = tokio::time::sleep(wait), if turn.is_some() => {}
                _ = taken.changed(), if turn.is_some() => {}
                else => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        if pause.take().is_some() {
            self.taken.send_replace(());
            if self.valve.is_open() {
                tracing::info!("the broker takes messages again; intake goes on");
            }
        }
    }

    fn pause(&self, why: &str) -> Pause {
        self.valve.pause(PauseReason::Publishing, why)
    }

    /// Publishes what any worker recorded: now, and again and again. Ends never.
    pub async fn empty_outbox(self: Arc<Self>) {
        let Some(outbox) = &self.outbox else { return };
        loop {
            if let Err(error) = self.sweep(outbox).await {
                tracing::debug!(%error, "the outbox was not emptied");
            }
            tokio::time::sleep(Outbox::next_look()).await;
        }
    }

    async fn sweep(&self, outbox: &Outbox) -> Result<(), JobError> {
        for record in outbox.records().await? {
            // Another worker may have told it meanwhile.
            let Some(outgoing) = outbox.read(&record).await? else { continue };
            self.publish(&outgoing).await;
            outbox.told(&record).await;
        }
        Ok(())
    }
}

/// The task of a message ended without its message being taken: its delivery must not be acknowledged.
fn broken(error: tokio::task::JoinError) -> JobError {
    unavailable("a message was not published").with_source(error)
}
