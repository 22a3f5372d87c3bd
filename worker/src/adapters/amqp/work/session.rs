//! The session loop: one connection, a consumer for each lane and one for the quarantine, and a merge of what they bring.
//!
//! While the valve is closed the session stands without consumers: what is in flight is settled over it, what was not begun
//! is given back. In this order: consumers cancelled, the ends of their streams awaited, then given back; under a
//! live consumer what goes back comes again at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, message::Delivery as Raw};
use nightread_domain::{Disposition, ErrorCode, JobError};
use rand::RngExt;
use tokio::time::Instant;

use super::settlement::delivery;
use super::shared::{Origin, SessionState, Shared};
use crate::adapters::amqp::backoff::Backoff;
use crate::adapters::amqp::connect::{classified, connect, forgiving, in_time, unavailable};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::version::BrokerVersion;

/// How long cancelled consumers may take to end. A session that ends for it has all its deliveries come again and counted, so a busy
/// broker is waited for; one that is gone ends its connection.
const CANCEL_PATIENCE: Duration = Duration::from_secs(20);

/// How long it takes at most to see that a session without consumers is broken.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs sessions until the shared token stops it, or the broker refuses the very first.
pub(super) async fn run(options: RabbitOptions, shared: Arc<Shared>) {
    let _done = shared.done.clone().drop_guard();
    let mut backoff = Backoff::new(options.longest_backoff);
    let mut stood = false;
    loop {
        let mut since = None;
        let result = session(&options, &shared, &mut since).await;
        shared.state.send_replace(SessionState::Down);
        shared.forget_unclaimed();
        stood |= since.is_some();
        let error = match result {
            Ok(()) => return shared.ended(Ok(())),
            Err(error) if error.code == ErrorCode::BrokerRejected && !stood => {
                return shared.ended(Err(error));
            }
            Err(error) => forgiving(error),
        };
        shared.has_trouble(Some(error.in_full()));
        if shared.stop.is_cancelled() {
            return shared.ended(Ok(()));
        }
        let most = backoff.after(since.map(|since: Instant| since.elapsed()));
        let wait = rand::rng().random_range(most / 2..=most);
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "no session with the broker; trying again");
        tokio::select! {
            () = shared.stop.cancelled() => return shared.ended(Ok(())),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One session; `since` is set when it first consumes. `Ok` when it was stopped and everything in flight is settled.
async fn session(
    options: &RabbitOptions,
    shared: &Arc<Shared>,
    since: &mut Option<Instant>,
) -> Result<(), JobError> {
    let opened = tokio::select! {
        () = shared.stop.cancelled() => return Ok(()),
        opened = open(options) => opened?,
    };
    let (connection, channels) = opened;
    shared.epoch.fetch_add(1, Ordering::AcqRel);
    shared.state.send_replace(SessionState::Up);
    for turn in 0.. {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            () = shared.courier.valve().opened() => {}
            () = ended(&connection, &channels) => return Err(unavailable("the broker went away during a pause")),
        }
        let mut consumers = in_time("consumers", consume(&channels, turn)).await?;
        since.get_or_insert_with(Instant::now);
        shared.has_trouble(None);
        shared.state.send_replace(SessionState::Consuming);
        tracing::info!("consuming from the broker");
        if let Some(error) = take_in(&mut consumers, shared).await {
            return Err(error);
        }
        shared.state.send_replace(SessionState::Up);
        cancel(&channels, turn, &mut consumers, shared).await?;
        give_back_unclaimed(shared);
    }
    shared.courier.hurry();
    shared.ended(Ok(()));
    while !shared.idle() {
        let changed = shared.changed.notified();
        if shared.idle() {
            break;
        }
        tokio::select! {
            () = changed => {}
            // A settlement may have been noted between two looks.
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        if !connection.status().connected() {
            return Err(unavailable("the broker went away during the drain"));
        }
    }
    // Saying goodbye makes the broker read every acknowledgement before it.
    let _ = tokio::time::timeout(Duration::from_secs(5), connection.close(200, "drained".into())).await;
    Ok(())
}

/// Takes in what consumers bring, until the worker stops or the valve closes; an error when a consumer fails.
async fn take_in(consumers: &mut Consumers, shared: &Shared) -> Option<JobError> {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return None,
            () = shared.courier.valve().closed() => return None,
            next = consumers.next() => match next {
                Some((source, Some(Ok(raw)))) => shared.arrived(source, raw),
                Some((source, Some(Err(error)))) => {
                    return Some(classified(&format!("the consumer of {} failed", source.queue()), error));
                }
                // Its queue was deleted or moved: a lane that nobody serves is not to look like an empty one.
                Some((source, None)) => {
                    return Some(unavailable(format!("the broker cancelled the consumer of {}", source.queue())));
                }
                None => return Some(unavailable("the consumers were cancelled")),
            },
        }
    }
}

