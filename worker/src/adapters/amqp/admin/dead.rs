//! The dead letters: looked at without being taken, sent back into their lanes, or thrown away.
//!
//! A sweep goes through the queue once, oldest first, and keeps nothing in memory but what it is asked to. Letters that
//! it only looked at stay unacknowledged at the broker until its channel closes, and go back then, also when this
//! process is killed. Each look counts against the dead-letter queue's own delivery limit of a million and against
//! nothing else: what is sent back into a lane is a new message.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::message::Delivery as Raw;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, BasicProperties, Channel, Connection, Consumer};
use nightread_domain::{ErrorCode, JobError, Lane, Message, Stage};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::timeout;

use crate::adapters::amqp::connect::{classified, connect, unavailable};
use crate::adapters::amqp::death::{Death, death};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::properties;
use crate::adapters::amqp::publisher::{Outgoing, Publisher};
use crate::adapters::amqp::topology;
use crate::flow::unix_now;

/// Redriven letters that wait for their confirmations at once.
const IN_FLIGHT: usize = 64;

/// Bytes that the broker may have on the way to us; how many letters that is, is learnt from their sizes.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
const FIRST_WINDOW: usize = 16;
const LARGEST_WINDOW: usize = 1024;

/// Without a letter for this long, the queue is asked whether there are any left: somebody else may take them too.
const QUIET: Duration = Duration::from_secs(3);

/// Hexadecimal digits of a letter's id.
const ID_DIGITS: usize = 12;

/// One dead letter, as it lies there.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub message: Message,
    /// Ours, or what the broker's reason means: `worker_died` for its delivery limit.
    pub code: ErrorCode,
    pub reason: Option<String>,
    pub stage: Option<Stage>,
    /// Seconds since 1970.
    pub dead_at: Option<u64>,
    /// Under which it was published.
    key: String,
    properties: BasicProperties,
}

impl DeadLetter {
    /// A name for this letter, made of what was announced: the same announcement has the same one at its next death.
    pub fn id(&self) -> String {
        let attributes = &self.message.attributes;
        let mut digest = Sha256::new();
        for text in [&attributes.message_id, &attributes.content_type] {
            digest.update(text.as_deref().unwrap_or_default());
            digest.update([0]);
        }
        for (name, value) in &attributes.cloud_event {
            digest.update(format!("{name}={value}\0"));
        }
        digest.update(&self.message.body);
        let mut id = hex::encode(digest.finalize());
        id.truncate(ID_DIGITS);
        id
    }

    /// Whether somebody who says this means this letter: its id, or the message id that its sender gave it.
    pub fn is_called(&self, name: &str) -> bool {
        self.message.attributes.message_id.as_deref() == Some(name) || self.id() == name
    }

    /// Headers as text, in their order; a stranger wrote most of them.
    pub fn headers(&self) -> Vec<(String, String)> {
        properties::shown(&self.properties)
    }
}

/// Whose letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pile {
    /// Studies that were given up.
    #[default]
    Jobs,
    /// Results that reached no archive.
    Deliveries,
}

impl Pile {
    /// The queue that they lie in.
    pub const fn queue(self) -> &'static str {
        match self {
            Self::Jobs => topology::DEAD_QUEUE,
            Self::Deliveries => topology::DELIVERIES_DEAD,
        }
    }
}

/// What is to become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It stays.
    Keep,
    /// It stays, and so do all that follow.
    Stop,
    /// Back into its lane as new work: attempts begin at 0, and a failed-document is read again.
    Redrive,
    /// Gone for good.
    Discard,
}

/// What a sweep did, also when it ended early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub seen: u32,
    pub redriven: u32,
    pub discarded: u32,
}

impl Swept {
    pub fn kept(&self) -> u32 {
        self.seen - self.redriven - self.discarded
    }
}

/// The dead-letter queue.
#[derive(Debug)]
pub struct DeadLetters {
    connection: Connection,
    pile: Pile,
}

