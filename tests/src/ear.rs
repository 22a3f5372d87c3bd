//! Somebody who listens to results, in a queue that survives everything.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::topology;
use serde_json::Value;

use crate::rabbit::Observer;

/// The queue.
pub const EAR: &str = "ear";

/// Listens to every result from now on.
pub async fn listen(observer: &Observer) {
    listen_with_room(observer, None).await;
}

/// The same with a queue that refuses more than so many events.
pub async fn listen_with_room(observer: &Observer, room: Option<i64>) {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    if let Some(room) = room {
        quorum.insert("x-max-length".into(), AMQPValue::LongLongInt(room));
        quorum.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    }
    observer.channel().queue_declare(EAR.into(), durable, quorum).await.expect("an ear");
    bind(observer).await;
}

/// Binds the queue to the exchange of results, which may have been declared anew.
pub async fn bind(observer: &Observer) {
    let (exchange, key) = (topology::RESULTS.into(), "result.#".into());
    let bound = observer.channel().queue_bind(
        EAR.into(),
        exchange,
        key,
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("bound");
}

/// Every event that was told since this was asked for last.
pub async fn heard(observer: &Observer) -> Vec<Value> {
    let events = observer.drain(EAR).await;
    events.iter().map(|event| serde_json::from_slice(&event.data).expect("JSON")).collect()
}

/// The document that an event tells of: its place (`container/name`), and when it was read.
pub fn told(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&event["data"]["result"]), text(&event["time"]))
}
