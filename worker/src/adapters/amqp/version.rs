//! Which broker this is, read from its greeting before anything is declared.

use std::fmt;
use std::time::Duration;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, connection};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use lapin::types::AMQPValue;
use nightread_domain::{ErrorCode, JobError, Stage};

use super::connect::{Place, places, trust, unavailable, worse};
use super::options::RabbitOptions;

/// The first whose quorum queues know message TTL and at-least-once dead-lettering.
const OLDEST: BrokerVersion = BrokerVersion { major: 3, minor: 10 };

/// The first whose policies give a queue a consumer timeout of its own.
const CONSUMER_TIMEOUT_BY_POLICY: BrokerVersion = BrokerVersion { major: 3, minor: 12 };

const PATIENCE: Duration = Duration::from_secs(15);

/// A greeting is one frame of a few hundred bytes.
const MAX_GREETING: usize = 64 * 1024;

/// What a TLS listener answers to words that are none of TLS begins so.
const TLS_ALERT: u8 = 21;

/// A broker's version, as far as it decides anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerVersion {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for BrokerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl BrokerVersion {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(['.', '-', '+']).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some(Self { major, minor }),
            _ => None,
        }
    }

    /// Asks the broker; `broker_rejected` when it is too old, for itself or for what `options` expect of it, or no RabbitMQ.
    pub async fn check(options: &RabbitOptions) -> Result<Self, JobError> {
        let greeting = greeting(options).await?;
        let [product, version] = ["product", "version"].map(|name| match greeting.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            _ => String::new(),
        });
        match Self::parse(&version) {
            Some(known) if known >= OLDEST => known.may(options).map(|()| known),
            _ => Err(JobError::new(
                Stage::Start,
                ErrorCode::BrokerRejected,
                format!("RabbitMQ {OLDEST} or later is needed; this is {product:?} {version:?}"),
            )),
        }
    }
}

impl BrokerVersion {
    /// A broker that knows no such policy would take a long volume back in the middle, and give it to the next worker, and so on.
    fn may(self, options: &RabbitOptions) -> Result<(), JobError> {
        let timeout = &options.consumer_timeout;
        if timeout.volumes <= timeout.ingest || self >= CONSUMER_TIMEOUT_BY_POLICY {
            return Ok(());
        }
        let text = format!(
            "RabbitMQ {self} gives no queue a consumer timeout of its own ({CONSUMER_TIMEOUT_BY_POLICY} and later do): \
             [broker] volumes_consumer_timeout_seconds must not be above consumer_timeout_seconds"
        );
        Err(JobError::new(Stage::Start, ErrorCode::BrokerRejected, text))
    }
}

async fn greeting(options: &RabbitOptions) -> Result<lapin::types::FieldTable, JobError> {
    let mut failed = None;
    for place in places(options).await? {
        let error = match tokio::time::timeout(PATIENCE, greeting_of(options, &place)).await {
            Ok(Ok(properties)) => return Ok(properties),
            Ok(Err(error)) => error,
            Err(_) => unavailable(format!("the broker at {} did not greet in time", place.host())),
        };
        failed = Some(worse(failed, error));
    }
    Err(failed.unwrap_or_else(|| unavailable("no broker is named")))
}

fn gone(host: &str, error: std::io::Error) -> JobError {
    unavailable(format!("cannot connect to the broker at {host}")).with_source(error)
}

async fn greeting_of(options: &RabbitOptions, place: &Place) -> Result<lapin::types::FieldTable, JobError> {
    let host = place.host();
    let mut stream = place.dial(&trust(options)).await.map_err(|error| gone(&host, error))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.map_err(|error| gone(&host, error))?;
    stream.flush().await.map_err(|error| gone(&host, error))?;
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.map_err(|error| gone(&host, error))?;
        received.extend_from_slice(&piece[..count]);
        match parse_frame(received.as_slice()) {
            Ok((_, AMQPFrame::Method(_, AMQPClass::Connection(connection::AMQPMethod::Start(start))))) => {
                return Ok(start.server_properties);
            }
            Err(error) if error.is_incomplete() && count > 0 && received.len() < MAX_GREETING => {}
            _ if received.first() == Some(&TLS_ALERT) => {
                return Err(unavailable(format!("the broker at {host} speaks TLS there: amqps:// is meant")));
            }
            _ => {
                return Err(unavailable(format!("what answers at {host} greets in no words of AMQP 0-9-1")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brokers_with_such_policies_are_trusted_with_long_volumes() {
        let [old, new] = ["3.11.28", "3.12.0"].map(|text| BrokerVersion::parse(text).expect(text));
        let mut options = RabbitOptions::new("amqp://host");
        assert!(old.may(&options).is_ok());
        options.consumer_timeout.volumes = Duration::from_hours(4);
        assert!(new.may(&options).is_ok());
        let refused = old.may(&options).expect_err("it would take volumes back");
        assert_eq!(refused.code, ErrorCode::BrokerRejected);
        assert!(refused.message.contains("RabbitMQ 3.11"), "{refused}");
    }

    #[test]
    fn versions_order_by_number() {
        let [older, oldest, later] =
            ["3.9.27", "3.10.8", "4.0.2-rc.1"].map(|text| BrokerVersion::parse(text).expect(text));
        assert!(older < OLDEST && oldest >= OLDEST && later > OLDEST);
        assert!(BrokerVersion::parse("banana").is_none() && BrokerVersion::parse("").is_none());
    }
}