impl DeadLetters {
    /// The studies that were given up.
    pub async fn open(options: &RabbitOptions) -> Result<Self, JobError> {
        Self::of(options, Pile::Jobs).await
    }

    pub async fn of(options: &RabbitOptions, pile: Pile) -> Result<Self, JobError> {
        Ok(Self { connection: connect(options, "dead letters").await?, pile })
    }

    /// Letters that nobody else looks at just now.
    pub async fn count(&self) -> Result<u32, JobError> {
        let channel = self.channel().await?;
        topology::depth(&channel, self.pile.queue()).await
    }

    /// Others who look at the letters just now, or did until a moment ago: what they hold, a sweep that begins now may
    /// not see.
    pub async fn others(&self) -> Result<u32, JobError> {
        let channel = self.channel().await?;
        topology::consumers(&channel, self.pile.queue()).await
    }

    /// The oldest letters, at most `limit`; all of them stay.
    pub async fn peek(&self, limit: usize) -> Result<Vec<DeadLetter>, JobError> {
        let mut letters = Vec::new();
        self.sweep(None, &mut Swept::default(), |letter| {
            if letters.len() == limit {
                return Handling::Stop;
            }
            letters.push(letter.clone());
            if letters.len() == limit { Handling::Stop } else { Handling::Keep }
        })
        .await?;
        Ok(letters)
    }

    /// Asks `judge` about every letter that is there now, oldest first, and does what it says. A redriven letter is
    /// confirmed in its lane before it leaves the dead letters, so a crash may double it and never loses it. Needs a
    /// `publisher` when something is redriven. `swept` tells what was done, also after an error.
    pub async fn sweep(
        &self,
        publisher: Option<&Publisher>,
        swept: &mut Swept,
        mut judge: impl FnMut(&DeadLetter) -> Handling,
    ) -> Result<(), JobError> {
        let channel = self.channel().await?;
        // What is redriven may die again at once: only what is there now is gone through.
        let there = topology::depth(&channel, self.pile.queue()).await?;
        let mut window = Window::open(&channel, self.pile.queue(), FIRST_WINDOW).await?;
        let mut settling = FuturesUnordered::new();
        let mut stopped = false;
        while !settling.is_empty() || (!stopped && swept.seen < there) {
            let may_take = !stopped && swept.seen < there && settling.len() < IN_FLIGHT;
            let taken = tokio::select! {
                Some(done) = settling.next(), if !settling.is_empty() => {
                    note(swept, done?);
                    continue;
                }
                taken = timeout(QUIET, window.consumer.next()), if may_take => taken,
            };
            let raw = match taken {
                Ok(Some(Ok(raw))) => raw,
                Ok(Some(Err(error))) => return Err(classified("cannot look at the dead letters", error)),
                Ok(None) => return Err(unavailable("the broker ended the look at the dead letters")),
                Err(_) => {
                    stopped = topology::depth(&channel, self.pile.queue()).await? == 0;
                    continue;
                }
            };
            swept.seen += 1;
            let (letter, acker) = letter(raw);
            window.bytes += letter.message.body.len();
            window.seen += 1;
            match judge(&letter) {
                Handling::Keep => window.held += 1,
                Handling::Stop => stopped = true,
                verdict => settling.push(settle(verdict, letter, acker, publisher)),
            }
            if window.held == window.size {
                window = window.next(&channel).await?;
            }
        }
        window.cancel(&channel).await?;
        // Tag 0 with `multiple`: everything that is still held.
        let all = BasicNackOptions { multiple: true, requeue: true };
        let back = channel.basic_nack(0, all).await;
        back.map_err(|error| classified("the dead letters were not put back", error))?;
        let closed = channel.close(200, "looked".into()).await;
        closed.map_err(|error| classified("the look at the dead letters did not end well", error))
    }

    /// Ends the look.
    pub async fn close(self) {
        let _ = self.connection.close(200, "done".into()).await;
    }

