use serde_json::json;

use super::*;
use crate::lanes::Lane;
use crate::message::Attributes;

mod events;
mod series;
mod urls;

const AZURE: &str = "https://nightread.blob.core.windows.net/";
const AZURITE: &str = "http://127.0.0.1:10000/devstoreaccount1";

fn message(body: impl Into<Vec<u8>>) -> Message {
    Message { body: body.into().into(), attributes: Attributes::for_lane(Lane::Ingest) }
}

fn allowed() -> AllowedSources {
    AllowedSources::new([AZURE, AZURITE], ["incoming", "archive"], "results").expect("sound settings")
}

fn resolve_url(url: &str) -> Result<Resolved, JobError> {
    Announcement { location: Location::Url(url.to_owned()), model: None, force: false, correlation_id: None }
        .resolve(&allowed())
}

fn cloud_event(event_type: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "type": event_type, "source": "/s", "id": "e-1", "data": data})
}

fn job_url(announced: &Announced) -> &str {
    match announced {
        Announced::Job(Announcement { location: Location::Url(url), .. }) => url,
        other => panic!("not a job with a URL: {other:?}"),
    }
}

#[test]
fn the_native_form_is_strict() {
    let full = json!({"blob": "incoming/a.png", "model": "cxr", "force": true, "correlation_id": "c"});
    let parsed = parse(&message(full.to_string())).expect("parses");
    let expected = Announcement {
        location: Location::Path("incoming/a.png".to_owned()),
        model: Some("cxr".to_owned()),
        force: true,
        correlation_id: Some("c".to_owned()),
    };
    assert_eq!(parsed, vec![Announced::Job(expected)]);
    for wrong in [
        json!({"blob": 5}),
        json!({"blob": "incoming/a", "force": "yes"}),
        json!({"blob": "incoming/a", "modell": "cxr"}),
        json!({"bolb": "incoming/a"}),
        json!("incoming/a"),
        json!(null),
        json!([]),
        json!([{"blob": "incoming/a"}]),
    ] {
        let error = parse(&message(wrong.to_string())).expect_err("refused");
        assert_eq!(error.code, ErrorCode::MessageUnparseable, "{wrong}");
    }
}

#[test]
fn large_bodies_and_batches_are_refused_before_they_are_read() {
    let padded = format!("{}{}", " ".repeat(MAX_BODY_BYTES), "{}");
    assert_eq!(parse(&message(padded.clone())).expect_err("large").code, ErrorCode::MessageTooLarge);
    let array = format!("[{padded}]");
    assert_eq!(split(&message(array)).expect_err("large").code, ErrorCode::MessageTooLarge);
    let many = format!("[{}{{}}]", "{},".repeat(MAX_EVENTS));
    assert_eq!(parse(&message(many)).expect_err("many").code, ErrorCode::MessageTooLarge);
    let deep = "[".repeat(100_000);
    assert_eq!(parse(&message(deep)).expect_err("deep").code, ErrorCode::MessageUnparseable);
}

#[test]
fn a_batch_is_split_into_messages_that_parse_alone() {
    let good = cloud_event("Microsoft.Storage.BlobCreated", &json!({"url": "https://h/c/b"}));
    let mut batch = message(format!(" {}", json!([good, 5, good])));
    batch.attributes.message_id = Some("m".to_owned());
    batch.attributes.attempt = 2;
    assert!(parse(&batch).is_err(), "one bad event spoils an unsplit batch");
    let parts = split(&batch).expect("an array").expect("several");
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2].attributes.message_id.as_deref(), Some("m.2"));
    assert_eq!(parts[2].attributes.attempt, 2);
    assert_eq!(parse(&parts[0]).expect("parses").len(), 1);
    assert!(parse(&parts[1]).is_err());
    assert_eq!(split(&message(json!([good]).to_string())).expect("fine"), None);
    assert_eq!(split(&message(good.to_string())).expect("fine"), None);
}
