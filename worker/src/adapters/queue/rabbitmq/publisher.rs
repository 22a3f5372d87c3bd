//! Publishing with confirmation, on a connection of its own: an alarm in the broker blocks publishers, and must
//! not block acknowledgements.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use nightread_domain::{ErrorClass, ErrorCode, JobError, Message, Stage};
use tokio::sync::Mutex;

use super::connect::{classified, connect, unavailable};
use super::{RabbitOptions, properties, topology};

/// How long the broker may take to say that it has a message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// One message on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub exchange: &'static str,
    pub key: String,
    pub properties: BasicProperties,
    pub body: Bytes,
    /// Whether somebody must receive it. An event for whoever listens need not be received by anyone.
    pub mandatory: bool,
}

struct Link {
    /// Dropped with the channel; held because a channel dies with its connection.
    connection: Connection,
    channel: Channel,
    serial: u64,
}

/// Publishes persistently and waits for the broker's word. Connects when it is needed, and again after a failure.
pub struct Publisher {
    options: RabbitOptions,
    link: Mutex<(Option<Link>, u64)>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("name", &self.options.connection_name).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Connects nowhere yet.
    pub fn new(options: RabbitOptions) -> Self {
        Self { options, link: Mutex::new((None, 0)) }
    }

    /// Publishes an announcement to its lane and waits until the broker has it for good.
    pub async fn announce(&self, message: &Message) -> Result<(), JobError> {
        self.publish(&Outgoing {
            exchange: topology::JOBS,
            key: topology::lane_key(message.attributes.lane),
            properties: properties::properties(&message.attributes),
            body: message.body.clone(),
            mandatory: true,
        })
        .await
    }

    /// Whether a publish could succeed now: there is a link, or one could be made, and the broker reads from it.
    pub async fn is_reachable(&self) -> Result<(), JobError> {
        self.channel(None).await?;
        let guard = self.link.lock().await;
        if guard.0.as_ref().is_some_and(|link| link.connection.status().blocked()) {
            return Err(unavailable("the broker is short of memory or disk"));
        }
        Ok(())
    }

    /// A broken link is found out by using it, so a failed publish is tried once more on a new one. The copy that
    /// may come of it is harmless: every consumer finds the work done.
    pub(super) async fn publish(&self, outgoing: &Outgoing) -> Result<(), JobError> {
        let (channel, serial) = self.channel(None).await?;
        match self.publish_on(&channel, outgoing).await {
            Err(error) if error.code == ErrorCode::BrokerUnavailable && !channel.status().connected() => {
                let (channel, _) = self.channel(Some(serial)).await?;
                self.publish_on(&channel, outgoing).await
            }
            done => done,
        }
    }

    async fn publish_on(&self, channel: &Channel, outgoing: &Outgoing) -> Result<(), JobError> {
        let options = BasicPublishOptions { mandatory: outgoing.mandatory, ..Default::default() };
        let confirmed = async {
            let sent = channel
                .basic_publish(
                    outgoing.exchange.into(),
                    outgoing.key.as_str().into(),
                    options,
                    &outgoing.body,
                    outgoing.properties.clone(),
                )
                .await?;
            sent.await
        };
        match tokio::time::timeout(CONFIRM_TIMEOUT, confirmed).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)))) => Err(JobError::new(
                Stage::Settle,
                ErrorCode::BrokerRejected,
                format!("no queue takes what is published to {}", outgoing.exchange),
            )
            // Somebody deleted a queue; the message stays where it was until it is back.
            .with_class(ErrorClass::Transient)),
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => {
                Err(unavailable("the broker did not take a message"))
            }
            Ok(Err(error)) => Err(unavailable("the connection for publishing failed").with_source(error)),
            Err(_) => Err(unavailable("the broker did not confirm a message in time")),
        }
    }

    /// The channel in use; a new one when there is none, or when the one of serial `broken` still stands in.
    async fn channel(&self, broken: Option<u64>) -> Result<(Channel, u64), JobError> {
        let mut guard = self.link.lock().await;
        let (link, serials) = &mut *guard;
        if let Some(link) = link.as_ref().filter(|link| Some(link.serial) != broken)
            && link.channel.status().connected()
        {
            return Ok((link.channel.clone(), link.serial));
        }
        *link = None;
        let connection = connect(&self.options, "publish").await?;
        let refused = |error| classified("the broker opens no channel for publishing", error);
        let channel = connection.create_channel().await.map_err(refused)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(refused)?;
        *serials += 1;
        let serial = *serials;
        *link = Some(Link { connection, channel: channel.clone(), serial });
        Ok((channel, serial))
    }
}
