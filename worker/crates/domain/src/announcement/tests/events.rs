use std::collections::BTreeMap;

use serde_json::json;

use super::*;

#[test]
fn structured_batched_and_event_grid_forms_are_read() {
    let data = json!({"api": "PutBlob", "url": "https://h/c/b"});
    let event = cloud_event("Microsoft.Storage.BlobCreated", &data);
    let grid = json!({"id": "g-1", "eventType": "Microsoft.Storage.BlobCreated", "topic": "/t", "subject": "/s",
        "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "", "data": data});
    for body in [event.clone(), json!([event]), grid.clone(), json!([grid])] {
        let parsed = parse(&message(body.to_string())).expect("parses");
        assert_eq!(parsed.len(), 1);
        assert_eq!(job_url(&parsed[0]), "https://h/c/b");
    }
    let mixed = json!([event, cloud_event("Microsoft.Storage.BlobDeleted", &json!({})), grid]);
    let parsed = parse(&message(mixed.to_string())).expect("parses");
    assert_eq!(parsed.len(), 3);
    assert!(matches!(&parsed[1], Announced::Ignored { event_type } if event_type.ends_with("BlobDeleted")));
}

/// An event of a blob's creation in which one attribute is another.
fn created_with(attribute: &str, value: Value) -> Value {
    let mut event = cloud_event("Microsoft.Storage.BlobCreated", &json!({"url": "https://h/c/b"}));
    event[attribute] = value;
    event
}

#[test]
fn broken_events_are_refused() {
    let url = json!({"url": "https://h/c/b"});
    let mut sourceless = cloud_event("Microsoft.Storage.BlobCreated", &url);
    sourceless.as_object_mut().expect("an object").remove("source");
    for wrong in [
        created_with("specversion", json!("0.3")),
        created_with("specversion", json!(1.0)),
        created_with("type", json!("")),
        created_with("type", json!(7)),
        created_with("id", json!("")),
        created_with("data", json!("text")),
        created_with("data", json!({"url": 5})),
        created_with("data", json!(null)),
        sourceless,
        json!({"eventType": "Microsoft.Storage.BlobCreated"}),
        json!([created_with("id", json!("e")), 5]),
    ] {
        let error = parse(&message(wrong.to_string())).expect_err("refused");
        assert_eq!(error.code, ErrorCode::MessageUnparseable, "{wrong}");
    }
}

#[test]
fn binary_mode_takes_attributes_from_headers_and_data_from_the_body() {
    let mut binary = message(json!({"url": "https://h/c/b"}).to_string());
    binary.attributes.correlation_id = Some("outer".to_owned());
    binary.attributes.cloud_event = BTreeMap::from(
        [("specversion", "1.0"), ("type", "Microsoft.Storage.BlobCreated"), ("source", "/s"), ("id", "e")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let parsed = parse(&binary).expect("parses");
    assert!(matches!(&parsed[0], Announced::Job(job) if job.correlation_id.as_deref() == Some("outer")));

    let mut other = binary.clone();
    other.attributes.cloud_event.insert("type".to_owned(), "other.type".to_owned());
    other.body = vec![0xff, 0x00].into();
    assert!(matches!(&parse(&other).expect("parses")[0], Announced::Ignored { .. }));

    for name in ["specversion", "type", "source", "id"] {
        let mut lacking = binary.clone();
        lacking.attributes.cloud_event.remove(name);
        assert_eq!(parse(&lacking).expect_err(name).code, ErrorCode::MessageUnparseable);
    }
}

#[test]
fn a_blob_that_is_not_yet_committed_is_left_for_its_commit() {
    for (api, is_job) in [
        ("CreateFile", false),
        ("SftpCreate", false),
        ("CreateDirectory", false),
        ("FlushWithClose", true),
        ("SftpCommit", true),
        ("CopyBlob", true),
    ] {
        let data = json!({"api": api, "url": "https://h/c/b"});
        let body = cloud_event("Microsoft.Storage.BlobCreated", &data).to_string();
        let parsed = parse(&message(body)).expect("parses");
        assert_eq!(matches!(parsed[0], Announced::Job(_)), is_job, "{api}");
    }
}

#[test]
fn a_renamed_blob_is_read_under_its_new_name() {
    let data = json!({"api": "RenameFile", "sourceUrl": "https://h/c/old.png", "destinationUrl": "https://h/c/new.png"});
    let parsed = parse(&message(cloud_event("Microsoft.Storage.BlobRenamed", &data).to_string()));
    assert_eq!(job_url(&parsed.expect("parses")[0]), "https://h/c/new.png");
    let nameless = cloud_event("Microsoft.Storage.BlobRenamed", &json!({"url": "https://h/c/old.png"}));
    assert!(parse(&message(nameless.to_string())).is_err());
}

#[test]
fn only_what_leaves_the_archive_is_announced_by_its_tier() {
    for (previous, now, is_job) in [
        (None, None, true),
        (Some("Archive"), Some("Hot"), true),
        (Some("archive"), Some("Cool"), true),
        (None, Some("Cold"), true),
        (Some("Archive"), None, true),
        (Some("Hot"), Some("Cool"), false),
        (Some("Hot"), None, false),
        (Some("Hot"), Some("Archive"), false),
        (None, Some("Archive"), false),
    ] {
        let data = json!({"api": "SetBlobTier", "url": "https://h/c/b", "previousTier": previous, "accessTier": now});
        let event = cloud_event("Microsoft.Storage.BlobTierChanged", &data).to_string();
        let parsed = parse(&message(event)).expect("parses");
        assert_eq!(matches!(parsed[0], Announced::Job(_)), is_job, "{previous:?} to {now:?}");
    }
}

/// JSON text in base64, as `.NET` and Event Grid write it.
fn base64(text: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

#[test]
fn data_is_read_however_it_is_wrapped() {
    let data = json!({"api": "PutBlob", "url": "https://h/c/b"});
    let text = data.to_string();
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    let wrapped: Vec<_> = base64(text.as_bytes())
        .as_bytes()
        .chunks(19)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    for (field, value) in [
        ("data", json!(text)),
        ("data", json!(format!("\u{feff}{text}"))),
        ("data_base64", json!(base64(text.as_bytes()))),
        ("data_base64", json!(base64(&marked))),
        ("data_base64", json!(wrapped.join("\n"))),
        ("data_base64", json!(base64(json!(text).to_string().as_bytes()))),
    ] {
        let mut event = cloud_event("Microsoft.Storage.BlobCreated", &Value::Null);
        event.as_object_mut().expect("an object").remove("data");
        event[field] = value;
        let body = [b"\xef\xbb\xbf", event.to_string().as_bytes()].concat();
        let parsed = parse(&message(body)).unwrap_or_else(|error| panic!("{field}: {error}"));
        assert_eq!(job_url(&parsed[0]), "https://h/c/b");
    }
    for wrong in [json!("%%%"), json!(7), json!(base64(b"text"))] {
        let mut event = cloud_event("Microsoft.Storage.BlobCreated", &Value::Null);
        event["data_base64"] = wrong;
        assert_eq!(
            parse(&message(event.to_string())).expect_err("no data").code,
            ErrorCode::MessageUnparseable
        );
    }
}

#[test]
fn a_mark_before_any_form_is_passed_over() {
    let native = json!({"blob": "incoming/a.png"});
    let created = cloud_event("Microsoft.Storage.BlobCreated", &json!({"url": "https://h/c/b"}));
    for body in [native.to_string(), created.to_string(), json!([created]).to_string()] {
        let marked = message([b"\xef\xbb\xbf", body.as_bytes()].concat());
        assert_eq!(parse(&marked).expect("parses").len(), 1);
    }
    let batch = message([b"\xef\xbb\xbf", json!([created, created]).to_string().as_bytes()].concat());
    assert_eq!(split(&batch).expect("an array").expect("several").len(), 2);
}

fn dapr(data: &Value) -> Value {
    json!({"specversion": "1.0", "id": "x", "source": "gateway", "type": "com.dapr.event.sent",
        "datacontenttype": "application/json", "pubsubname": "p", "topic": "t", "data": data})
}

#[test]
fn daprs_envelope_is_opened_where_its_inside_is_known() {
    let native = json!({"blob": "incoming/a.png"});
    let created = cloud_event("Microsoft.Storage.BlobCreated", &json!({"url": "https://h/c/b"}));
    for inside in [native.clone(), json!(native.to_string()), created.clone(), json!([created])] {
        let parsed = parse(&message(dapr(&inside).to_string())).expect("parses");
        assert!(matches!(parsed[..], [Announced::Job(_)]), "{parsed:?}");
    }
    let batch = message(dapr(&json!([created, created])).to_string());
    assert_eq!(split(&batch).expect("an array").expect("several").len(), 2);
    let mut encoded = dapr(&Value::Null);
    encoded["data_base64"] = json!(base64(native.to_string().as_bytes()));
    assert!(matches!(parse(&message(encoded.to_string())).expect("parses")[..], [Announced::Job(_)]));
    for unknown in [json!("hello"), json!({"order": 7}), Value::Null] {
        let parsed = parse(&message(dapr(&unknown).to_string())).expect("parses");
        assert!(
            matches!(&parsed[..], [Announced::Ignored { event_type }] if event_type == "com.dapr.event.sent")
        );
    }
}
