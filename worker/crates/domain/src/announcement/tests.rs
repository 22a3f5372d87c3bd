use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::blob::BlobRef;
use crate::lanes::Lane;
use crate::message::Attributes;
use crate::study::SeriesSource;

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

fn account_at(endpoint: &str) -> AllowedSources {
    AllowedSources::new([endpoint], ["incoming"], "results").expect("sound settings")
}

fn resolves(allowed: &AllowedSources, url: &str) -> bool {
    let job = Announcement {
        location: Location::Url(url.to_owned()),
        model: None,
        force: false,
        correlation_id: None,
    };
    job.resolve(allowed).is_ok()
}

#[test]
fn an_account_is_known_by_all_its_names() {
    for (endpoint, announced) in [
        ("https://a.blob.core.windows.net", "https://a.dfs.core.windows.net"),
        ("https://a.blob.core.windows.net/", "https://A.DFS.core.windows.net:443"),
        ("https://a.dfs.core.windows.net", "https://a.blob.core.windows.net"),
        ("https://a.z12.blob.storage.azure.net", "https://a.z12.dfs.storage.azure.net"),
        ("https://a.blob.core.chinacloudapi.cn", "https://a.dfs.core.chinacloudapi.cn"),
        ("https://a.privatelink.blob.core.windows.net", "https://a.blob.core.windows.net"),
        ("https://a.privatelink.blob.core.windows.net", "https://a.dfs.core.windows.net"),
        ("https://images.hospital.example", "https://images.hospital.example"),
    ] {
        let allowed = account_at(endpoint);
        for endpoint in [endpoint, announced] {
            let url = format!("{}/incoming/a.png", endpoint.trim_end_matches('/'));
            assert!(resolves(&allowed, &url), "{url}");
        }
    }
    let account = account_at("https://a.blob.core.windows.net");
    for other in [
        "https://b.dfs.core.windows.net/incoming/a.png",
        "http://a.dfs.core.windows.net/incoming/a.png",
        "https://a.queue.core.windows.net/incoming/a.png",
        "https://a.dfs.core.windows.net.evil.example/incoming/a.png",
        "https://blob.core.windows.net/incoming/a.png",
    ] {
        assert!(!resolves(&account, other), "{other}");
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

#[test]
fn urls_of_the_configured_account_become_blobs() {
    for (url, container, name) in [
        ("https://nightread.blob.core.windows.net/incoming/a/b.png", "incoming", "a/b.png"),
        ("HTTPS://NightRead.Blob.Core.Windows.Net:443/incoming/b.png", "incoming", "b.png"),
        ("http://127.0.0.1:10000/devstoreaccount1/archive/a%20b%2Fc%23%3F%2B.png", "archive", "a b/c#?+.png"),
        ("https://nightread.blob.core.windows.net/incoming/r%C3%B6ntgen 1.png", "incoming", "röntgen 1.png"),
        ("https://nightread.blob.core.windows.net/incoming/100%25.png", "incoming", "100%.png"),
        ("https://nightread.blob.core.windows.net/incoming/a%2525b.png", "incoming", "a%25b.png"),
        ("https://nightread.blob.core.windows.net/incoming/a%252Fb.png", "incoming", "a%2Fb.png"),
        ("https://nightread.blob.core.windows.net/incoming/%252e%252e/b.png", "incoming", "%2e%2e/b.png"),
        ("https://nightread.blob.core.windows.net/incoming/a%255C%2500.png", "incoming", "a%5C%00.png"),
        ("https://nightread.blob.core.windows.net/incoming/a//b..c", "incoming", "a//b..c"),
    ] {
        let expected = Resolved::Blob(BlobRef::new(container, name).expect("sound"));
        assert_eq!(resolve_url(url).expect(url), expected);
    }
    let own = resolve_url("https://nightread.blob.core.windows.net/results/m/1/x.json").expect("known");
    assert_eq!(own, Resolved::OwnResult);
}

#[test]
fn hostile_urls_are_refused() {
    let account = "https://nightread.blob.core.windows.net";
    for url in [
        "https://evil.example/incoming/a.png".to_owned(),
        "https://nightread.blob.core.windows.net.evil.example/incoming/a".to_owned(),
        "https://evil.example/nightread.blob.core.windows.net/incoming/a".to_owned(),
        "http://nightread.blob.core.windows.net/incoming/a".to_owned(),
        "https://nightread.blob.core.windows.net:8443/incoming/a".to_owned(),
        "https://nightread.blob.core.windows.net./incoming/a".to_owned(),
        "https://127.0.0.1:10000/devstoreaccount1/incoming/a".to_owned(),
        "http://127.0.0.1:10000/otheraccount/incoming/a".to_owned(),
        "http://127.0.0.1:10000/devstoreaccount1x/incoming/a".to_owned(),
        "http://127.0.0.1:+10000/devstoreaccount1/incoming/a".to_owned(),
        "http://127.0.0.1:110000/devstoreaccount1/incoming/a".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//nightread.blob.core.windows.net/incoming/a".to_owned(),
        "incoming/a".to_owned(),
        String::new(),
        "https://nightread.blob.core.windows.net@evil.example/incoming/a".to_owned(),
        "https://user:pw@nightread.blob.core.windows.net/incoming/a".to_owned(),
        "https://evil.example\\@nightread.blob.core.windows.net/incoming/a".to_owned(),
        format!("{account}\\incoming\\a"),
        format!("{account}/incoming/a?sv=2024&sig=x"),
        format!("{account}/incoming/a#part"),
        format!("{account}/incoming/../results/a"),
        format!("{account}/incoming/%2e%2e/results/a"),
        format!("{account}/incoming/%2E%2E%2Fresults%2Fa"),
        format!("{account}/incoming/..%2fa"),
        format!("{account}/incoming/a%5c..%5cb"),
        format!("{account}/incoming/a%00.png"),
        format!("{account}/incoming/a%0d%0aHost:%20evil"),
        format!("{account}/incoming/%2fa"),
        format!("{account}/incoming/%ff%fe"),
        format!("{account}/incoming/100%.png"),
        format!("{account}/incoming/a%2"),
        format!("{account}/incoming/a\nb"),
        format!("{account}/incoming"),
        format!("{account}/incoming/"),
        format!("{account}//incoming/a"),
        format!("{account}/incoming%2fa"),
        format!("{account}/%69ncoming/a"),
        format!("{account}/Incoming/a"),
        format!("{account}/secrets/a"),
        format!("{account}/incoming/{}", "x".repeat(1025)),
    ] {
        let error = resolve_url(&url).expect_err(&url);
        assert_eq!(error.code, ErrorCode::SourceNotAllowed, "{url}");
        assert!(!error.message.contains("sig="), "an error never quotes a signature");
    }
}

fn resolve(blob: &str) -> Result<Resolved, JobError> {
    let native = Native { blob: blob.to_owned(), model: None, force: false, correlation_id: None };
    Announcement::from(native).resolve(&allowed())
}

#[test]
fn paths_are_taken_literally_and_checked() {
    let by_url = resolve("https://nightread.blob.core.windows.net/incoming/a%20b.png").expect("allowed");
    assert_eq!(by_url, Resolved::Blob(BlobRef::new("incoming", "a b.png").expect("sound")));
    let literal = BlobRef::new("incoming", "a%20b.png").expect("sound");
    assert_eq!(resolve("incoming/a%20b.png").expect("allowed"), Resolved::Blob(literal));
    assert_eq!(resolve("results/x.json").expect("known"), Resolved::OwnResult);
    for path in ["secrets/x", "incoming/../results/x", "/incoming/x", "incoming", "https://h/incoming/x"] {
        assert_eq!(resolve(path).expect_err(path).code, ErrorCode::SourceNotAllowed);
    }
}

#[test]
fn settings_that_would_feed_the_fleet_to_itself_are_refused() {
    for (endpoints, inputs) in [
        (vec![AZURE], vec!["incoming", "results"]),
        (vec!["ftp://x/"], vec!["incoming"]),
        (vec![], vec!["UPPER"]),
    ] {
        let error = AllowedSources::new(endpoints, inputs, "results").expect_err("refused");
        assert_eq!(error.code, ErrorCode::SettingsInvalid);
    }
    let folder = AllowedSources::new([], ["incoming"], "results").expect("a folder has no endpoints");
    let url = Location::Url("https://nightread.blob.core.windows.net/incoming/a".to_owned());
    let job = Announcement { location: url, model: None, force: false, correlation_id: None };
    assert_eq!(job.resolve(&folder).expect_err("no URLs").code, ErrorCode::SourceNotAllowed);
}

/// Text near the forms that are read, so that the generator reaches past the first check.
fn near_announcement() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "\"specversion\"",
        "\"1.0\"",
        "\"type\"",
        "\"Microsoft.Storage.BlobCreated\"",
        "\"id\"",
        "\"source\"",
        "\"data\"",
        "\"url\"",
        "\"eventType\"",
        "\"blob\"",
        "\"incoming/a\"",
        "\"force\"",
        "true",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "1e999",
        "\"\\ud800\"",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

fn near_url() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "https://",
        "http://",
        "nightread.blob.core.windows.net",
        "127.0.0.1",
        ":10000",
        "/devstoreaccount1",
        "/incoming",
        "/results",
        "/",
        "..",
        "%2e",
        "%2F",
        "%25",
        "%00",
        "%",
        "@",
        "?",
        "#",
        "\\",
        "[::1]",
        ":",
        "ü",
        "a.png",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400), binary: bool) {
        let mut message = message(body);
        if binary {
            message.attributes.cloud_event.insert("type".to_owned(), "Microsoft.Storage.BlobCreated".to_owned());
        }
        let _ = parse(&message);
        let _ = split(&message);
    }

    #[test]
    fn near_announcements_never_panic(body in near_announcement()) {
        if let Ok(parsed) = parse(&message(body)) {
            for announced in parsed {
                if let Announced::Job(job) = announced {
                    let _ = job.resolve(&allowed());
                }
            }
        }
    }

    #[test]
    fn whatever_resolves_lies_in_an_allowed_container_and_stays_in_it(url in near_url()) {
        if let Ok(Resolved::Blob(blob)) = resolve_url(&url) {
            prop_assert!(["incoming", "archive"].contains(&blob.container()));
            prop_assert!(!blob.name().split(['/', '\\']).any(|segment| segment == ".."));
            let ours = url.starts_with("https://nightread.blob.core.windows.net/")
                || url.starts_with("http://127.0.0.1:10000/devstoreaccount1/");
            prop_assert!(ours, "{url}");
        }
    }

    #[test]
    fn an_encoded_name_comes_back(name in "[a-z0-9 ü#?+&=~()'-]{1,20}") {
        let encoded = hex::encode_upper(&name).as_bytes().chunks(2).fold(String::new(), |url, pair| {
            url + "%" + &String::from_utf8_lossy(pair)
        });
        let url = format!("https://nightread.blob.core.windows.net/incoming/{encoded}");
        let expected = Resolved::Blob(BlobRef::new("incoming", name).expect("sound"));
        prop_assert_eq!(resolve_url(&url).expect("resolves"), expected);
    }
}

