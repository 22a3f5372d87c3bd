//! What becomes of one delivery. A copy is published and confirmed before its original is acknowledged, so that a
//! crash between the two makes a duplicate and never a loss.
//!
//! Brokers before 4.3 count whatever comes back, later ones only what a lost connection brings back. So nothing is given
//! back in a way that could count against it: what was returned once already, or lies in quarantine, goes back as
//! a copy, whose count begins anew.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, BasicProperties};
use nightread_domain::retry::Delay;
use nightread_domain::{Attributes, Delivery, Disposition, JobError, Lane, Message, Notice, Settlement};
use tokio::time::Instant;

use super::shared::{Origin, Shared, Taken};
use crate::adapters::amqp::connect::unavailable;
use crate::adapters::amqp::properties;
use crate::adapters::amqp::publisher::{Outgoing, announcement, told};
use crate::adapters::amqp::topology;
use crate::flow::unix_now;

/// Publishes of one split in flight at once; each waits for its own confirmation.
const SPLIT_IN_FLIGHT: usize = 64;

/// The right to settle one delivery. Dropped unsettled, it gives the delivery back.
pub(super) struct RabbitSettlement {
    acker: Option<Acker>,
    lane: Lane,
    origin: Origin,
    epoch: u64,
    attempt: u32,
    /// Returns that the broker counts; for a quarantined message its starts.
    deliveries: u32,
    properties: BasicProperties,
    key: String,
    body: Bytes,
    notices: Vec<Notice>,
    /// When what cannot be published is recorded.
    until: Instant,
    shared: Arc<Shared>,
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
    /// Of a delivery that is counted among those in flight of its lane; dropped, it is not any more.
    pub fn new(taken: Taken, message: &Message, shared: Arc<Shared>) -> Self {
        let Attributes { lane, attempt, delivery_count, .. } = message.attributes;
        let Taken { raw, epoch, arrived, origin, .. } = taken;
        // Whatever came through a foreign exchange returns to the lane it was found in.
        let found = raw.routing_key.as_str();
        let key = match origin {
            Origin::Deliveries if topology::is_of_delivery(found) => found.to_owned(),
            Origin::Deliveries => topology::DELIVERY_KEY.to_owned(),
            _ if topology::lane_of_key(found) == Some(lane) => found.to_owned(),
            _ => topology::lane_key(lane),
        };
        Self {
            acker: Some(raw.acker),
            lane,
            origin,
            epoch,
            attempt,
            deliveries: delivery_count,
            properties: raw.properties,
            key,
            body: message.body.clone(),
            notices: Vec::new(),
            until: arrived + shared.consumer_timeout[lane] / 2,
            shared,
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
        let headers = properties::dead_headers(self.lane, self.attempt, unix_now(), error);
        let exchange =
            if self.origin == Origin::Deliveries { topology::DELIVERIES_DEAD } else { topology::DEAD };
        self.publish(exchange, properties::with(properties::copied(&self.properties), headers)).await
    }

    /// To the quarantine, with so many starts known.
    async fn quarantined(&self, starts: u32) -> Result<(), JobError> {
        let copy = properties::copied(&self.properties);
        self.publish(topology::QUARANTINE, properties::with(copy, [properties::starts(starts)])).await
    }

    async fn publish(&self, exchange: &str, properties: BasicProperties) -> Result<(), JobError> {
        let (key, body) = (self.key.clone(), self.body.clone());
        let exchange = exchange.to_owned();
        self.carry(Outgoing { exchange, key, properties, body, mandatory: true }).await
    }

    /// Waits for the broker, but no longer than this delivery is ours.
    async fn carry(&self, outgoing: Outgoing) -> Result<(), JobError> {
        tokio::select! {
            biased;
            () = self.shared.lost(self.epoch) => Err(lost()),
            carried = self.shared.courier.carry(outgoing, self.until) => carried,
        }
    }

    async fn split(&self, parts: Vec<Message>) -> Result<(), JobError> {
        stream::iter(parts)
            .map(Ok)
            .try_for_each_concurrent(
                SPLIT_IN_FLIGHT,
                |part| async move { self.carry(announcement(&part)).await },
            )
            .await
    }

    async fn ack(&mut self) -> Result<(), JobError> {
        let Some(acker) = self.acker.take() else { return Ok(()) };
        settled(acker.ack(BasicAckOptions::default()).await)
    }

    /// Untouched, and never so that it could be quarantined or given up for it.
    async fn give_back(&mut self) -> Result<(), JobError> {
        if self.origin == Origin::Quarantine {
            // Brokers also count what they had on the way to a consumer that was cancelled: counts are no memory of starts.
            self.quarantined(0).await?;
        } else if self.deliveries > 0 {
            self.publish(topology::JOBS, properties::copied(&self.properties)).await?;
        } else {
            let Some(acker) = self.acker.take() else { return Ok(()) };
            return settled(acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await);
        }
        self.ack().await
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

/// What was taken, as the pipeline sees it.
pub(super) fn delivery(mut taken: Taken, shared: &Arc<Shared>) -> Delivery {
    let body = Bytes::from(std::mem::take(&mut taken.raw.data));
    let quarantined = taken.origin == Origin::Quarantine;
    let mut attributes = properties::attributes(taken.lane, quarantined, &taken.raw.properties);
    attributes.arrived = Some(taken.arrived.into_std());
    let message = Message { body, attributes };
    let settlement = RabbitSettlement::new(taken, &message, Arc::clone(shared));
    Delivery { message, settlement: Box::new(settlement) }
}

#[async_trait]
impl Settlement for RabbitSettlement {
    fn tell_first(&mut self, notices: Vec<Notice>) {
        self.notices.extend(notices);
    }

    async fn settle(mut self: Box<Self>, disposition: Disposition) -> Result<(), JobError> {
        // Also when the session is over: another hand may have told of what was there and be done with it, and what is stored now
        // went over that. Who is told twice knows it by the id.
        for notice in std::mem::take(&mut self.notices) {
            self.shared.courier.carry(told(notice), self.until).await?;
        }
        if !self.shared.is_current(self.epoch) {
            // Publishing a copy of what comes again anyway would double it.
            self.acker = None;
            return Err(lost());
        }
        match disposition {
            Disposition::Done => {}
            Disposition::Return => return self.give_back().await,
            Disposition::RetryAfter { delay, error } => {
                self.delayed(delay, self.attempt.saturating_add(1), &error).await?;
            }
            Disposition::Postpone { delay, error, refused_since } => {
                self.remember(refused_since);
                self.delayed(delay, self.attempt, &error).await?;
            }
            Disposition::DeadLetter { error } => self.dead(&error).await?,
            Disposition::Quarantine { started } => {
                let known = if self.origin == Origin::Quarantine { self.deliveries } else { 0 };
                self.quarantined(known.saturating_add(started.into())).await?;
            }
            Disposition::Split(parts) => self.split(parts).await?,
        }
        self.ack().await
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
