//! From a request to an announcement. CloudEvents HTTP protocol binding 1.0.2; Event Grid's webhook delivery.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use nightread_domain::announcement::{parse, without_mark};
use nightread_domain::{Attributes, ErrorCode, Lane, Message};
use serde_json::Value;

use crate::services::events::envelope::lane_of;

/// CloudEvents has a handful of attributes.
const MAX_ATTRIBUTES: usize = 32;
const MAX_ATTRIBUTE_BYTES: usize = 1024;

const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Publish(Message),
    /// Event Grid wants its code back. The URL that comes beside it is never called.
    Validate(String),
}

/// Why a request is refused, as the body of the answer says it.
pub(super) type Refused = (StatusCode, &'static str, String);

/// What the headers and body of a POST mean.
pub(super) fn asked(headers: &HeaderMap, body: Bytes) -> Result<Asked, Refused> {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut attributes = Attributes::for_lane(Lane::Ingest);
    attributes.traceparent = text(headers, "traceparent");
    if headers.contains_key("ce-specversion") {
        attributes.cloud_event = cloud_event(headers)?;
        attributes.message_id = attributes.cloud_event.get("id").cloned();
        attributes.content_type = Some(if kind.is_empty() { "application/json".to_owned() } else { kind });
    } else {
        match kind.as_str() {
            "application/json" | "application/cloudevents+json" | "application/cloudevents-batch+json" => {}
            _ => {
                let told = "application/json, application/cloudevents+json, application/cloudevents-batch+json, or ce-* headers";
                return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", told.to_owned()));
            }
        }
        let value: Value =
            serde_json::from_slice(without_mark(&body)).map_err(|_| unparseable("the body is not JSON"))?;
        let first = value.as_array().and_then(|events| events.first()).unwrap_or(&value);
        if let Some(code) = validation_code(first) {
            return Ok(Asked::Validate(code));
        }
        attributes.message_id = first.get("id").and_then(Value::as_str).map(str::to_owned);
        attributes.content_type = Some(kind);
    }
    let mut message = Message { body, attributes };
    if let Err(error) = parse(&message) {
        let status = match error.code {
            ErrorCode::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        return Err((status, error.code.as_str(), error.message));
    }
    message.attributes.lane = lane_of(&message);
    Ok(Asked::Publish(message))
}

fn validation_code(event: &Value) -> Option<String> {
    if event.get("eventType")?.as_str()? != VALIDATION {
        return None;
    }
    event.get("data")?.get("validationCode")?.as_str().map(str::to_owned)
}

/// The attributes in `ce-*` headers, percent-decoded.
fn cloud_event(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Refused> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let value =
            value.to_str().ok().and_then(percent_decoded).filter(|value| value.len() <= MAX_ATTRIBUTE_BYTES);
        let value = value.ok_or_else(|| unparseable("a ce-* header is not sound"))?;
        attributes.insert(name.to_owned(), value);
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(unparseable("too many ce-* headers"));
        }
    }
    Ok(attributes)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'%' {
            bytes.extend(hex::decode(more.get(..2)?).ok()?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).ok()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= MAX_ATTRIBUTE_BYTES).then(|| value.to_owned())
}

fn unparseable(message: &str) -> Refused {
    (StatusCode::BAD_REQUEST, ErrorCode::MessageUnparseable.as_str(), message.to_owned())
}

#[cfg(test)]
mod tests {
    use nightread_domain::announcement::Announced;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    const DATA: &str = r#"{"url":"https://a.blob.core.windows.net/incoming/a.png"}"#;

    #[test]
    fn binary_mode_is_read_from_the_headers() {
        let headers = headers(&[
            ("content-type", "application/json; charset=utf-8"),
            ("ce-specversion", "1.0"),
            ("ce-id", "caf%C3%A9"),
            ("ce-source", "/s"),
            ("ce-type", "Microsoft.Storage.BlobCreated"),
        ]);
        let Asked::Publish(message) = asked(&headers, DATA.into()).expect("an event") else {
            panic!("no event")
        };
        assert_eq!(message.attributes.message_id.as_deref(), Some("café"));
        assert!(matches!(parse(&message).expect("sound").as_slice(), [Announced::Job(_)]));
    }

    #[test]
    fn a_mark_before_the_body_is_passed_over() {
        let json = headers(&[("content-type", "application/json")]);
        let body = "\u{feff}{\"blob\": \"incoming/a.png\"}";
        assert!(matches!(asked(&json, body.into()), Ok(Asked::Publish(_))));
    }

    #[test]
    fn the_validation_code_is_given_back_and_nothing_else_is() {
        let json = headers(&[("content-type", "application/json")]);
        let event = format!(
            r#"[{{"id":"1","eventType":"{VALIDATION}","data":{{"validationCode":"c0de","validationUrl":"https://x/"}}}}]"#
        );
        assert_eq!(asked(&json, event.into()).expect("sound"), Asked::Validate("c0de".to_owned()));
    }

    #[test]
    fn what_is_no_announcement_is_refused_with_a_code() {
        let json = headers(&[("content-type", "application/json")]);
        for (headers, body, status) in [
            (&json, "{", StatusCode::BAD_REQUEST),
            (&json, "{}", StatusCode::BAD_REQUEST),
            (&json, "[]", StatusCode::BAD_REQUEST),
            (&json, r#"{"blob":7}"#, StatusCode::BAD_REQUEST),
            (
                &headers(&[("content-type", "text/plain")]),
                r#"{"blob":"incoming/a"}"#,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            (&headers(&[]), r#"{"blob":"incoming/a"}"#, StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (&headers(&[("ce-specversion", "1.0"), ("ce-id", "%zz")]), DATA, StatusCode::BAD_REQUEST),
            (&headers(&[("ce-specversion", "0.3"), ("ce-id", "a")]), DATA, StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(asked(headers, body.into()).expect_err(body).0, status, "{body}");
        }
        let large = format!(r#"{{"blob":"{}"}}"#, "x".repeat(2 << 20));
        assert_eq!(asked(&json, large.into()).expect_err("large").0, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