    async fn channel(&self) -> Result<Channel, JobError> {
        let opened = self.connection.create_channel().await;
        opened.map_err(|error| classified("the broker opens no channel", error))
    }
}

fn note(swept: &mut Swept, done: Handling) {
    match done {
        Handling::Redrive => swept.redriven += 1,
        Handling::Discard => swept.discarded += 1,
        Handling::Keep | Handling::Stop => {}
    }
}

fn cannot_look(error: lapin::Error) -> JobError {
    classified("cannot look at the dead letters", error)
}

/// A consumer that gets so many letters and no more. Letters that are kept fill it up; then the next one goes on
/// behind them. So the broker pushes only what there is room for, whatever the length of the queue.
struct Window {
    queue: &'static str,
    consumer: Consumer,
    size: usize,
    held: usize,
    seen: usize,
    bytes: usize,
}

impl Window {
    async fn open(channel: &Channel, queue: &'static str, size: usize) -> Result<Self, JobError> {
        let prefetch = u16::try_from(size).unwrap_or(u16::MAX);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(cannot_look)?;
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await
            .map_err(cannot_look)?;
        Ok(Self { queue, consumer, size, held: 0, seen: 0, bytes: 0 })
    }

    async fn next(self, channel: &Channel) -> Result<Self, JobError> {
        self.cancel(channel).await?;
        let mean = self.bytes / self.seen.max(1);
        let size = (WINDOW_BYTES / mean.max(1)).clamp(1, LARGEST_WINDOW).min(self.size * 4);
        Self::open(channel, self.queue, size).await
    }

    async fn cancel(&self, channel: &Channel) -> Result<(), JobError> {
        let ended = channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await;
        ended.map_err(|error| classified("the look at the dead letters did not end well", error))
    }
}

async fn settle(
    verdict: Handling,
    letter: DeadLetter,
    acker: Acker,
    publisher: Option<&Publisher>,
) -> Result<Handling, JobError> {
    if verdict == Handling::Redrive {
        let publisher = publisher.ok_or_else(|| {
            JobError::new(Stage::Settle, ErrorCode::Internal, "a redrive without a publisher")
        })?;
        publisher.publish(&revived(letter)).await?;
    }
    match acker.ack(BasicAckOptions::default()).await {
        Ok(true) => Ok(verdict),
        Ok(false) => Err(unavailable("a dead letter was not taken off")),
        Err(error) => Err(classified("a dead letter was not taken off", error)),
    }
}

/// The letter as new work.
fn revived(letter: DeadLetter) -> Outgoing {
    let copy = properties::without(
        properties::copied(&letter.properties),
        &[
            properties::ERROR_CODE,
            properties::ERROR_MESSAGE,
            properties::STAGE,
            properties::DEAD_AT,
            properties::REFUSED_SINCE,
        ],
    );
    let copy = properties::with(
        copy,
        [(properties::ATTEMPT, AMQPValue::LongUInt(0)), (properties::REDRIVEN, AMQPValue::Boolean(true))],
    )
    // It waits anew: the days that it lay here are not days that a worker was late.
    .with_timestamp(unix_now());
    let key = if topology::is_of_delivery(&letter.key) {
        letter.key
    } else {
        topology::lane_key(letter.message.attributes.lane)
    };
    Outgoing {
        exchange: topology::JOBS.to_owned(),
        key,
        properties: copy,
        body: letter.message.body,
        mandatory: true,
    }
}

fn letter(raw: Raw) -> (DeadLetter, Acker) {
    // Its routing key still names the lane, whoever dead-lettered it.
    let lane = topology::lane_of_key(raw.routing_key.as_str()).unwrap_or(Lane::Ingest);
    let Death { code, reason, stage, at } = death(&raw.properties);
    let attributes = properties::attributes(lane, false, &raw.properties);
    let message = Message { body: Bytes::from(raw.data), attributes };
    let key = raw.routing_key.as_str().to_owned();
    (DeadLetter { message, code, reason, stage, dead_at: at, key, properties: raw.properties }, raw.acker)
}
