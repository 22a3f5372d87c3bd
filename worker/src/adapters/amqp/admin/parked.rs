//! Parking: what lies in the lane `bulk` goes into a queue that no worker takes from, and comes back. Workers, whoever counts
//! the backlog, and the scalers of a fleet see a lane that is empty, and need not know why.
//!
//! A message is confirmed where it goes before it leaves where it was: a crash may double it and never loses it.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use lapin::message::Delivery as Raw;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use nightread_domain::{JobError, Lane};
use tokio::time::timeout;

use crate::adapters::amqp::connect::{classified, connect, unavailable};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::properties;
use crate::adapters::amqp::publisher::{Outgoing, Publisher};
use crate::adapters::amqp::topology;
use crate::flow::unix_now;

/// Messages on their way at once. A quorum queue confirms in batches of what one disk write takes.
const IN_FLIGHT: u16 = 512;

/// Messages that one acknowledgement takes off. A channel keeps back what follows some thirty unanswered ones, and they would be lost
/// with it: the messages would lie in both queues.
const AT_ONCE: u16 = 64;

/// Without a message for this long, the queue is asked whether there are any left: workers take from the lane too.
const QUIET: Duration = Duration::from_secs(2);

/// The root of the keys of announcements.
const ANNOUNCED: &str = "job";

/// The way between the lane and what is parked.
#[derive(Debug)]
pub struct Parking {
    options: RabbitOptions,
    publisher: Publisher,
}

impl Parking {
    /// Connects nowhere yet.
    pub fn new(options: RabbitOptions) -> Self {
        Self { publisher: Publisher::new(options.clone()), options }
    }

    /// Messages that are ready in the lane `bulk`.
    pub async fn waiting(&self) -> Result<u32, JobError> {
        self.publisher.depth(&topology::lane_queue(Lane::Bulk)).await
    }

    /// Parks what lies in the lane `bulk` now; what workers have in flight they finish. How many messages it was.
    ///
    /// # Errors
    /// `broker_unavailable`, `broker_rejected`; what was not parked by then lies where it lay.
    pub async fn park(&self) -> Result<u64, JobError> {
        let lane = topology::lane_queue(Lane::Bulk);
        self.carry(&lane, (ANNOUNCED, topology::PARKED_KEY)).await
    }

    /// Brings back what is parked now. How many messages it was.
    ///
    /// # Errors
    /// As [`Self::park`].
    pub async fn bring_back(&self) -> Result<u64, JobError> {
        self.carry(topology::PARKED, (topology::PARKED_KEY, ANNOUNCED)).await
    }

    /// Carries as many messages as lie in a queue at the beginning; `roots` is how their keys begin before and after.
    async fn carry(&self, queue: &str, roots: (&str, &str)) -> Result<u64, JobError> {
        let connection = connect(&self.options, "parking").await?;
        let channel = connection.create_channel().await.map_err(cannot_take)?;
        let carried = self.carry_over(&channel, queue, roots).await;
        // The channel first: it has seen to what was acknowledged when it is closed. What is in flight after an error goes back.
        let _ = channel.close(200, "done".into()).await;
        let _ = connection.close(200, "done".into()).await;
        carried
    }

    async fn carry_over(&self, channel: &Channel, queue: &str, roots: (&str, &str)) -> Result<u64, JobError> {
        let mut consumer = consume(channel, queue).await?;
        // What came into hand by now is not counted. Some may be carried that came meanwhile, and none for ever.
        let mut left = u64::from(self.publisher.depth(queue).await?) + u64::from(IN_FLIGHT);
        let (mut carried, mut unsettled) = (0, 0);
        let mut on_their_way = FuturesOrdered::new();
        while left > 0 || !on_their_way.is_empty() {
            let may_take = left > 0 && on_their_way.len() < usize::from(IN_FLIGHT);
            let taken = tokio::select! {
                Some(done) = on_their_way.next(), if !on_their_way.is_empty() => {
                    let tag = done?;
                    (carried, unsettled) = (carried + 1, unsettled + 1);
                    if unsettled == AT_ONCE || on_their_way.is_empty() {
                        settle(channel, tag).await?;
                        unsettled = 0;
                    }
                    continue;
                }
                taken = timeout(QUIET, consumer.next()), if may_take => taken,
            };
            match taken {
                Ok(Some(Ok(raw))) => {
                    left -= 1;
                    on_their_way.push_back(self.hand_over(raw, roots));
                }
                Ok(Some(Err(error))) => return Err(cannot_take(error)),
                Ok(None) => return Err(unavailable("the broker ended the parking")),
                Err(_) => {
                    if self.publisher.depth(queue).await? == 0 {
                        left = 0;
                    }
                }
            }
        }
        Ok(carried)
    }

    /// The tag of a message that is confirmed where it goes.
    async fn hand_over(&self, raw: Raw, roots: (&str, &str)) -> Result<u64, JobError> {
        let tag = raw.delivery_tag;
        self.publisher.publish(&outgoing(raw, roots)).await?;
        Ok(tag)
    }
}

/// Everything up to this one is taken off.
async fn settle(channel: &Channel, tag: u64) -> Result<(), JobError> {
    let acknowledged = channel.basic_ack(tag, BasicAckOptions { multiple: true }).await;
    acknowledged.map_err(|error| classified("messages were not taken off", error))
}

/// No more come into hand than are on their way.
async fn consume(channel: &Channel, queue: &str) -> Result<Consumer, JobError> {
    channel.basic_qos(IN_FLIGHT, BasicQosOptions::default()).await.map_err(cannot_take)?;
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.map_err(cannot_take)
}

fn cannot_take(error: lapin::Error) -> JobError {
    classified("cannot take what is to be parked or brought back", error)
}

fn outgoing(raw: Raw, roots: (&str, &str)) -> Outgoing {
    // It waits anew: the hours that it lay here are not hours that a worker was late.
    let copy = properties::copied(&raw.properties).with_timestamp(unix_now());
    Outgoing {
        exchange: topology::JOBS.to_owned(),
        key: rooted(raw.routing_key.as_str(), roots),
        properties: copy,
        body: Bytes::from(raw.data),
        mandatory: true,
    }
}

/// The key under another root. One that has not the root is nobody's of ours, and was put there by hand: it goes to the lane.
fn rooted(key: &str, (from, to): (&str, &str)) -> String {
    match key.strip_prefix(from) {
        Some(rest) if rest.starts_with('.') => format!("{to}{rest}"),
        _ => format!("{to}.{}", Lane::Bulk.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_there_and_back() {
        let (away, back) = ((ANNOUNCED, topology::PARKED_KEY), (topology::PARKED_KEY, ANNOUNCED));
        for key in ["job.bulk", "job.bulk.from-a-ward"] {
            let parked = rooted(key, away);
            assert!(parked.starts_with("parked.bulk"), "{parked}");
            assert_eq!(topology::lane_of_key(&parked), None, "no lane takes it");
            assert_eq!(rooted(&parked, back), key);
        }
        assert_eq!(rooted("put by hand", back), "job.bulk");
    }
}
