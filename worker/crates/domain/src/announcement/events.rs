//! CloudEvents 1.0 and the Event Grid schema. Three events of storage ask for work: a blob was created, renamed, or
//! brought back from the archive.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::encoding::{base64_of, without_mark};
use super::{Announced, Announcement, Location, unparseable};
use crate::error::JobError;
use crate::message::Message;

const BLOB_CREATED: &str = "Microsoft.Storage.BlobCreated";
/// Of accounts with a hierarchical namespace: uploads under a draft's name end with it.
const BLOB_RENAMED: &str = "Microsoft.Storage.BlobRenamed";
const BLOB_TIER_CHANGED: &str = "Microsoft.Storage.BlobTierChanged";
/// The types that announce a study, now or sometimes: what Event Grid is to send.
pub const EVENT_TYPES: [&str; 3] = [BLOB_CREATED, BLOB_RENAMED, BLOB_TIER_CHANGED];
/// The type of the envelope that Dapr's pub/sub puts around whatever was published.
const DAPR: &str = "com.dapr.event.sent";

/// The tier whose blobs cannot be read.
const ARCHIVE: &str = "archive";

/// APIs that create what is no study: a file that is still empty, whose commit (`FlushWithClose`, `SftpCommit`) is
/// announced later, and folders.
const NO_STUDY_YET: [&str; 4] = ["CreateFile", "SftpCreate", "CreateDirectory", "SftpMakeDir"];

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
    #[serde(default)]
    data_base64: Value,
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

/// What we read of the `data` of a `BlobRenamed` event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobRenamed {
    destination_url: String,
}

/// What we read of the `data` of a `BlobTierChanged` event. A tier that is not told may be any.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobTierChanged {
    url: String,
    access_tier: Option<String>,
    previous_tier: Option<String>,
}

impl BlobTierChanged {
    /// Only what could not be read before, and can now, asks for work.
    fn leaves_the_archive(&self) -> bool {
        self.previous_tier.as_deref().is_none_or(is_archive)
            && !self.access_tier.as_deref().is_some_and(is_archive)
    }
}

/// What is inside Dapr's envelope, where that is a form that is read here; anything else comes back as it is.
pub(super) fn without_envelope(value: Value) -> Value {
    if value.get("type").and_then(Value::as_str) != Some(DAPR) {
        return value;
    }
    match data_of(&value["data"], &value["data_base64"]) {
        Ok(inner) if is_known(&inner) => inner,
        _ => value,
    }
}

fn is_known(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            ["blob", "series", "specversion", "eventType"].iter().any(|field| fields.contains_key(*field))
        }
        Value::Array(_) => true,
        _ => false,
    }
}

/// An event's data: JSON, a text of JSON, or JSON in base64.
fn data_of(data: &Value, base64: &Value) -> Result<Value, JobError> {
    let text = match (data, base64) {
        (Value::Null, Value::String(base64)) => base64_of(base64),
        (Value::String(text), _) => Some(text.as_bytes().to_vec()),
        (data, _) => return Ok(data.clone()),
    };
    json(&text.unwrap_or_default())
}

fn json(bytes: &[u8]) -> Result<Value, JobError> {
    match serde_json::from_slice(without_mark(bytes)) {
        // Encoded twice, as some senders do with a text of JSON.
        Ok(Value::String(text)) => serde_json::from_str(&text).ok(),
        parsed => parsed.ok(),
    }
    .ok_or_else(|| unparseable("the event's data is not JSON"))
}

fn is_archive(tier: &str) -> bool {
    tier.eq_ignore_ascii_case(ARCHIVE)
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
        announced(&event.event_type, &event.id, || data_of(&event.data, &event.data_base64), message)
    } else if fields.contains_key("eventType") {
        let event: EventGridEvent = serde_json::from_value(value)
            .map_err(|_| unparseable("an Event Grid event has the text fields id and eventType"))?;
        announced(&event.event_type, &event.id, || data_of(&event.data, &Value::Null), message)
    } else {
        Err(unparseable("neither a CloudEvent, nor an Event Grid event, nor the native form"))
    }
}

/// CloudEvents over AMQP in binary mode: attributes in the message's headers, `data` as its body.
pub(super) fn binary_mode(message: &Message) -> Result<Announced, JobError> {
    let attributes = &message.attributes.cloud_event;
    check_version(required(attributes, "specversion")?)?;
    required(attributes, "source")?;
    let (id, event_type) = (required(attributes, "id")?, required(attributes, "type")?);
    announced(event_type, id, || json(&message.body), message)
}

fn required<'a>(attributes: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, JobError> {
    attributes
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| unparseable(format!("a CloudEvent without the attribute {name}")))
}

fn ignored(event_type: &str) -> Announced {
    Announced::Ignored { event_type: event_type.chars().take(MAX_TYPE_CHARS).collect() }
}

/// `data` is asked for only where the type asks for work: other events may carry anything.
fn announced(
    event_type: &str,
    id: &str,
    data: impl FnOnce() -> Result<Value, JobError>,
    message: &Message,
) -> Result<Announced, JobError> {
    if event_type.is_empty() || id.is_empty() {
        return Err(unparseable("an event has a type and an id"));
    }
    let url = match event_type {
        BLOB_CREATED => {
            let created: BlobCreated = typed(data()?, "a BlobCreated event has the text field url")?;
            if NO_STUDY_YET.contains(&created.api.as_str()) {
                return Ok(ignored(&format!("{BLOB_CREATED} ({})", created.api)));
            }
            created.url
        }
        BLOB_RENAMED => {
            let renamed: BlobRenamed =
                typed(data()?, "a BlobRenamed event has the text field destinationUrl")?;
            renamed.destination_url
        }
        BLOB_TIER_CHANGED => {
            let changed: BlobTierChanged = typed(data()?, "a BlobTierChanged event has the text field url")?;
            if !changed.leaves_the_archive() {
                let to = changed.access_tier.as_deref().unwrap_or("another tier");
                return Ok(ignored(&format!("{BLOB_TIER_CHANGED} (to {to})")));
            }
            changed.url
        }
        other => return Ok(ignored(other)),
    };
    // The message's own correlation id is kept by the job; the event's id stands in when there is none.
    let correlation_id = message.attributes.correlation_id.clone().or_else(|| Some(id.to_owned()));
    Ok(Announced::Job(Announcement {
        location: Location::Url(url),
        model: None,
        force: false,
        correlation_id,
    }))
}

fn typed<T: DeserializeOwned>(data: Value, expected: &str) -> Result<T, JobError> {
    serde_json::from_value(data).map_err(|_| unparseable(format!("the data of {expected}")))
}

fn check_version(version: &str) -> Result<(), JobError> {
    if version == "1.0" { Ok(()) } else { Err(unparseable("CloudEvents are read in version 1.0")) }
}
