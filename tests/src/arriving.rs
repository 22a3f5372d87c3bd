//! Results of studies that arrive one by one, and how long each takes from its announcement.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use serde_json::Value;

use crate::bench::Bench;
use crate::rabbit::connection;
use crate::wait;

/// Between two arrivals.
const PAUSE: Duration = Duration::from_millis(300);

/// The median and the 95th percentile.
pub(crate) fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.95))
}

/// Result events, as they come.
#[derive(Debug)]
pub(crate) struct Results {
    _connection: Connection,
    consumer: Consumer,
}

impl Results {
    pub(crate) async fn listen(url: &str) -> Self {
        let connection = connection(url).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        channel.queue_declare("ear".into(), options, FieldTable::default()).await.expect("a queue");
        let (exchange, key) = (topology::RESULTS.into(), "result.#".into());
        channel
            .queue_bind("ear".into(), exchange, key, QueueBindOptions::default(), FieldTable::default())
            .await
            .expect("bound");
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumer = channel
            .basic_consume("ear".into(), "".into(), options, FieldTable::default())
            .await
            .expect("consuming");
        Self { _connection: connection, consumer }
    }

    /// The source of the next one.
    pub(crate) async fn next(&mut self) -> String {
        let next = tokio::time::timeout(wait::patience(), self.consumer.next()).await;
        let delivery = next.expect("an event in time").expect("an event").expect("a session");
        let event: Value = serde_json::from_slice(&delivery.data).expect("JSON");
        event["data"]["source"].as_str().expect("a source").to_owned()
    }

    /// Time from the announcement of an image to the event of its result, and a pause after it.
    pub(crate) async fn of(&mut self, bench: &Bench, name: &str, image: Bytes) -> Duration {
        bench.upload(name, image).await;
        let started = Instant::now();
        bench.announce(Lane::Ingest, name).await;
        let source = format!("{}/{name}", bench.incoming);
        while self.next().await != source {}
        let time = started.elapsed();
        tokio::time::sleep(PAUSE).await;
        time
    }
}