fn resolve_series(body: &Value) -> Result<Resolved, JobError> {
    match parse(&message(body.to_string()))?.as_slice() {
        [Announced::Job(announcement)] => announcement.resolve(&allowed()),
        other => panic!("no job: {other:?}"),
    }
}

#[test]
fn a_series_is_a_set_document_or_a_prefix() {
    let blob = |text: &str| BlobRef::parse(text).expect("a name");
    for name in ["incoming/sets/1.json", "results/_series/incoming/ct/1.2.json"] {
        let set = json!({"series": {"set": name}});
        let expected = Resolved::Series(SeriesSource::Set(blob(name)));
        assert_eq!(resolve_series(&set).expect("allowed"), expected);
    }
    for instances in [None, Some(120)] {
        let folder = json!({"series": "incoming/ct/1/", "instances": instances, "model": "ct"});
        let expected = Resolved::Series(SeriesSource::Folder { folder: blob("incoming/ct/1"), instances });
        assert_eq!(resolve_series(&folder).expect("allowed"), expected);
    }
}

#[test]
fn a_series_lies_where_blobs_may_be_read() {
    for name in [
        json!({"set": "other/sets/1.json"}),
        json!({"set": "results/one/1.0.0/incoming/a.json"}),
        json!({"set": "results/_series.json"}),
        json!({"set": "results/_series/../one/a.json"}),
        json!({"set": "incoming/sets/1.txt"}),
        json!("incoming/ct/1"),
        json!("incoming/"),
        json!("results/_series/"),
        json!("other/ct/1/"),
        json!("incoming/../results/x/"),
    ] {
        let error = resolve_series(&json!({"series": name})).expect_err("refused");
        assert_eq!(error.code, ErrorCode::SourceNotAllowed, "{name}");
    }
}

