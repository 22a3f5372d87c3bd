//! The schema of announcements says what the parser does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use nightread_domain::announcement::{Announced, parse};
use nightread_domain::message::Attributes;
use nightread_domain::{ErrorCode, Lane, Message};
use nightread_tests::parts::root;

fn each(folder: &str, mut check: impl FnMut(&str, &serde_json::Value, &Message)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/announcements").join(folder);
    let mut count = 0;
    for entry in std::fs::read_dir(path).expect("fixtures") {
        let path = entry.expect("an entry").path();
        let body = std::fs::read(&path).expect("a fixture");
        let value = serde_json::from_slice(&body).expect("fixtures are JSON");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        check(&name, &value, &Message { body: body.into(), attributes: Attributes::for_lane(Lane::Ingest) });
        count += 1;
    }
    assert!(count >= 8, "only {count} fixtures in {folder}");
}

#[test]
fn the_schema_and_the_parser_agree() {
    let text = std::fs::read(root().join("worker/schemas/announcement.v1.json")).expect("the schema");
    let schema = serde_json::from_slice(&text).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a sound schema");
    each("good", |name, value, message| {
        let problems: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
        assert!(!parse(message).expect(name).is_empty());
    });
    each("bad", |name, value, message| {
        assert!(!validator.is_valid(value), "{name} is valid by the schema");
        assert_eq!(parse(message).expect_err(name).code, ErrorCode::MessageUnparseable);
    });
}

#[test]
fn real_event_grid_samples_make_jobs() {
    let mut jobs = 0;
    each("good", |name, _, message| {
        for announced in parse(message).expect(name) {
            match announced {
                Announced::Job(_) => jobs += 1,
                Announced::Ignored { event_type } => {
                    let known = name.contains("deleted") || name.contains("batch");
                    assert!(known, "{name}: {event_type}");
                }
            }
        }
    });
    assert_eq!(jobs, 16);
}
