//! What the documents say and what the code has are the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;

use nightread::settings::keys::KEYS;

#[test]
fn every_metric_is_in_the_table_and_the_table_has_no_other() {
    let read = |path: &str| fs::read_to_string(support::repository().join(path)).unwrap();
    let metrics_in = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("nightread_"))
            .map(str::to_owned)
            .collect()
    };
    let code = read("worker/src/telemetry/metrics.rs");
    let named = metrics_in(&code.lines().filter(|line| line.starts_with("const ")).collect::<String>());
    assert!(named.len() > 8);
    let operations = read("worker/OPERATIONS.md");
    let table = operations.split("## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(metrics_in(table), named);
}

#[test]
fn settings_have_distinct_variables_and_say_what_they_are() {
    let variables: BTreeSet<String> = KEYS.iter().map(nightread::settings::keys::Key::variable).collect();
    assert_eq!(variables.len(), KEYS.len());
    assert!(KEYS.iter().all(|key| !key.help.is_empty()));
}

#[test]
fn the_generated_reference_is_current() {
    for (name, text) in nightread::reference::pages() {
        let path = support::repository().join("worker/docs/reference").join(name);
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{} is not current: run `make reference`", path.display());
    }
}
