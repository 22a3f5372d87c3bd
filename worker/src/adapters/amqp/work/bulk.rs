//! Publishing by the thousand: one link, many announcements on their way at once, every one confirmed.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use nightread_domain::{JobError, Lane, Message};

use crate::adapters::amqp::connect::{confirming_channel, connect, in_time, no_channel_for_publishing};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::properties;
use crate::adapters::amqp::topology;

/// How long a broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What became of one announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The broker has it for good.
    Confirmed,
    /// The broker did not take it: its queue is full, or gone.
    Refused,
    /// The link broke, and nobody knows.
    Lost,
}

/// A link for publishing to one lane. It is not mended: when it breaks, make another and send again what was not
/// confirmed.
pub struct BulkLink {
    connection: Connection,
    channel: Channel,
    /// A question on the channel that publishes would wait behind what is published.
    probe: Channel,
    lane: Lane,
}

impl fmt::Debug for BulkLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkLink").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl BulkLink {
    pub async fn open(options: &RabbitOptions, lane: Lane) -> Result<Self, JobError> {
        let connection = connect(options, "announce").await?;
        let channels = async {
            let channel = confirming_channel(&connection).await?;
            Ok((channel, connection.create_channel().await.map_err(no_channel_for_publishing)?))
        };
        let (channel, probe) = in_time("channels", channels).await?;
        Ok(Self { connection, channel, probe, lane })
    }

    pub fn is_up(&self) -> bool {
        self.channel.status().connected() && self.connection.status().connected()
    }

    /// The broker is short of memory or disk and reads no more from us.
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// What is sent from now on goes on another channel. To be called after a refusal, when nothing is on its way: brokers of
    /// RabbitMQ 3 refuse on a channel for as long as it lives, though the limit of a quorum queue was lifted
    /// (<https://github.com/rabbitmq/rabbitmq-server/issues/12206>).
    ///
    /// # Errors
    /// `broker_unavailable`, `broker_rejected`; the channel is then the old one.
    pub async fn renew(&mut self) -> Result<(), JobError> {
        self.channel = in_time("channel", confirming_channel(&self.connection)).await?;
        Ok(())
    }

    /// Sends one announcement, persistent and mandatory. The future ends with the broker's word; there is no time-out,
    /// because a blocked broker may be silent for hours.
    pub fn send(&self, message: &Message) -> impl Future<Output = Sent> + Send + use<> {
        let (channel, lane) = (self.channel.clone(), self.lane);
        let properties = properties::properties(&message.attributes);
        let body = message.body.clone();
        async move {
            match publish(&channel, lane, &body, properties).await {
                Ok(Confirmation::Ack(None)) => Sent::Confirmed,
                Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_)) => Sent::Refused,
                Ok(Confirmation::NotRequested) | Err(_) => Sent::Lost,
            }
        }
    }

    /// Messages ready in the lane.
    pub fn depth(&self) -> impl Future<Output = Result<u32, JobError>> + Send + use<> {
        let (probe, queue) = (self.probe.clone(), topology::lane_queue(self.lane));
        async move { topology::depth(&probe, &queue).await }
    }

    pub async fn close(self) {
        // Everything is confirmed; a broker that does not say goodbye changes nothing, and one that is blocked never does.
        let _ = tokio::time::timeout(GOODBYE, self.connection.close(200, "done".into())).await;
    }
}

async fn publish(
    channel: &Channel,
    lane: Lane,
    body: &[u8],
    properties: BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, key) = (topology::JOBS.into(), topology::lane_key(lane).into());
    channel.basic_publish(exchange, key, options, body, properties).await?.await
}
