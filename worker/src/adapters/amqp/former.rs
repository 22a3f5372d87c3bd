//! Names of an earlier version that messages may still bear. Scans had a lane `fmri` before volumes had one.
//!
//! The key leads into the new lane for good: a message keeps its key through delay, suspicion and death, and an older
//! announcer gives no other. The queue is left as it is; nothing new goes into it.

use std::fmt;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind};
use nightread_domain::JobError;

use super::connect::{classified, connect};
use super::names::{FORMER_BINDING, FORMER_LANE, FORMER_QUEUE, JOBS, lane_queue};
use super::options::RabbitOptions;

const NOT_FOUND: u16 = 404;

/// The former queue, where the broker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// Messages ready: what a worker of the earlier version has in hand is not among them.
    pub messages: u32,
    pub consumers: u32,
}

impl fmt::Display for Former {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, consumers } = self;
        let lane = lane_queue(FORMER_LANE);
        match (messages, consumers) {
            (0, 0) => write!(
                f,
                "queue {FORMER_QUEUE} of an earlier version is empty: `rabbitmqctl delete_queue {FORMER_QUEUE}` takes it away"
            ),
            (0, _) => write!(
                f,
                "queue {FORMER_QUEUE} of an earlier version: nothing is ready, and {consumers} workers of that version \
                 may have studies of it in hand"
            ),
            _ => write!(
                f,
                "queue {FORMER_QUEUE} of an earlier version holds {messages} messages, and {consumers} workers of that \
                 version take from it: let them, or move the messages to {lane} by RabbitMQ's shovel, as OPERATIONS says. \
                 This version reads nothing from it"
            ),
        }
    }
}

/// What lies in the former queue; `None` where the broker has none.
pub async fn former(options: &RabbitOptions) -> Result<Option<Former>, JobError> {
    let connection = connect(options, "topology").await?;
    let former = look(&connection).await;
    // The work is done; a broker that does not say goodbye changes nothing.
    let _ = connection.close(200, "done".into()).await;
    former
}

/// Takes the former queue's binding away. The new lane must have its own for the key by then: for a moment a message may
/// come by both ways, and never by none.
pub(super) async fn retire(connection: &Connection) -> Result<(), JobError> {
    if look(connection).await?.is_none() {
        return Ok(());
    }
    let channel = channel(connection).await?;
    let (queue, key) = (FORMER_QUEUE.into(), FORMER_BINDING.into());
    let unbound = channel.queue_unbind(queue, JOBS.into(), key, FieldTable::default()).await;
    unbound.map_err(|error| classified(&format!("cannot unbind queue {FORMER_QUEUE}"), error))
}

/// On a channel of its own, because a queue that is missing closes it.
async fn look(connection: &Connection) -> Result<Option<Former>, JobError> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let found =
        channel(connection).await?.queue_declare(FORMER_QUEUE.into(), options, FieldTable::default()).await;
    match found {
        Ok(queue) => Ok(Some(Former { messages: queue.message_count(), consumers: queue.consumer_count() })),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == NOT_FOUND => Ok(None),
            _ => Err(classified(&format!("cannot look at queue {FORMER_QUEUE}"), error)),
        },
    }
}

async fn channel(connection: &Connection) -> Result<Channel, JobError> {
    connection.create_channel().await.map_err(|error| classified("the broker opens no channel", error))
}
