//! From the text of a queue message to an announcement for a lane.

use bytes::Bytes;
use nightread_domain::announcement::{Announced, Location, base64_of, parse, without_mark};
use nightread_domain::{Attributes, Lane, Message};
use serde_json::Value;

/// The announcement in a queue message: JSON, as it is or in base64 (Event Grid's way) of any kind. `None` for anything
/// else.
pub(in crate::services) fn opened(text: &str) -> Option<Message> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let body = if text.starts_with(['{', '[']) {
        text.as_bytes().to_vec()
    } else {
        let decoded = base64_of(text)?;
        without_mark(&decoded).to_vec()
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

/// Scans have a lane of their own, so that images do not wait for them. Here names must do: the worker still judges
/// from the bytes.
pub(in crate::services) fn lane_of(message: &Message) -> Lane {
    let is_scan = |announced: &Announced| match announced {
        Announced::Job(announcement) => {
            let (Location::Path(name) | Location::Url(name)) = &announcement.location else {
                // A series is a volume.
                return true;
            };
            let name = name.to_ascii_lowercase();
            [".nii", ".nii.gz"].iter().any(|ending| name.ends_with(ending))
        }
        Announced::Ignored { .. } => false,
    };
    match parse(message) {
        Ok(events) if !events.is_empty() && events.iter().all(is_scan) => Lane::Volumes,
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

    fn base64(bytes: &[u8]) -> String {
        azure_core::base64::encode(bytes)
    }

    #[test]
    fn base64_is_read_however_it_is_written() {
        // Both letters that differ between the alphabets come out of this subject.
        let text = r#"{"specversion":"1.0","id":"e1","source":"/s","type":"x","subject":"\u00f3?>~~~ \u00fb\u00ff>?"}"#;
        let text = text.replace("\\u00f3", "ó").replace("\\u00fb", "û").replace("\\u00ff", "ÿ");
        let plain = base64(text.as_bytes());
        assert!(plain.contains(['+', '/']), "{plain}");
        let lines: Vec<_> = plain.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let url_safe = plain.replace('+', "-").replace('/', "_");
        let marked = base64(&[b"\xef\xbb\xbf", text.as_bytes()].concat());
        let unpadded = url_safe.trim_end_matches('=').to_owned();
        for text in [lines.join("\n") + "\n", lines.join("\r\n"), url_safe, unpadded, marked] {
            let message = opened(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(message.attributes.message_id.as_deref(), Some("e1"));
            assert_eq!(message.body.first(), Some(&b'{'));
        }
    }

    #[test]
    fn plain_and_base64_are_the_same() {
        let text = event("https://a.blob.core.windows.net/incoming/ü.png");
        for text in [text.clone(), format!("\u{feff} {text}\n"), base64(text.as_bytes())] {
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
        let image = event("https://a.blob.core.windows.net/incoming/a.dcm");
        for (text, lane) in [
            (scan.clone(), Lane::Volumes),
            (format!("[{scan}]"), Lane::Volumes),
            (format!("[{scan},{image}]"), Lane::Ingest),
            (r#"{"blob":"incoming/a.nii"}"#.to_owned(), Lane::Volumes),
            (r#"{"series":{"set":"results/_series/incoming/1.2.json"}}"#.to_owned(), Lane::Volumes),
            (r#"{"series":"incoming/ct/"}"#.to_owned(), Lane::Volumes),
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
