//! What a login may consume and publish, asked so that nothing is taken, published or changed.
//!
//! The broker looks at rights before it looks at anything else. So each right is asked for by a request that fails for
//! another reason where the right is there: consuming with a priority that is no number, and taking off a binding from an
//! exchange that is nowhere.

use lapin::options::{BasicConsumeOptions, BasicQosOptions, ExchangeUnbindOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind};
use nightread_domain::{ErrorCode, JobError, Lane, Stage};

use crate::adapters::amqp::connect::{classified, connect};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::topology;

/// Names nothing.
const NOWHERE: &str = "nightread-check";

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// What a command does with the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Queues that are consumed from.
    pub consume: Vec<String>,
    /// Exchanges that are published to.
    pub publish: Vec<&'static str>,
}

impl Rights {
    /// A worker takes from the lanes, and says what became of it.
    pub fn of_a_worker() -> Self {
        let lanes = Lane::ALL.into_iter().map(topology::lane_queue);
        Self {
            consume: lanes.chain([topology::QUARANTINE_QUEUE.to_owned()]).collect(),
            publish: topology::exchanges()
                .into_iter()
                .map(|(exchange, _)| exchange)
                .filter(|exchange| *exchange != topology::DELIVERIES_DEAD)
                .collect(),
        }
    }

    /// Whoever delivers takes from one queue, puts off, and gives up.
    pub fn of_who_delivers() -> Self {
        Self {
            consume: vec![topology::DELIVERIES.to_owned()],
            publish: vec![topology::JOBS, topology::DELAY, topology::DELIVERIES_DEAD],
        }
    }

    pub fn of_who_announces() -> Self {
        Self { consume: Vec::new(), publish: vec![topology::JOBS] }
    }

    /// Parking takes out of the lane, and bringing back out of what is parked.
    pub fn of_who_parks() -> Self {
        let consume = vec![topology::lane_queue(Lane::Bulk), topology::PARKED.to_owned()];
        Self { consume, publish: vec![topology::JOBS] }
    }

    /// Series are announced; a file that belongs to none is a dead letter.
    pub fn of_who_assembles() -> Self {
        Self { consume: Vec::new(), publish: vec![topology::DEAD, topology::JOBS] }
    }

    /// Reports of work are read, and given back; what was concluded is told.
    pub fn of_the_backlog() -> Self {
        Self { consume: vec![topology::REPORTS.to_owned()], publish: vec![topology::RESULTS] }
    }

    /// With those of another.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.consume.extend(other.consume);
        self.publish.extend(other.publish);
        self.consume.sort();
        self.consume.dedup();
        self.publish.sort_unstable();
        self.publish.dedup();
        self
    }

    /// `broker_rejected` names each right that is missing. What is asked for must be there.
    pub async fn check(&self, options: &RabbitOptions) -> Result<(), JobError> {
        let connection = connect(options, "check of rights").await?;
        let mut missing = Vec::new();
        for queue in &self.consume {
            if !may_consume(&connection, queue).await? {
                missing.push(format!("consume from queue {queue}"));
            }
        }
        for exchange in &self.publish {
            if !may_publish(&connection, exchange).await? {
                missing.push(format!("publish to exchange {exchange}"));
            }
        }
        // The work is done; a broker that does not say goodbye changes nothing.
        let _ = connection.close(200, "done".into()).await;
        if missing.is_empty() {
            return Ok(());
        }
        let text =
            format!("this login may not {}; `rabbitmqctl set_permissions` grants it", missing.join(", "));
        Err(JobError::new(Stage::Start, ErrorCode::BrokerRejected, text))
    }
}

/// Each question has a channel of its own: its answer closes it.
async fn channel(connection: &Connection) -> Result<Channel, JobError> {
    connection.create_channel().await.map_err(|error| classified("the broker opens no channel", error))
}

async fn may_consume(connection: &Connection, queue: &str) -> Result<bool, JobError> {
    let channel = channel(connection).await?;
    let what = format!("cannot ask for the right to consume from {queue}");
    // Should a broker take the priority for one after all, no more than this comes into hand.
    channel.basic_qos(1, BasicQosOptions::default()).await.map_err(|error| classified(&what, error))?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), AMQPValue::LongString("none".into()));
    let asked =
        channel.basic_consume(queue.into(), NOWHERE.into(), BasicConsumeOptions::default(), arguments).await;
    match asked.map(drop) {
        Err(error) if refusal(&error).is_some_and(|(id, _)| id == ACCESS_REFUSED) => Ok(false),
        Err(error) if refusal(&error).is_some_and(|(id, _)| id == PRECONDITION_FAILED) => Ok(true),
        Err(error) => Err(classified(&what, error)),
        Ok(()) => {
            let _ = channel.close(200, "done".into()).await;
            Ok(true)
        }
    }
}

async fn may_publish(connection: &Connection, exchange: &str) -> Result<bool, JobError> {
    let channel = channel(connection).await?;
    let asked = channel
        .exchange_unbind(
            exchange.into(),
            NOWHERE.into(),
            "".into(),
            ExchangeUnbindOptions::default(),
            FieldTable::default(),
        )
        .await;
    let Err(error) = asked else { return Ok(true) };
    match refusal(&error) {
        // The right to write here is looked at first, then the one to read there.
        Some((ACCESS_REFUSED, said)) => Ok(!said.contains(&format!("'{exchange}'"))),
        Some((NOT_FOUND, _)) => Ok(true),
        _ => Err(classified(&format!("cannot ask for the right to publish to {exchange}"), error)),
    }
}

/// The number and the words of the broker's refusal.
fn refusal(error: &lapin::Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => Some((refusal.get_id(), refusal.get_message().to_string())),
        _ => None,
    }
}
