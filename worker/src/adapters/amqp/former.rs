//! Names of an earlier version that messages may still bear. Scans had a lane `fmri` before volumes had one, and the
//! quarantine had another name.
//!
//! The lane's key leads into the new lane for good: a message keeps its key through delay, quarantine and death, and an older
//! announcer gives no other. The queues are left as they are; nothing new goes into them.

use std::fmt;

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind};
use nightread_domain::JobError;

use super::connect::{classified, connect};
use super::names::{FORMER_QUEUES, FormerQueue};
use super::options::RabbitOptions;

const NOT_FOUND: u16 = 404;

/// A former queue that the broker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    pub queue: FormerQueue,
    /// Messages ready: what a worker of the earlier version has in flight is not among them.
    pub messages: u32,
    pub consumers: u32,
}

impl fmt::Display for Former {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue: FormerQueue { queue, heir, way, .. }, messages, consumers } = self;
        match (messages, consumers) {
            (0, 0) => write!(
                f,
                "queue {queue} of an earlier version is empty: `rabbitmqctl delete_queue {queue}` takes it away"
            ),
            (0, _) => write!(
                f,
                "queue {queue} of an earlier version: nothing is ready, and {consumers} workers of that version may have \
                 studies of it in flight"
            ),
            _ => write!(
                f,
                "queue {queue} of an earlier version holds {messages} messages, and {consumers} workers of that version \
                 take from it: let them, or move the messages to {heir} by RabbitMQ's shovel, through exchange {way}. This \
                 version reads nothing from it"
            ),
        }
    }
}

/// What lies in former queues; nothing where the broker has none.
pub async fn former(options: &RabbitOptions) -> Result<Vec<Former>, JobError> {
    let connection = connect(options, "topology").await?;
    let found = all(&connection).await;
    // The work is done; a broker that does not say goodbye changes nothing.
    let _ = connection.close(200, "done".into()).await;
    found
}

async fn all(connection: &Connection) -> Result<Vec<Former>, JobError> {
    let mut found = Vec::new();
    for queue in FORMER_QUEUES {
        found.extend(look(connection, queue).await?);
    }
    Ok(found)
}

/// Leads what went into former queues into those that are read now. For a moment a message may come by both ways, and never by
/// none.
pub(super) async fn retire(connection: &Connection) -> Result<(), JobError> {
    for former in FORMER_QUEUES {
        if look(connection, former).await?.is_none() {
            continue;
        }
        let FormerQueue { queue, exchange, key, heir, .. } = former;
        let channel = channel(connection).await?;
        let bind = QueueBindOptions::default();
        let bound =
            channel.queue_bind(heir.into(), exchange.into(), key.into(), bind, FieldTable::default()).await;
        bound.map_err(|error| classified(&format!("cannot bind queue {heir}"), error))?;
        let unbound =
            channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default()).await;
        unbound.map_err(|error| classified(&format!("cannot unbind queue {queue}"), error))?;
    }
    Ok(())
}

/// On a channel of its own, because a queue that is missing closes it.
async fn look(connection: &Connection, queue: FormerQueue) -> Result<Option<Former>, JobError> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let name = queue.queue;
    let found = channel(connection).await?.queue_declare(name.into(), options, FieldTable::default()).await;
    match found {
        Ok(found) => {
            Ok(Some(Former { queue, messages: found.message_count(), consumers: found.consumer_count() }))
        }
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == NOT_FOUND => Ok(None),
            _ => Err(classified(&format!("cannot look at queue {name}"), error)),
        },
    }
}

async fn channel(connection: &Connection) -> Result<Channel, JobError> {
    connection.create_channel().await.map_err(|error| classified("the broker opens no channel", error))
}
