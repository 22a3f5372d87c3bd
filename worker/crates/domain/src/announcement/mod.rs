//! The announcement of a blob, parsed from an untrusted message body. Nothing here follows a URL.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ErrorCode, JobError, Stage};
use crate::message::Message;

mod encoding;
mod events;
mod resolve;
mod url;

pub use encoding::{base64_of, without_mark};
pub use events::EVENT_TYPES;
pub use resolve::{AllowedSources, Resolved, SETS};

/// Longer bodies are refused before they are parsed.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The most events Event Grid puts into one delivery.
pub const MAX_EVENTS: usize = 5_000;

/// Where the announced study is said to be. A URL is only ever parsed and compared, never followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `container/path`, in the store the worker is configured for.
    Path(String),
    /// An absolute URL, as Event Grid sends it.
    Url(String),
    /// `container/path.json`: a document that names the blobs of one series, each in its version.
    Set(String),
    /// `container/prefix/`: all blobs of a folder, which are one series; as many as are said, where that is said.
    Folder { path: String, instances: Option<u32> },
}

/// One request to read one study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub location: Location,
    pub model: Option<String>,
    pub force: bool,
    pub correlation_id: Option<String>,
}

/// What one event of a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    Job(Announcement),
    /// An event that is none of our business: acknowledged, counted and logged with its type.
    Ignored {
        event_type: String,
    },
}

/// The native form, `{"blob": "container/path", ...}`; a URL of the configured account will do as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    pub blob: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// The native form for a series: `{"series": {"set": "container/path.json"}}`, or `{"series": "container/prefix/"}` with or
/// without the number of its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeSeries {
    pub series: SeriesForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// What a series is announced by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SeriesForm {
    Set(SetForm),
    Folder(String),
}

/// The set document of a series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetForm {
    pub set: String,
}

impl NativeSeries {
    /// Of a set document, with nothing else said.
    pub fn of_set(set: impl Into<String>) -> Self {
        let series = SeriesForm::Set(SetForm { set: set.into() });
        Self { series, instances: None, model: None, force: false, correlation_id: None }
    }
}

impl TryFrom<NativeSeries> for Announcement {
    type Error = JobError;

    fn try_from(native: NativeSeries) -> Result<Self, JobError> {
        let location = match (native.series, native.instances) {
            (SeriesForm::Set(form), None) => Location::Set(form.set),
            (SeriesForm::Set(_), Some(_)) => {
                return Err(unparseable("a set document says itself how many instances there are"));
            }
            (SeriesForm::Folder(_), Some(0)) => {
                return Err(unparseable("a series has at least one instance"));
            }
            (SeriesForm::Folder(path), instances) => Location::Folder { path, instances },
        };
        let NativeSeries { model, force, correlation_id, .. } = native;
        Ok(Self { location, model, force, correlation_id })
    }
}

impl From<Native> for Announcement {
    fn from(native: Native) -> Self {
        // No container's name has a colon, so the two cannot be taken for one another.
        let is_url = ["https://", "http://"].iter().any(|scheme| native.blob.starts_with(scheme));
        Self {
            location: if is_url { Location::Url(native.blob) } else { Location::Path(native.blob) },
            model: native.model,
            force: native.force,
            correlation_id: native.correlation_id,
        }
    }
}

/// Reads every announcement form: native, CloudEvents 1.0 (structured, batched, AMQP binary mode) and the Event
/// Grid schema (one event or an array), each also inside Dapr's envelope. One message may hold several events; one bad
/// event spoils its message, so [`split`] a batch first.
pub fn parse(message: &Message) -> Result<Vec<Announced>, JobError> {
    if !message.attributes.cloud_event.is_empty() {
        within_limit(message)?;
        return events::binary_mode(message).map(|announced| vec![announced]);
    }
    match body(message)? {
        Value::Array(items) => items.into_iter().map(|item| events::one(item, message)).collect(),
        object if object.get("blob").is_some() => native(object).map(|job| vec![job]),
        object if object.get("series").is_some() => native_series(object).map(|job| vec![job]),
        other => events::one(other, message).map(|announced| vec![announced]),
    }
}

/// One message for each event of a batch, or `None` when this is not a batch of several. The parts are not
/// checked: each is parsed when its own turn comes, so that one bad event does not take the others with it.
pub fn split(message: &Message) -> Result<Option<Vec<Message>>, JobError> {
    if !message.attributes.cloud_event.is_empty() {
        return Ok(None);
    }
    let items = match body(message) {
        Ok(Value::Array(items)) => items,
        Err(error) if error.code == ErrorCode::MessageTooLarge => return Err(error),
        // What cannot be read is told of when it is parsed.
        Ok(_) | Err(_) => return Ok(None),
    };
    if items.len() < 2 {
        return Ok(None);
    }
    Ok(Some(items.iter().enumerate().map(|(index, item)| part_of(message, index, item)).collect()))
}

fn part_of(batch: &Message, index: usize, event: &Value) -> Message {
    let mut attributes = batch.attributes.clone();
    attributes.message_id = attributes.message_id.map(|id| format!("{id}.{index}"));
    attributes.content_type = Some("application/json".to_owned());
    attributes.delivery_count = 0;
    attributes.quarantined = false;
    Message { body: event.to_string().into(), attributes }
}

fn body(message: &Message) -> Result<Value, JobError> {
    within_limit(message)?;
    let value: Value = serde_json::from_slice(without_mark(&message.body)).map_err(|_| {
        // The parser's own words may quote the body, and a body may quote a patient.
        unparseable("the body is not JSON")
    })?;
    let value = events::without_envelope(value);
    match &value {
        Value::Array(items) if items.is_empty() => Err(unparseable("a batch without events")),
        Value::Array(items) if items.len() > MAX_EVENTS => {
            Err(too_large(format!("a batch has at most {MAX_EVENTS} events, this one {}", items.len())))
        }
        _ => Ok(value),
    }
}

fn native(value: Value) -> Result<Announced, JobError> {
    let native: Native = serde_json::from_value(value).map_err(|_| {
        unparseable(
            "the native form is {\"blob\": \"container/path\", \"model\"?: text, \"force\"?: bool, \"correlation_id\"?: text}",
        )
    })?;
    Ok(Announced::Job(native.into()))
}

fn native_series(value: Value) -> Result<Announced, JobError> {
    let native: NativeSeries = serde_json::from_value(value).map_err(|_| {
        unparseable(
            "a series is announced as {\"series\": {\"set\": \"container/path.json\"}, ...} or as {\"series\": \
             \"container/prefix/\", \"instances\"?: number, ...}, with \"model\"?, \"force\"? and \"correlation_id\"?",
        )
    })?;
    native.try_into().map(Announced::Job)
}

fn within_limit(message: &Message) -> Result<(), JobError> {
    let bytes = message.body.len();
    if bytes > MAX_BODY_BYTES {
        return Err(too_large(format!("a message has at most {MAX_BODY_BYTES} bytes, this one {bytes}")));
    }
    Ok(())
}

fn unparseable(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Announce, ErrorCode::MessageUnparseable, message)
}

fn too_large(message: String) -> JobError {
    JobError::new(Stage::Announce, ErrorCode::MessageTooLarge, message)
}

#[cfg(test)]
mod tests;
