//! `nightread.result`: told to whoever listens for each stored document.

use bytes::Bytes;
use nightread_domain::ports::Audience;
use nightread_domain::{ErrorCode, JobError, Notice, Stage, Status};
use serde::Serialize;
use time::OffsetDateTime;

use crate::adapters::amqp::publisher::Publisher;
use crate::adapters::amqp::publisher::told;

const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A CloudEvents 1.0 event in structured mode.
#[derive(Clone, Debug, Serialize)]
pub struct ResultEvent {
    pub specversion: &'static str,
    #[serde(rename = "type")]
    pub event_type: &'static str,
    pub source: &'static str,
    pub id: String,
    /// The document's place: `container/name`.
    pub subject: String,
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    pub datacontenttype: &'static str,
    pub data: ResultData,
}

/// Enough to fetch the document and to count outcomes without fetching it.
#[derive(Clone, Debug, Serialize)]
pub struct ResultData {
    pub status: Status,
    pub result: String,
    pub source: String,
    pub model: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl ResultEvent {
    /// `id` is the same for every telling of one reading, so that listeners can drop repeats.
    pub fn new(id: String, time: OffsetDateTime, data: ResultData) -> Self {
        Self {
            specversion: "1.0",
            event_type: "nightread.result",
            source: "nightread",
            id,
            subject: data.result.clone(),
            time,
            datacontenttype: "application/json",
            data,
        }
    }

    /// As it is told to whoever listens.
    pub fn notice(&self) -> Result<Notice, JobError> {
        let body = serde_json::to_vec(self).map_err(|error| {
            JobError::new(Stage::Report, ErrorCode::Internal, "a result event does not serialise")
                .with_source(error)
        })?;
        Ok(Notice {
            audience: Audience::Listeners,
            id: self.id.clone(),
            topic: self.key(),
            correlation_id: self.data.correlation_id.clone(),
            content_type: CONTENT_TYPE,
            body: Bytes::from(body),
        })
    }

    /// `result.<status>.<model>`, for listeners that want only some. Dots would be separators.
    fn key(&self) -> String {
        format!("result.{}.{}", self.data.status.as_str(), self.data.model.replace('.', "-"))
    }
}

impl Publisher {
    /// Tells of a result and waits until the broker has it. Nobody need be listening.
    pub async fn tell(&self, event: &ResultEvent) -> Result<(), JobError> {
        self.publish(&told(event.notice()?)).await
    }
}
