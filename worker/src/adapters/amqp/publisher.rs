//! Publishing with confirmation, on a connection of its own: an alarm in the broker blocks publishers, and must
//! not block acknowledgements.

use std::collections::HashMap;
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionStatus};
use nightread_domain::ports::Audience;
use nightread_domain::{ErrorClass, ErrorCode, JobError, Message, Notice, Stage};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::connect::{classified, confirming_channel, connect, forgiving, in_time, unavailable};
use super::options::RabbitOptions;
use super::properties;
use super::topology;
use crate::flow::unix_now;

/// How long the broker may take to say that it has a message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// One message on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub exchange: String,
    pub key: String,
    pub properties: BasicProperties,
    /// Kept beside the rest where it is recorded.
    #[serde(skip)]
    pub body: Bytes,
    /// Whether somebody must receive it. An event for whoever listens need not be received by anyone.
    pub mandatory: bool,
}

/// What to do with a broker that is short of memory or disk, and says nothing until it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    /// As with any other silence: an error after a while.
    GiveUp,
    /// The message is on its way: another try would only double it.
    Wait,
}

struct Link {
    number: u64,
    connection: Connection,
    /// One for each exchange: a refusal closes the channel, and must not take with it what goes elsewhere.
    channels: HashMap<String, Channel>,
}

/// Publishes persistently and waits for the broker's word. Connects when it is needed, and again after a failure.
pub struct Publisher {
    options: RabbitOptions,
    link: Mutex<Option<Link>>,
    links: AtomicU64,
    /// Of the link in use, beside it: a blocked broker may keep whoever holds the link waiting.
    status: std::sync::Mutex<Option<ConnectionStatus>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("name", &self.options.connection_name).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Connects nowhere yet.
    pub fn new(options: RabbitOptions) -> Self {
        Self {
            options,
            link: Mutex::new(None),
            links: AtomicU64::new(0),
            status: std::sync::Mutex::new(None),
        }
    }

    /// Publishes an announcement to its lane and waits until the broker has it for good.
    pub async fn announce(&self, message: &Message) -> Result<(), JobError> {
        self.publish(&announcement(message)).await
    }

    /// Publishes a message among the dead letters and waits until the broker has it for good.
    pub async fn dead_letter(&self, message: &Message, error: &JobError) -> Result<(), JobError> {
        let attributes = &message.attributes;
        let headers = properties::dead_headers(attributes.lane, attributes.attempt, unix_now(), error);
        let letter = announcement(message);
        let properties = properties::with(letter.properties, headers);
        self.publish(&Outgoing { exchange: topology::DEAD.to_owned(), properties, ..letter }).await
    }

    /// Whether a publish could succeed now: there is a link, or one could be made, and the broker reads from it.
    pub async fn is_reachable(&self) -> Result<(), JobError> {
        self.channel(topology::JOBS).await.map(drop)
    }

    /// Messages that are ready in a queue.
    pub async fn depth(&self, queue: &str) -> Result<u32, JobError> {
        let (_, channel) = self.channel(topology::JOBS).await?;
        topology::depth(&channel, queue).await
    }

    /// Whether the broker is short of memory or disk, as far as it told this link.
    pub fn is_blocked(&self) -> bool {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.as_ref().is_some_and(|status| status.connected() && status.blocked())
    }

    /// A broken link is found out by using it, so a failed publish is tried once more on a new one. The copy that
    /// may come of it is harmless: every consumer finds the work done.
    pub(super) async fn publish(&self, outgoing: &Outgoing) -> Result<(), JobError> {
        self.publish_with(outgoing, Alarm::GiveUp).await
    }

    /// The same, but waits out an alarm under which the message was sent. One that already stands is an error at once.
    pub(super) async fn publish_through_alarms(&self, outgoing: &Outgoing) -> Result<(), JobError> {
        self.publish_with(outgoing, Alarm::Wait).await
    }

    async fn publish_with(&self, outgoing: &Outgoing, alarm: Alarm) -> Result<(), JobError> {
        let (link, channel) = self.channel(&outgoing.exchange).await?;
        match self.publish_on(link, &channel, outgoing, alarm).await {
            // What the broker refuses, it would refuse again.
            Err(error) if error.code == ErrorCode::BrokerUnavailable && !channel.status().connected() => {
                let (link, channel) = self.channel(&outgoing.exchange).await?;
                self.publish_on(link, &channel, outgoing, alarm).await
            }
            done => done,
        }
    }