#[test]
fn the_native_form_of_a_series_is_strict_and_comes_back_as_it_was_written() {
    for wrong in [
        json!({"series": 5}),
        json!({"series": {"set": 5}}),
        json!({"series": {"set": "incoming/a.json", "more": 1}}),
        json!({"series": {"set": "incoming/a.json"}, "instances": 3}),
        json!({"series": "incoming/a/", "instances": 0}),
        json!({"series": "incoming/a/", "instances": -1}),
        json!({"series": "incoming/a/", "blob": "incoming/a"}),
        json!({"series": "incoming/a/", "modell": "ct"}),
    ] {
        let error = parse(&message(wrong.to_string())).expect_err("refused");
        assert_eq!(error.code, ErrorCode::MessageUnparseable, "{wrong}");
    }
    let native = NativeSeries { force: true, ..NativeSeries::of_set("results/_series/incoming/1.json") };
    let body = serde_json::to_value(&native).expect("it serialises");
    assert_eq!(body, json!({"series": {"set": "results/_series/incoming/1.json"}, "force": true}));
    let dapr =
        json!({"specversion": "1.0", "type": "com.dapr.event.sent", "id": "1", "source": "s", "data": body});
    for body in [body, dapr] {
        let parsed = parse(&message(body.to_string())).expect("parses");
        let expected = Announcement::try_from(native.clone()).expect("sound");
        assert_eq!(parsed, vec![Announced::Job(expected)]);
    }
}
