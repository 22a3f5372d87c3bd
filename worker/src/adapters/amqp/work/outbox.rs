//! What a broker in trouble must still be told, kept with the results until it was. Any worker tells it.
//!
//! A record is one blob: a line of JSON, then the message's body. Its name is made of what it says, so that repeats fall
//! together. It is written before its delivery is acknowledged, and removed after the broker confirmed it, so that it is
//! told at least once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, JobError, Stage, WriteCondition};
use sha2::{Digest, Sha256};

use crate::adapters::amqp::publisher::Outgoing;
use crate::telemetry::metrics;

/// Where the records lie in the results container. No model's name begins so.
const PREFIX: &str = "_outbox/";

/// As large as any message that a broker would hand out.
const MAX_RECORD_BYTES: u64 = 256 << 20;

/// Between two looks for what other workers recorded: each costs a listing.
const BETWEEN_LOOKS: Duration = Duration::from_mins(1);

/// The records in one results container.
pub struct Outbox {
    store: Arc<dyn BlobStore>,
    container: String,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("container", &self.container).finish_non_exhaustive()
    }
}

impl Outbox {
    pub fn new(store: Arc<dyn BlobStore>, container: impl Into<String>) -> Self {
        Self { store, container: container.into() }
    }

    /// Durable when it returns.
    pub(super) async fn record(&self, outgoing: &Outgoing) -> Result<BlobRef, JobError> {
        let record = BlobRef::new(self.container.as_str(), name_of(outgoing))?;
        let body = encoded(outgoing)?;
        // One that is there already says the same.
        self.store.write(&record, body, &BTreeMap::new(), WriteCondition::IfAbsent).await?;
        Ok(record)
    }

    /// Those that lie there now.
    pub(super) async fn records(&self) -> Result<Vec<BlobRef>, JobError> {
        self.store.some_below(&self.container, PREFIX).await
    }

    /// `None` for one that is gone, and for what is no record: it stays where it is.
    pub(super) async fn read(&self, record: &BlobRef) -> Result<Option<Outgoing>, JobError> {
        let Some((body, _)) = self.store.read(record, MAX_RECORD_BYTES).await? else { return Ok(None) };
        let decoded = decoded(&body);
        if decoded.is_none() {
            tracing::warn!(record = record.name(), "a blob among the records of the outbox is none");
        }
        Ok(decoded)
    }

    /// The broker has it.
    pub(super) async fn told(&self, record: &BlobRef) {
        metrics::outbox("told");
        match self.store.remove(record).await {
            Ok(()) => tracing::info!(record = record.name(), "what was recorded is told"),
            // It is told once more: listeners drop repeats by their id.
            Err(error) => tracing::warn!(%error, record = record.name(), "a record that was told stays"),
        }
    }

    /// Workers that started together need not look together.
    pub(super) fn next_look() -> Duration {
        BETWEEN_LOOKS.mul_f64(rand::random_range(0.5..1.5))
    }
}

/// The same for every telling of one thing: headers that tell when it was written are left out.
fn name_of(outgoing: &Outgoing) -> String {
    let mut digest = Sha256::new();
    let id = outgoing.properties.message_id().as_ref().map_or("", |id| id.as_str());
    for part in [outgoing.exchange.as_str(), outgoing.key.as_str(), id] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.update(&outgoing.body);
    format!("{PREFIX}{}", hex::encode(&digest.finalize()[..20]))
}

fn encoded(outgoing: &Outgoing) -> Result<Bytes, JobError> {
    let mut body = serde_json::to_vec(outgoing).map_err(|error| {
        JobError::new(Stage::Settle, ErrorCode::Internal, "a message does not serialise").with_source(error)
    })?;
    body.push(b'\n');
    body.extend_from_slice(&outgoing.body);
    Ok(body.into())
}

fn decoded(record: &Bytes) -> Option<Outgoing> {
    let end = record.iter().position(|byte| *byte == b'\n')?;
    let outgoing: Outgoing = serde_json::from_slice(&record[..end]).ok()?;
    Some(Outgoing { body: record.slice(end + 1..), ..outgoing })
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    fn outgoing(body: &'static [u8], at: u64) -> Outgoing {
        let mut headers = FieldTable::default();
        headers.insert("attempt".into(), AMQPValue::LongUInt(3));
        headers.insert("odd".into(), AMQPValue::LongString(vec![0xff, 0xfe].into()));
        headers.insert("dead-at".into(), AMQPValue::Timestamp(at));
        Outgoing {
            exchange: "nightread.dead".to_owned(),
            key: "job.bulk".to_owned(),
            properties: BasicProperties::default().with_headers(headers).with_message_id("m".into()),
            body: Bytes::from_static(body),
            mandatory: true,
        }
    }

    #[test]
    fn a_record_keeps_every_byte_of_a_message() {
        for body in [&b"{\"blob\": \"in/x\"}"[..], b"", b"\n\n\x00\xff", b"no JSON"] {
            let sent = outgoing(body, 7);
            assert_eq!(decoded(&encoded(&sent).expect("it serialises")), Some(sent));
        }
        assert_eq!(decoded(&Bytes::from_static(b"{}\nx")), None);
        assert_eq!(decoded(&Bytes::from_static(b"no line")), None);
    }

    #[test]
    fn repeats_fall_together_and_nothing_else_does() {
        let name = name_of(&outgoing(b"a", 7));
        assert_eq!(name, name_of(&outgoing(b"a", 8)), "said at another time");
        assert_ne!(name, name_of(&outgoing(b"b", 7)));
        let elsewhere = Outgoing { exchange: "nightread.delay".to_owned(), ..outgoing(b"a", 7) };
        assert_ne!(name, name_of(&elsewhere));
    }
}
