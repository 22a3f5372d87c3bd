//! The reports: workers tell what a message costs and how old it was, and `nightread backlog` reads them and leaves its
//! own conclusions for the next one that asks, so that what is known outlives the workers that knew it.
//!
//! Their queue gives everything to one reader at a time. A reader takes nothing but its own mark: the rest goes back when
//! it closes its connection, and the next reader, who waited, gets all of it in its order. (A stream would do the same
//! without taking turns; RabbitMQ 3.10 loses one for good when its first node is killed soon after declaring it.)

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use nightread_domain::message::Attributes;
use nightread_domain::{ErrorCode, JobError, Lane, PerLane, Stage};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::adapters::amqp::connect::{classified, connect, unavailable};
use crate::adapters::amqp::options::RabbitOptions;
use crate::adapters::amqp::properties;
use crate::adapters::amqp::publisher::Outgoing;
use crate::adapters::amqp::publisher::Publisher;
use crate::adapters::amqp::topology;
use crate::flow::unix_now;
use crate::telemetry::ledger::LaneWork;

/// Longer reports are not ours.
const MAX_BYTES: usize = 16 * 1024;

/// All that the queue can hold; each takes a few hundred bytes, and all stay unacknowledged while they are read.
const IN_FLIGHT: u16 = u16::MAX;

/// From the mark that we set to reading it again.
const PATIENCE: Duration = Duration::from_secs(15);

/// One report. `at` is in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkReport {
    /// What one worker did since its last report.
    Worker {
        at: u64,
        /// The same in all reports of one process, and in no other's.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        worker: String,
        lanes: PerLane<LaneWork>,
    },
    /// What one `nightread backlog` concluded.
    Backlog {
        at: u64,
        /// Seconds of one worker for one message, where it was ever measured.
        seconds_each: PerLane<Option<f64>>,
        /// Since when messages have been waiting without any worker.
        unattended_since: PerLane<Option<u64>>,
    },
    /// Set by a reader, to know where the present is.
    Mark { at: u64, id: String },
}

impl WorkReport {
    fn at(&self) -> u64 {
        match self {
            Self::Worker { at, .. } | Self::Backlog { at, .. } | Self::Mark { at, .. } => *at,
        }
    }

    const fn key(&self) -> &'static str {
        match self {
            Self::Worker { .. } => "report.worker",
            Self::Backlog { .. } => "report.backlog",
            Self::Mark { .. } => "report.mark",
        }
    }
}

impl Publisher {
    /// Adds a report and waits until the broker has it. A worker's may fall to the ground; a mark must arrive.
    pub async fn report(&self, report: &WorkReport) -> Result<(), JobError> {
        let body = serde_json::to_vec(report).map_err(|error| {
            JobError::new(Stage::Report, ErrorCode::Internal, "a report does not serialise")
                .with_source(error)
        })?;
        let mut attributes = Attributes::for_lane(Lane::Ingest);
        attributes.content_type = Some("application/json".to_owned());
        self.publish(&Outgoing {
            exchange: topology::RESULTS.to_owned(),
            key: report.key().to_owned(),
            properties: properties::properties(&attributes),
            body: Bytes::from(body),
            mandatory: matches!(report, WorkReport::Mark { .. }),
        })
        .await
    }
}

/// Every report of the last `window`, oldest first; `broker_rejected` where there is no such queue.
pub async fn recent_reports(
    options: &RabbitOptions,
    publisher: &Publisher,
    window: Duration,
) -> Result<Vec<WorkReport>, JobError> {
    let now = unix_now();
    let since = now.saturating_sub(window.as_secs());
    let id = hex::encode(rand::random::<[u8; 8]>());
    publisher.report(&WorkReport::Mark { at: now, id: id.clone() }).await?;
    let connection = connect(options, "reports").await?;
    let channel = connection.create_channel().await.map_err(cannot_read)?;
    channel.basic_qos(IN_FLIGHT, BasicQosOptions::default()).await.map_err(cannot_read)?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(topology::REPORTS.into(), "".into(), options, FieldTable::default())
        .await
        .map_err(cannot_read)?;
    let read = timeout(PATIENCE, read_until(&mut consumer, since, &id)).await;
    // Everything goes back at once when the connection ends. A consumer that is cancelled first, as one that is dropped
    // is, would let the next reader in before the reports are back.
    let _ = connection.close(200, "read".into()).await;
    drop(consumer);
    read.map_err(|_| unavailable("the reports did not come to the present in time"))?
}

fn cannot_read(error: lapin::Error) -> JobError {
    classified("cannot read the reports", error)
}

async fn read_until(consumer: &mut Consumer, since: u64, id: &str) -> Result<Vec<WorkReport>, JobError> {
    let mut reports = Vec::new();
    loop {
        let Some(raw) = consumer.next().await else {
            return Err(unavailable("the broker ended the reading of the reports"));
        };
        let raw = raw.map_err(cannot_read)?;
        let Some(report) = parsed(&raw.data) else { continue };
        match report {
            WorkReport::Mark { id: found, .. } if found == id => {
                raw.ack(BasicAckOptions::default()).await.map_err(cannot_read)?;
                return Ok(reports);
            }
            WorkReport::Mark { .. } => {}
            report if report.at() >= since => reports.push(report),
            _ => {}
        }
    }
}

/// Anybody who may publish results may write here, so what does not parse is passed over.
fn parsed(body: &[u8]) -> Option<WorkReport> {
    if body.len() > MAX_BYTES { None } else { serde_json::from_slice(body).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ledger::WorkLeft;

    #[test]
    fn reports_survive_the_wire_and_odd_ones_are_passed_over() {
        let left = Some(WorkLeft { messages: 2, seconds: 70.5 });
        let lanes = PerLane::from_fn(|_| LaneWork { messages: 3, seconds: 0.5, oldest_age: Some(9), left });
        let backlog = WorkReport::Backlog {
            at: 2,
            seconds_each: [Some(0.02), None, None].into(),
            unattended_since: PerLane::default(),
        };
        for report in [WorkReport::Worker { at: 1, worker: "a".to_owned(), lanes }, backlog] {
            let body = serde_json::to_vec(&report).expect("a report");
            assert_eq!(parsed(&body), Some(report));
        }
        // As workers of before tell it.
        let lane = r#"{"messages":1,"seconds":2.0}"#;
        let former = format!(r#"{{"kind":"worker","at":1,"lanes":[{lane},{lane},{lane}]}}"#);
        let Some(WorkReport::Worker { worker, lanes, .. }) = parsed(former.as_bytes()) else {
            panic!("a report");
        };
        assert_eq!((worker.as_str(), lanes.volumes.messages, lanes.volumes.left), ("", 1, None));
        let long = vec![b' '; MAX_BYTES + 1];
        for odd in [&b"{}"[..], b"not JSON", br#"{"kind":"worker","at":-1}"#, &long] {
            assert_eq!(parsed(odd), None);
        }
    }
}
