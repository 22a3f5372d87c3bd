//! From the text of a queue message to an announcement for a lane.

use azure_core::base64;
use bytes::Bytes;
use nightread_domain::announcement::{Announced, Location, parse};
use nightread_domain::{Attributes, Lane, Message};
use serde_json::Value;

/// The announcement in a queue message: JSON, as it is or in base64 (Event Grid's way). `None` for anything else.
pub(in crate::commands) fn opened(text: &str) -> Option<Message> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let body = if text.starts_with(['{', '[']) {
        text.as_bytes().to_vec()
    } else {
        base64::decode(text.as_bytes()).ok()?
    };
    let value: Value = serde_json::from_slice(&body).ok()?;
    if !value.is_object() && !value.is_array() {
        return None;
    }
    let mut message = Message { body: Bytes::from(body), attributes: Attributes::for_lane(Lane::Ingest) };
    let first = value.as_array().and_then(|events| events.first()).unwrap_or(&value);
    let kind = match (value.is_array(), first.get("specversion").is_some()) {
        (false, true) => "application/cloudevents+json",
        (true, true) => "application/cloudevents-batch+json",
        (_, false) => "application/json",
    };
    message.attributes.content_type = Some(kind.to_owned());
    message.attributes.message_id = first.get("id").and_then(Value::as_str).map(str::to_owned);
    message.attributes.lane = lane_of(&message);
    Some(message)
}

/// Scans have a lane of their own, so that pictures do not wait for them. Here names must do: the worker still judges
/// from the bytes.
pub(in crate::commands) fn lane_of(message: &Message) -> Lane {
    let is_scan = |announced: &Announced| match announced {
        Announced::Job(announcement) => {
            let (Location::Path(name) | Location::Url(name)) = &announcement.location;
            let name = name.to_ascii_lowercase();
            [".nii", ".nii.gz"].iter().any(|ending| name.ends_with(ending))
        }
        Announced::Ignored { .. } => false,
    };
    match parse(message) {
        Ok(events) if !events.is_empty() && events.iter().all(is_scan) => Lane::Fmri,
        _ => Lane::Ingest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(url: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"e1","source":"/s","type":"Microsoft.Storage.BlobCreated","data":{{"url":"{url}"}}}}"#
        )
    }

    #[test]
    fn plain_and_base64_are_the_same() {
        let text = event("https://a.blob.core.windows.net/incoming/ü.png");
        for text in [text.clone(), format!("\u{feff} {text}\n"), base64::encode(&text)] {
            let message = opened(&text).expect("an announcement");
            assert_eq!(message.attributes.message_id.as_deref(), Some("e1"));
            assert_eq!(message.attributes.content_type.as_deref(), Some("application/cloudevents+json"));
            assert_eq!(message.attributes.lane, Lane::Ingest);
            assert_eq!(parse(&message).expect("an event").len(), 1);
        }
    }

    #[test]
    fn scans_go_to_their_lane() {
        let scan = event("https://a.blob.core.windows.net/incoming/Rest.NII.gz");
        let picture = event("https://a.blob.core.windows.net/incoming/a.dcm");
        for (text, lane) in [
            (scan.clone(), Lane::Fmri),
            (format!("[{scan}]"), Lane::Fmri),
            (format!("[{scan},{picture}]"), Lane::Ingest),
            (r#"{"blob":"incoming/a.nii"}"#.to_owned(), Lane::Fmri),
            (r#"{"no":"event"}"#.to_owned(), Lane::Ingest),
        ] {
            assert_eq!(opened(&text).expect("JSON").attributes.lane, lane, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_poison() {
        for text in ["", "hello", "{", "7", "bnVsbA==", "/w==", "%%%"] {
            assert!(opened(text).is_none(), "{text}");
        }
    }
}
