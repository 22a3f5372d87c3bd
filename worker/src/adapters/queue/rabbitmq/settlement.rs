//! What becomes of one delivery. A copy is published and confirmed before its original is acknowledged, so that a
//! crash between the two makes a duplicate and never a loss.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lapin::message::Delivery as Raw;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, BasicProperties};
use nightread_domain::{Disposition, JobError, Lane, Message, Settlement};

use super::connect::unavailable;
use super::properties;
use super::publisher::{Outgoing, Publisher};
use super::session::Shared;
use super::topology::{self, Delay};

/// Publishes of one split in flight at once; each waits for its own confirmation.
const SPLIT_IN_FLIGHT: usize = 64;

/// The right to settle one delivery. Dropped unsettled, it gives the delivery back.
pub(super) struct RabbitSettlement {
    acker: Option<Acker>,
    lane: Lane,
    epoch: u64,
    attempt: u32,
    properties: BasicProperties,
    key: String,
    body: Bytes,
    shared: Arc<Shared>,
    publisher: Arc<Publisher>,
}

impl fmt::Debug for RabbitSettlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitSettlement")
            .field("lane", &self.lane)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl RabbitSettlement {
    pub fn new(
        raw: Raw,
        message: &Message,
        epoch: u64,
        shared: Arc<Shared>,
        publisher: Arc<Publisher>,
    ) -> Self {
        let lane = message.attributes.lane;
        // Whatever came through a foreign exchange returns to the lane it was found in.
        let key = match raw.routing_key.as_str() {
            key if topology::lane_of_key(key) == Some(lane) => key.to_owned(),
            _ => topology::lane_key(lane),
        };
        Self {
            acker: Some(raw.acker),
            lane,
            epoch,
            attempt: message.attributes.attempt,
            properties: raw.properties,
            key,
            body: message.body.clone(),
            shared,
            publisher,
        }
    }

    /// A copy keeps what is known of its container's refusal.
    fn remember(&mut self, refused_since: Option<u64>) {
        if let Some(since) = refused_since {
            let known = std::mem::take(&mut self.properties);
            self.properties = properties::with(known, [properties::refused_since(since)]);
        }
    }

    async fn delayed(&self, delay: Duration, attempt: u32, error: &JobError) -> Result<(), JobError> {
        let delay = Delay::at_least(error.retry_after.unwrap_or_default().max(delay));
        let headers = properties::retry_headers(attempt, error);
        let copy = properties::with(properties::copied(&self.properties), headers);
        let copy = properties::with(copy, [(topology::DELAY_HEADER, properties::long(delay.as_str()))]);
        self.publish(topology::DELAY, copy).await
    }

    async fn dead(&self, error: &JobError) -> Result<(), JobError> {
        let headers = properties::dead_headers(self.lane, self.attempt, properties::now(), error);
        self.publish(topology::DEAD, properties::with(properties::copied(&self.properties), headers)).await
    }

    async fn publish(&self, exchange: &'static str, properties: BasicProperties) -> Result<(), JobError> {
        let (key, body) = (self.key.clone(), self.body.clone());
        self.publisher.publish(&Outgoing { exchange, key, properties, body, mandatory: true }).await
    }

    async fn split(&self, parts: Vec<Message>) -> Result<(), JobError> {
        stream::iter(parts)
            .map(Ok)
            .try_for_each_concurrent(
                SPLIT_IN_FLIGHT,
                |part| async move { self.publisher.announce(&part).await },
            )
            .await
    }

    async fn ack(&mut self) -> Result<(), JobError> {
        let Some(acker) = self.acker.take() else { return Ok(()) };
        settled(acker.ack(BasicAckOptions::default()).await)
    }

    async fn give_back(&mut self) -> Result<(), JobError> {
        let Some(acker) = self.acker.take() else { return Ok(()) };
        settled(acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await)
    }
}

/// `false` and errors alike mean that the channel is gone, and with it the broker's claim on the delivery.
fn settled(done: lapin::Result<bool>) -> Result<(), JobError> {
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(lost()),
        Err(error) => Err(lost().with_source(error)),
    }
}

fn lost() -> JobError {
    unavailable("the session of this delivery is over; the broker hands it out again")
}

#[async_trait]
impl Settlement for RabbitSettlement {
    async fn settle(mut self: Box<Self>, disposition: Disposition) -> Result<(), JobError> {
        if !self.shared.is_current(self.epoch) {
            // Publishing a copy of what comes again anyway would double it.
            self.acker = None;
            return Err(lost());
        }
        match disposition {
            Disposition::Done => self.ack().await,
            Disposition::Return => self.give_back().await,
            Disposition::RetryAfter { delay, error } => {
                self.delayed(delay, self.attempt.saturating_add(1), &error).await?;
                self.ack().await
            }
            Disposition::Postpone { delay, error, refused_since } => {
                self.remember(refused_since);
                self.delayed(delay, self.attempt, &error).await?;
                self.ack().await
            }
            Disposition::DeadLetter { error } => {
                self.dead(&error).await?;
                self.ack().await
            }
            Disposition::Suspect => {
                self.publish(topology::SUSPECT, properties::copied(&self.properties)).await?;
                self.ack().await
            }
            Disposition::Split(parts) => {
                self.split(parts).await?;
                self.ack().await
            }
        }
    }
}

impl Drop for RabbitSettlement {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (shared, lane) = (Arc::clone(&self.shared), self.lane);
            runtime.spawn(async move {
                let _ = acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await;
                shared.released(lane);
            });
        } else {
            self.shared.released(self.lane);
        }
    }
}