/// Cancels every consumer and takes in what was on its way: it still comes out of the streams, which then end.
async fn cancel(
    channels: &Channels,
    turn: u64,
    consumers: &mut Consumers,
    shared: &Shared,
) -> Result<(), JobError> {
    let cancelled = async {
        // By reference: a channel closes when its last handle is dropped, and settlements need it until the end.
        for (source, channel) in channels {
            let tag = consumer_tag(*source, turn);
            let cancelled = channel.basic_cancel(tag.into(), BasicCancelOptions::default()).await;
            cancelled.map_err(|error| unavailable("a consumer was not cancelled").with_source(error))?;
        }
        while let Some((source, next)) = consumers.next().await {
            if let Some(next) = next {
                let message = next.map_err(|error| {
                    unavailable("a consumer failed while it was cancelled").with_source(error)
                })?;
                shared.arrived(source, message);
            }
        }
        Ok(())
    };
    match tokio::time::timeout(CANCEL_PATIENCE, cancelled).await {
        Ok(cancelled) => cancelled,
        Err(_) => Err(unavailable("the consumers were not cancelled in time")),
    }
}

/// Ends when connection or channels do. Without consumers nothing else tells.
async fn ended(connection: &Connection, channels: &Channels) {
    while connection.status().connected() && channels.iter().all(|(_, channel)| channel.status().connected())
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

type Channels = Vec<(Origin, Channel)>;
/// Each stream says when it ends: among others that would not be noticed.
type Consumers = SelectAll<BoxStream<'static, (Origin, Option<lapin::Result<Raw>>)>>;

async fn open(options: &RabbitOptions) -> Result<(Connection, Channels), JobError> {
    if options.consumer_timeout.volumes > options.consumer_timeout.ingest {
        BrokerVersion::check(options).await?;
    }
    let connection = connect(options, "consume").await?;
    let channels = in_time("channels", channels(&connection, options)).await?;
    Ok((connection, channels))
}

fn no_channel(error: lapin::Error) -> JobError {
    classified("the broker opens no channel", error)
}

async fn channels(connection: &Connection, options: &RabbitOptions) -> Result<Channels, JobError> {
    let shares = options.shares();
    let mut channels = Vec::new();
    for source in Origin::asked_for(options) {
        let prefetch = match source {
            Origin::Lane(lane) => shares.prefetch(lane),
            Origin::Quarantine => 1,
            Origin::Deliveries => u16::try_from(options.permits).unwrap_or(u16::MAX),
        };
        let channel = connection.create_channel().await.map_err(no_channel)?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(no_channel)?;
        channels.push((source, channel));
    }
    Ok(channels)
}

/// Another one for each turn: RabbitMQ before 3.10.9 takes what was on its way to a cancelled consumer for a message that the next
/// one of the same tag lacks, and its channel crashes over it (<https://github.com/rabbitmq/rabbitmq-server/issues/5927>).
fn consumer_tag(source: Origin, turn: u64) -> String {
    format!("{}.{turn}", source.queue())
}

async fn consume(channels: &Channels, turn: u64) -> Result<Consumers, JobError> {
    let mut consumers = SelectAll::new();
    for (source, channel) in channels {
        let (source, queue) = (*source, source.queue());
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(
                queue.as_str().into(),
                consumer_tag(source, turn).into(),
                options,
                FieldTable::default(),
            )
            .await
            .map_err(|error| classified(&format!("cannot consume from {queue}"), error))?;
        let brought = consumer.map(move |raw| (source, Some(raw)));
        consumers.push(brought.chain(futures::stream::iter([(source, None)])).boxed());
    }
    Ok(consumers)
}

/// Returns what was not begun, so that nothing is quarantined for it. What must be published for that waits until it can.
fn give_back_unclaimed(shared: &Arc<Shared>) {
    // The last first: what goes back goes to the front of its queue.
    for taken in shared.unclaimed().into_iter().rev() {
        let settlement = delivery(taken, shared).settlement;
        tokio::spawn(async move {
            if let Err(error) = settlement.settle(Disposition::Return).await {
                tracing::debug!(%error, "a delivery that was not begun was not given back");
            }
        });
    }
}
