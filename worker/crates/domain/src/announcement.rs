//! The announcement of a blob, parsed from an untrusted message body. Nothing here follows a URL.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, JobError, Stage};
use crate::message::Message;

/// Longer bodies are refused before they are parsed.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Where the announced blob is said to be. A URL is only ever parsed and compared, never followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `container/path`, in the store the worker is configured for.
    Path(String),
    /// An absolute URL, as Event Grid sends it.
    Url(String),
}

/// One request to read one blob.
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
    /// An event that is none of our business: acknowledged and counted.
    Ignored {
        event_type: String,
    },
}

/// The native form, `{"blob": "container/path", ...}`.
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

impl From<Native> for Announcement {
    fn from(native: Native) -> Self {
        Self {
            location: Location::Path(native.blob),
            model: native.model,
            force: native.force,
            correlation_id: native.correlation_id,
        }
    }
}

/// Reads every announcement form. One message may hold several events.
pub fn parse(message: &Message) -> Result<Vec<Announced>, JobError> {
    if message.body.len() > MAX_BODY_BYTES {
        return Err(JobError::new(
            Stage::Announce,
            ErrorCode::MessageTooLarge,
            format!("a message has at most {MAX_BODY_BYTES} bytes, this one {}", message.body.len()),
        ));
    }
    let native: Native = serde_json::from_slice(&message.body).map_err(|error| {
        JobError::new(Stage::Announce, ErrorCode::MessageUnparseable, format!("not an announcement: {error}"))
    })?;
    Ok(vec![Announced::Job(native.into())])
}