    async fn publish_on(
        &self,
        link: u64,
        channel: &Channel,
        outgoing: &Outgoing,
        alarm: Alarm,
    ) -> Result<(), JobError> {
        let exchange = &outgoing.exchange;
        if alarm == Alarm::Wait && self.is_blocked() {
            return Err(blocked());
        }
        let options = BasicPublishOptions { mandatory: outgoing.mandatory, ..Default::default() };
        let confirmed = async {
            let sent = channel
                .basic_publish(
                    exchange.as_str().into(),
                    outgoing.key.as_str().into(),
                    options,
                    &outgoing.body,
                    outgoing.properties.clone(),
                )
                .await?;
            sent.await
        };
        tokio::pin!(confirmed);
        let confirmed = loop {
            match tokio::time::timeout(CONFIRM_TIMEOUT, &mut confirmed).await {
                Ok(confirmed) => break confirmed,
                Err(_) if alarm == Alarm::Wait && self.is_blocked() => {}
                Err(_) if self.is_blocked() => return Err(blocked()),
                Err(_) => {
                    self.leave(link).await;
                    return Err(unavailable("the broker did not confirm a message in time"));
                }
            }
        };
        match confirmed {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_))) => Err(JobError::new(
                Stage::Settle,
                ErrorCode::BrokerRejected,
                format!("no queue takes what is published to {exchange}"),
            )
            // Somebody deleted a queue; the message stays where it was until it is back.
            .with_class(ErrorClass::Transient)),
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
                // Where its queue is not full it is out of reach, and others of the cluster may reach it.
                if self.options.more_hosts.is_empty() {
                    self.renew(link, exchange, channel).await;
                } else {
                    self.leave(link).await;
                }
                Err(unavailable(format!("the broker did not take a message for {exchange}")))
            }
            Err(error) => {
                Err(forgiving(classified(&format!("the broker takes nothing for {exchange}"), error)))
            }
        }
    }

    /// Gives a link up: a broker that lost its cluster stays connected and confirms nothing, and the next may be well.
    async fn leave(&self, link: u64) {
        let mut guard = self.link.lock().await;
        if guard.as_ref().is_some_and(|current| current.number == link) {
            *guard = None;
        }
    }

    /// The next message for an exchange goes on another channel. Brokers of RabbitMQ 3 tell a channel that a quorum queue
    /// is full, and not that its limit was lifted: what is published there would be refused as long as the channel lives
    /// (<https://github.com/rabbitmq/rabbitmq-server/issues/12206>). Whoever still waits on the old one holds it until then.
    async fn renew(&self, link: u64, exchange: &str, channel: &Channel) {
        let mut guard = self.link.lock().await;
        if let Some(link) = guard.as_mut().filter(|current| current.number == link)
            && link.channels.get(exchange).is_some_and(|current| current.id() == channel.id())
        {
            link.channels.remove(exchange);
        }
    }

    /// The channel for an exchange, and the number of its link; a new one when there is none that works.
    async fn channel(&self, exchange: &str) -> Result<(u64, Channel), JobError> {
        // It would answer nothing either, and whoever waits for it holds the link.
        if self.is_blocked() {
            return Err(blocked());
        }
        let mut guard = self.link.lock().await;
        if !guard.as_ref().is_some_and(|link| link.connection.status().connected()) {
            *guard = None;
        }
        if let Some(link) = &*guard
            && let Some(channel) = link.channels.get(exchange).filter(|channel| channel.status().connected())
        {
            return Ok((link.number, channel.clone()));
        }
        let link = match &mut *guard {
            Some(link) => link,
            none => {
                let connection = connect(&self.options, "publish").await?;
                let status = connection.status().clone();
                *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
                let number = self.links.fetch_add(1, Ordering::Relaxed);
                none.insert(Link { number, connection, channels: HashMap::new() })
            }
        };
        let opened = in_time("channel", confirming_channel(&link.connection)).await;
        let channel = match opened {
            Ok(channel) => channel,
            // Where it does not answer, another broker may.
            Err(error) => {
                *guard = None;
                return Err(error);
            }
        };
        link.channels.insert(exchange.to_owned(), channel.clone());
        Ok((link.number, channel))
    }
}

fn blocked() -> JobError {
    unavailable("the broker is short of memory or disk and takes no messages")
}

/// An announcement on its way to its lane.
pub(super) fn announcement(message: &Message) -> Outgoing {
    Outgoing {
        exchange: topology::JOBS.to_owned(),
        key: topology::lane_key(message.attributes.lane),
        properties: properties::properties(&message.attributes),
        body: message.body.clone(),
        mandatory: true,
    }
}

/// Something on its way to whoever is to hear of it.
pub(super) fn told(notice: Notice) -> Outgoing {
    use nightread_domain::{Attributes, Lane};
    let mut attributes = Attributes::for_lane(Lane::Ingest);
    attributes.message_id = Some(notice.id);
    attributes.correlation_id = notice.correlation_id;
    attributes.content_type = Some(notice.content_type.to_owned());
    let (exchange, mandatory) = match notice.audience {
        Audience::Listeners => (topology::RESULTS, false),
        Audience::Workers => (topology::JOBS, true),
    };
    Outgoing {
        exchange: exchange.to_owned(),
        key: notice.topic,
        properties: properties::properties(&attributes),
        body: notice.body,
        mandatory,
    }
}
