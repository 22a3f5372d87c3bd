//! CloudEvents 1.0 and the Event Grid schema. Only `Microsoft.Storage.BlobCreated` asks for work.

use serde::Deserialize;
use serde_json::Value;

use super::{Announced, Announcement, Location, unparseable};
use crate::error::JobError;
use crate::message::Message;

const BLOB_CREATED: &str = "Microsoft.Storage.BlobCreated";

/// APIs that create a blob which is still empty; the event of the commit (`FlushWithClose`, `SftpCommit`) follows.
const NOT_YET_COMMITTED: [&str; 2] = ["CreateFile", "SftpCreate"];

/// Longer event types are not worth a metric label or a log line.
const MAX_TYPE_CHARS: usize = 120;

/// The context attributes of CloudEvents 1.0 that its specification demands, and the ones we read.
#[derive(Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    data: Value,
}

/// An event in the Event Grid schema.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventGridEvent {
    id: String,
    event_type: String,
    #[serde(default)]
    data: Value,
}

/// What we read of the `data` of a `BlobCreated` event.
#[derive(Deserialize)]
struct BlobCreated {
    url: String,
    #[serde(default)]
    api: String,
}

/// One event of either schema.
pub(super) fn one(value: Value, message: &Message) -> Result<Announced, JobError> {
    let Value::Object(fields) = &value else {
        return Err(unparseable("an event is a JSON object"));
    };
    if fields.contains_key("specversion") {
        let event: CloudEvent = serde_json::from_value(value).map_err(|_| {
            unparseable("a CloudEvent has the text attributes specversion, id, source and type")
        })?;
        check_version(&event.specversion)?;
        announced(&event.event_type, &event.id, event.data, message)
    } else if fields.contains_key("eventType") {
        let event: EventGridEvent = serde_json::from_value(value)
            .map_err(|_| unparseable("an Event Grid event has the text fields id and eventType"))?;
        announced(&event.event_type, &event.id, event.data, message)
    } else {
        Err(unparseable("neither a CloudEvent, nor an Event Grid event, nor the native form"))
    }
}

/// CloudEvents over AMQP in binary mode: attributes in the message's headers, `data` as its body.
pub(super) fn binary_mode(message: &Message) -> Result<Announced, JobError> {
    let attributes = &message.attributes.cloud_event;
    let required = |name: &str| {
        attributes
            .get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| unparseable(format!("a CloudEvent without the attribute {name}")))
    };
    check_version(required("specversion")?)?;
    required("source")?;
    let (id, event_type) = (required("id")?, required("type")?);
    let data = if event_type == BLOB_CREATED {
        serde_json::from_slice(&message.body).map_err(|_| unparseable("the event's data is not JSON"))?
    } else {
        Value::Null
    };
    announced(event_type, id, data, message)
}

fn announced(event_type: &str, id: &str, data: Value, message: &Message) -> Result<Announced, JobError> {
    if event_type.is_empty() || id.is_empty() {
        return Err(unparseable("an event has a type and an id"));
    }
    if event_type != BLOB_CREATED {
        return Ok(Announced::Ignored { event_type: event_type.chars().take(MAX_TYPE_CHARS).collect() });
    }
    let created: BlobCreated = serde_json::from_value(data)
        .map_err(|_| unparseable("the data of a BlobCreated event has the text field url"))?;
    if NOT_YET_COMMITTED.contains(&created.api.as_str()) {
        return Ok(Announced::Ignored { event_type: format!("{BLOB_CREATED} ({})", created.api) });
    }
    // The message's own correlation id is kept by the job; the event's id stands in when there is none.
    let correlation_id = message.attributes.correlation_id.clone().or_else(|| Some(id.to_owned()));
    Ok(Announced::Job(Announcement {
        location: Location::Url(created.url),
        model: None,
        force: false,
        correlation_id,
    }))
}

fn check_version(version: &str) -> Result<(), JobError> {
    if version == "1.0" { Ok(()) } else { Err(unparseable("CloudEvents are read in version 1.0")) }
}
