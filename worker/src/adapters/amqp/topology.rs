//! Exchanges and queues, by name. Declared once by `nightread topology`; workers only check that they are there.
//!
//! ```text
//! nightread (topic) ── job.ingest.# ─▶ nightread.jobs.ingest ─┐ x-delivery-limit 50
//!                   ── job.bulk.#   ─▶ nightread.jobs.bulk   ─┼─▶ nightread.dead (fanout) ─▶ nightread.jobs.dead
//!                   ── job.volumes.# ─▶ nightread.jobs.volumes ┘
//! nightread.delay (headers) ── delay: 5s|30s|5m ─▶ nightread.jobs.delay.* ── after its time ─▶ nightread
//! nightread.quarantine (fanout) ─▶ nightread.jobs.quarantine ─ as the lanes ─▶ nightread.dead
//! nightread (topic) ── parked.# ─▶ nightread.jobs.parked ── brought back by `nightread announce` ─▶ nightread
//! nightread.results (topic) ── report.# ─▶ nightread.reports
//! nightread (topic) ── delivery.# ─▶ nightread.deliveries ─▶ nightread.deliveries.dead (fanout) ─▶ nightread.deliveries.dead
//! ```
//!
//! A message keeps its routing key through delay, quarantine and death, so it always finds back to its lane. The key of an
//! earlier version (`former`) leads into its lane too.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use nightread_domain::{ErrorCode, JobError, Lane, Stage};

use super::connect::{classified, connect};
use super::former;
pub use super::names::*;
use super::options::RabbitOptions;
use super::version::BrokerVersion;
use nightread_domain::retry::Delay;

/// A safety net only: redeliveries of drains, evictions and kills count too.
const DELIVERY_LIMIT: i64 = 50;

/// Looking at dead letters hands them out and back. RabbitMQ 4 drops a message at its twentieth look by default.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// A little longer than what a reader wants to know; nobody takes reports off, so they go by themselves.
const REPORTS_TTL: Duration = Duration::from_mins(20);
/// Of some two hundred workers; the oldest go first.
const REPORTS_LENGTH: i64 = 10_000;

/// The key under which a lane's announcements are published; `job.<lane>.<anything>` goes there too.
pub fn lane_key(lane: Lane) -> String {
    format!("job.{}", lane.as_str())
}

/// The lane that a routing key names.
pub fn lane_of_key(key: &str) -> Option<Lane> {
    let lane = Lane::ALL.into_iter().find(|lane| is_under(key, &lane_key(*lane)));
    lane.or_else(|| is_under(key, FORMER_KEY).then_some(FORMER_LANE))
}

/// Whether a routing key leads to the deliveries.
pub(super) fn is_of_delivery(key: &str) -> bool {
    is_under(key, DELIVERY_KEY)
}

fn is_under(key: &str, own: &str) -> bool {
    key.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every queue, in the order in which it is declared.
pub fn queues() -> Vec<String> {
    layout().into_iter().map(|(queue, _)| queue).collect()
}

/// Every queue with its arguments, in the order in which it is declared.
pub(super) fn layout() -> Vec<(String, FieldTable)> {
    let aside = [
        (DEAD_QUEUE.to_owned(), dead_arguments()),
        (QUARANTINE_QUEUE.to_owned(), lane_arguments(DEAD)),
        (REPORTS.to_owned(), reports_arguments()),
        (PARKED.to_owned(), dead_arguments()),
        (DELIVERIES_DEAD.to_owned(), dead_arguments()),
        (DELIVERIES.to_owned(), lane_arguments(DELIVERIES_DEAD)),
    ];
    let lanes = Lane::ALL.into_iter().map(|lane| (lane_queue(lane), lane_arguments(DEAD)));
    let delays = Delay::ALL.into_iter().map(|delay| (delay_queue(delay), delay_arguments(delay)));
    aside.into_iter().chain(lanes).chain(delays).collect()
}

/// What leads from an exchange into a queue.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub queue: String,
    pub exchange: &'static str,
    pub key: String,
    pub arguments: FieldTable,
}

impl Binding {
    fn plain(queue: String, exchange: &'static str, key: &str) -> Self {
        Self { queue, exchange, key: key.to_owned(), arguments: FieldTable::default() }
    }
}

pub(super) fn bindings() -> Vec<Binding> {
    let aside = [
        Binding::plain(DEAD_QUEUE.to_owned(), DEAD, ""),
        Binding::plain(QUARANTINE_QUEUE.to_owned(), QUARANTINE, ""),
        Binding::plain(REPORTS.to_owned(), RESULTS, "report.#"),
        Binding::plain(PARKED.to_owned(), JOBS, &format!("{PARKED_KEY}.#")),
        Binding::plain(DELIVERIES_DEAD.to_owned(), DELIVERIES_DEAD, ""),
        Binding::plain(DELIVERIES.to_owned(), JOBS, &format!("{DELIVERY_KEY}.#")),
        // An announcement without a lane is an arriving image.
        Binding::plain(lane_queue(Lane::Ingest), JOBS, "job"),
        Binding::plain(lane_queue(FORMER_LANE), JOBS, FORMER_BINDING),
    ];
    let lanes = Lane::ALL
        .into_iter()
        .map(|lane| Binding::plain(lane_queue(lane), JOBS, &format!("{}.#", lane_key(lane))));
    let delays = Delay::ALL.into_iter().map(|delay| Binding {
        arguments: table([("x-match", text("all")), (DELAY_HEADER, text(delay.as_str()))]),
        ..Binding::plain(delay_queue(delay), DELAY, "")
    });
    aside.into_iter().chain(lanes).chain(delays).collect()
}

