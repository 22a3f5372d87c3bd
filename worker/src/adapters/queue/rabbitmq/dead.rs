//! The dead letters: looked at without being taken, and sent back into their lanes.

use bytes::Bytes;
use lapin::message::Delivery as Raw;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::AMQPValue;
use lapin::{Channel, Connection};
use nightread_domain::{ErrorCode, JobError, Lane, Message, Stage};

use super::connect::{classified, connect};
use super::publisher::{Outgoing, Publisher};
use super::{RabbitOptions, properties, topology};

/// One dead letter, as it lies there.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub message: Message,
    /// `worker_died` also for what the broker itself dead-lettered at its delivery limit.
    pub code: ErrorCode,
    pub reason: Option<String>,
    pub stage: Option<Stage>,
    /// Seconds since 1970, when we dead-lettered it.
    pub dead_at: Option<u64>,
}

/// What a redrive did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    pub sent: u32,
    pub kept: u32,
}

/// A look at the dead-letter queue.
#[derive(Debug)]
pub struct DeadLetters {
    connection: Connection,
    channel: Channel,
}

impl DeadLetters {
    pub async fn open(options: &RabbitOptions) -> Result<Self, JobError> {
        let connection = connect(options, "dead letters").await?;
        let channel = connection
            .create_channel()
            .await
            .map_err(|error| classified("the broker opens no channel", error))?;
        Ok(Self { connection, channel })
    }

    pub async fn count(&self) -> Result<u32, JobError> {
        topology::depth(&self.channel, topology::DEAD_QUEUE).await
    }

    /// The oldest letters, at most `limit`; all of them stay.
    pub async fn peek(&self, limit: usize) -> Result<Vec<DeadLetter>, JobError> {
        let mut held = Vec::new();
        while held.len() < limit {
            let Some(raw) = self.get().await? else { break };
            held.push(raw);
        }
        let letters = held.iter().map(letter).collect();
        for raw in held {
            put_back(&raw).await?;
        }
        Ok(letters)
    }

    /// Sends the chosen ones of the oldest `limit` back into their lanes as new work: attempts begin at 0, and a
    /// failed-document is read again. Each is confirmed before it leaves the dead letters.
    pub async fn redrive(
        &self,
        publisher: &Publisher,
        limit: usize,
        chosen: impl Fn(&DeadLetter) -> bool,
    ) -> Result<Redriven, JobError> {
        let mut done = Redriven::default();
        let mut kept = Vec::new();
        while (done.sent as usize) + kept.len() < limit {
            let Some(raw) = self.get().await? else { break };
            let letter = letter(&raw);
            if !chosen(&letter) {
                kept.push(raw);
                continue;
            }
            let copy = properties::without(
                properties::copied(&raw.properties),
                &[properties::ERROR_CODE, properties::ERROR_MESSAGE, properties::STAGE, properties::DEAD_AT],
            );
            let copy = properties::with(
                copy,
                [
                    (properties::ATTEMPT, AMQPValue::LongUInt(0)),
                    (properties::REDRIVEN, AMQPValue::Boolean(true)),
                ],
            );
            let outgoing = Outgoing {
                exchange: topology::JOBS,
                key: topology::lane_key(letter.message.attributes.lane),
                properties: copy,
                body: letter.message.body,
                mandatory: true,
            };
            publisher.publish(&outgoing).await?;
            let acked = raw.ack(BasicAckOptions::default()).await;
            acked.map_err(|error| classified("a dead letter was not taken off", error))?;
            done.sent += 1;
        }
        done.kept = kept.len() as u32;
        for raw in kept {
            put_back(&raw).await?;
        }
        Ok(done)
    }

    /// Ends the look.
    pub async fn close(self) {
        let _ = self.connection.close(200, "done".into()).await;
    }

    async fn get(&self) -> Result<Option<Raw>, JobError> {
        let got = self.channel.basic_get(topology::DEAD_QUEUE.into(), BasicGetOptions::default()).await;
        got.map(|got| got.map(|got| got.delivery))
            .map_err(|error| classified("cannot look at the dead letters", error))
    }
}

async fn put_back(raw: &Raw) -> Result<(), JobError> {
    let back = raw.nack(BasicNackOptions { requeue: true, ..Default::default() }).await;
    back.map(drop).map_err(|error| classified("a dead letter was not put back", error))
}

fn letter(raw: &Raw) -> DeadLetter {
    let header = |name: &str| raw.properties.headers().as_ref().and_then(|headers| headers.inner().get(name));
    // Its routing key still names the lane, whoever dead-lettered it.
    let lane = topology::lane_of_key(raw.routing_key.as_str()).unwrap_or(Lane::Ingest);
    let (code, reason, stage) = properties::death(&raw.properties);
    let dead_at = match header(properties::DEAD_AT) {
        Some(AMQPValue::Timestamp(at)) => Some(*at),
        _ => None,
    };
    let message = Message {
        body: Bytes::from(raw.data.clone()),
        attributes: properties::attributes(lane, &raw.properties),
    };
    DeadLetter { message, code, reason, stage, dead_at }
}
