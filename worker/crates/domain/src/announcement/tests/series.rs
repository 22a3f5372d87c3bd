use serde_json::json;

use super::*;
use crate::blob::BlobRef;
use crate::study::SeriesSource;

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