/// Declares everything; safe to repeat. `broker_rejected` when something stands there with other arguments, or
/// when the broker is too old.
pub async fn declare(options: &RabbitOptions) -> Result<BrokerVersion, JobError> {
    let version = BrokerVersion::check(options).await?;
    let connection = connect(options, "topology").await?;
    let channel = channel(&connection).await?;
    for (exchange, kind) in exchanges() {
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared = channel.exchange_declare(exchange.into(), kind, durable, FieldTable::default()).await;
        declared.map_err(|error| classified(&format!("cannot declare exchange {exchange}"), error))?;
    }
    for (queue, arguments) in layout() {
        declare_queue(&channel, &queue, arguments).await?;
    }
    for Binding { queue, exchange, key, arguments } in bindings() {
        bind(&channel, &queue, exchange, &key, arguments).await?;
    }
    former::retire(&connection).await?;
    close(&connection).await;
    Ok(version)
}

/// Checks that everything is there by name, changing nothing: arguments, bindings and policies only the
/// management plug-in can tell. `broker_rejected` names what is missing.
pub async fn check(options: &RabbitOptions) -> Result<BrokerVersion, JobError> {
    let version = BrokerVersion::check(options).await?;
    let connection = connect(options, "topology check").await?;
    let mut missing = Vec::new();
    for (exchange, kind) in exchanges() {
        // A failed passive declaration closes its channel, so each has its own.
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let channel = channel(&connection).await?;
        let found = channel.exchange_declare(exchange.into(), kind, passive, FieldTable::default()).await;
        note(&mut missing, "exchange", exchange, found)?;
    }
    for queue in queues() {
        let channel = channel(&connection).await?;
        note(&mut missing, "queue", &queue, passive(&channel, &queue).await.map(drop))?;
    }
    close(&connection).await;
    if missing.is_empty() {
        return Ok(version);
    }
    Err(JobError::new(
        Stage::Start,
        ErrorCode::BrokerRejected,
        format!("the broker lacks {}; `nightread topology` declares them", missing.join(", ")),
    ))
}

/// Messages ready in a queue.
pub async fn depth(channel: &Channel, queue: &str) -> Result<u32, JobError> {
    let found = passive(channel, queue).await;
    found.map(|queue| queue.message_count()).map_err(|error| classified(&format!("no queue {queue}"), error))
}

/// Consumers of a queue, those too whose connection the broker does not yet know to be gone.
pub async fn consumers(channel: &Channel, queue: &str) -> Result<u32, JobError> {
    let found = passive(channel, queue).await;
    found.map(|queue| queue.consumer_count()).map_err(|error| classified(&format!("no queue {queue}"), error))
}

fn note(missing: &mut Vec<String>, kind: &str, name: &str, found: lapin::Result<()>) -> Result<(), JobError> {
    match found.map_err(|error| classified(&format!("cannot check {kind} {name}"), error)) {
        Ok(()) => Ok(()),
        Err(error) if error.code == ErrorCode::BrokerRejected => {
            missing.push(format!("{kind} {name}"));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(super) fn exchanges() -> [(&'static str, ExchangeKind); 6] {
    [
        (JOBS, ExchangeKind::Topic),
        (DEAD, ExchangeKind::Fanout),
        (QUARANTINE, ExchangeKind::Fanout),
        (DELAY, ExchangeKind::Headers),
        (RESULTS, ExchangeKind::Topic),
        (DELIVERIES_DEAD, ExchangeKind::Fanout),
    ]
}

fn lane_arguments(dead: &str) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(dead)),
        ("x-dead-letter-strategy", text("at-least-once")),
        // At-least-once dead-lettering falls back silently to at-most-once under any other overflow.
        ("x-overflow", text("reject-publish")),
    ])
}

fn delay_arguments(delay: Delay) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-message-ttl", AMQPValue::LongLongInt(delay.length().as_millis() as i64)),
        ("x-dead-letter-exchange", text(JOBS)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

fn dead_arguments() -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DEAD_DELIVERY_LIMIT)),
    ])
}

fn reports_arguments() -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        // A second reader waits until the first has given back what it read.
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-message-ttl", AMQPValue::LongLongInt(REPORTS_TTL.as_millis() as i64)),
        ("x-max-length", AMQPValue::LongLongInt(REPORTS_LENGTH)),
        ("x-delivery-limit", AMQPValue::LongLongInt(DEAD_DELIVERY_LIMIT)),
    ])
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table<const N: usize>(entries: [(&'static str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

async fn passive(channel: &Channel, queue: &str) -> lapin::Result<lapin::Queue> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await
}

async fn declare_queue(channel: &Channel, queue: &str, arguments: FieldTable) -> Result<(), JobError> {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), durable, arguments).await;
    declared.map(drop).map_err(|error| classified(&format!("cannot declare queue {queue}"), error))
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
    arguments: FieldTable,
) -> Result<(), JobError> {
    let bound = channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            ShortString::from(key),
            QueueBindOptions::default(),
            arguments,
        )
        .await;
    bound.map_err(|error| classified(&format!("cannot bind queue {queue}"), error))
}

async fn channel(connection: &Connection) -> Result<Channel, JobError> {
    connection.create_channel().await.map_err(|error| classified("the broker opens no channel", error))
}

async fn close(connection: &Connection) {
    // The work is done; a broker that does not say goodbye changes nothing.
    let _ = connection.close(200, "done".into()).await;
}
