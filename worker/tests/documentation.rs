//! What the documents say and what the code has are the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;

use nightread::settings::keys::KEYS;
use nightread::telemetry::metrics::table::METRICS;

#[test]
fn every_metric_that_a_document_names_is_in_the_table() {
    let known: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    for path in ["README.md", "worker/OPERATIONS.md", "infra/README.md"] {
        let text = fs::read_to_string(support::repository().join(path)).unwrap();
        let named = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("nightread_"));
        for name in named {
            assert!(known.contains(name), "{path} names {name}");
        }
    }
}

#[test]
fn settings_have_distinct_variables_and_say_what_they_are() {
    let variables: BTreeSet<String> = KEYS.iter().map(nightread::settings::keys::Key::variable).collect();
    assert_eq!(variables.len(), KEYS.len());
    assert!(KEYS.iter().all(|key| !key.help.is_empty()));
}

#[test]
fn the_contract_is_current() {
    let path = support::repository().join("worker/contract.json");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written.strip_suffix('\n') == Some(&nightread::contract::text()),
        "{} is not current: run `make reference`",
        path.display()
    );
}

#[test]
fn the_generated_reference_is_current() {
    for (name, text) in nightread::reference::pages() {
        let path = support::repository().join("worker/docs/reference").join(name);
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{} is not current: run `make reference`", path.display());
    }
}
