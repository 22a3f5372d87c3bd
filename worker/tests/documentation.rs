//! What the documents say and what the code has are the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use nightread::settings::keys::KEYS;
use nightread::telemetry::metrics::table::METRICS;
use nightread_engine::Manifest;
use serde_json::Value;
use support::markdown::{Page, pages};
use toml::Table;

/// Those that speak to users of today's version.
fn documents() -> BTreeMap<PathBuf, Page> {
    pages(&support::repository())
}

#[test]
fn every_metric_that_a_document_names_is_in_the_table() {
    let known: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    let mut named = 0;
    for path in documents().into_keys() {
        let text = fs::read_to_string(support::repository().join(&path)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        // A crate has such a name too, and so has the package, `nightread_*.deb`.
        let others = ["nightread_models", "nightread_"];
        let ours = words.filter(|word| word.starts_with("nightread_") && !others.contains(word));
        for name in ours {
            named += 1;
            assert!(known.contains(name), "{} names {name}", path.display());
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn every_variable_that_a_document_names_is_a_settings() {
    let known: BTreeSet<String> = KEYS.iter().map(nightread::settings::keys::Key::variable).collect();
    let others = ["NIGHTREAD_CONFIG", "NIGHTREAD_LOG"];
    let mut named = 0;
    for (path, page) in documents() {
        for (_, code) in &page.code {
            let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '<'));
            // Those of the tests are the tests' own, and `<SECTION>` stands for any.
            let ours = words.filter(|word| word.starts_with("NIGHTREAD_") && !word.contains('<'));
            for name in ours.filter(|name| !name.starts_with("NIGHTREAD_TEST_")) {
                named += 1;
                assert!(known.contains(name) || others.contains(&name), "{} names {name}", path.display());
            }
        }
    }
    assert!(named > 60, "{named}");
}

#[test]
fn every_command_that_a_document_shows_is_there_with_its_options() {
    let contract: Value = serde_json::from_str(&nightread::contract::text()).unwrap();
    let mut shown = 0;
    for (path, page) in documents() {
        for line in page.code.iter().flat_map(|(_, code)| code.lines()) {
            let line = line.split(" #").next().unwrap();
            for part in line.split(['|', ';', '&', '(', ')']) {
                let words: Vec<&str> = part.split_whitespace().collect();
                let program =
                    words.iter().position(|word| *word == "nightread" || word.ends_with("/nightread"));
                let Some(words) = program.map(|at| &words[at + 1..]) else { continue };
                let known = |name: &str| contract["commands"].get(name);
                let [first, rest @ ..] = words else { continue };
                let double = rest.first().and_then(|second| known(&format!("{first} {second}")));
                let Some(command) = double.or_else(|| known(first)) else {
                    let is_sentence = !first.starts_with(|c: char| c.is_ascii_lowercase());
                    assert!(is_sentence, "{} shows `nightread {first}`: {line}", path.display());
                    continue;
                };
                shown += 1;
                for option in rest.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                    let option = option.split('=').next().unwrap();
                    let is_there = command["options"].get(option).is_some();
                    assert!(is_there, "{} shows {option} of `nightread {first}`: {line}", path.display());
                }
            }
        }
    }
    assert!(shown > 150, "{shown}");
}

#[test]
fn every_target_of_make_that_a_document_shows_is_in_the_makefile() {
    let makefile = fs::read_to_string(support::repository().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let mut shown = 0;
    for (path, page) in documents() {
        for line in page.code.iter().flat_map(|(_, code)| code.lines()) {
            let line = line.split(" #").next().unwrap();
            let Some((_, rest)) = line.split_once("make ").filter(|(before, _)| is_environment(before))
            else {
                continue;
            };
            for word in rest.split_whitespace().take_while(|word| !word.contains(['=', '"'])) {
                shown += 1;
                assert!(targets.contains(word), "{} shows `make {word}`", path.display());
            }
        }
    }
    assert!(shown > 30, "{shown}");
}

/// Nothing, or variables: `N=500 ROUNDS=3 `.
fn is_environment(before: &str) -> bool {
    before.split_whitespace().all(|word| word.contains('='))
}

#[test]
fn every_example_of_an_announcement_is_one() {
    let schema =
        fs::read_to_string(support::repository().join("worker/schemas/announcement.v1.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let page = documents().remove(&PathBuf::from("worker/docs/how-to/announce.md")).unwrap();
    let examples = page.code.iter().filter(|(language, _)| language.as_deref() == Some("json"));
    let examples: Vec<Value> = examples.map(|(_, text)| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(examples.len(), 2);
    for example in &examples {
        let problems: Vec<_> = validator.iter_errors(example).map(|problem| problem.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}: {example:#}");
    }
}

#[test]
fn every_field_of_manifests_is_on_their_page_and_every_one_there_is_known() {
    let page = fs::read_to_string(support::repository().join("worker/docs/reference/manifest.md")).unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let fields: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let manifests = [
        "cxr-pneumonia-demo",
        "fmri-networks-demo",
        "ct-organs-demo",
        "xrv-padchest-18",
        "padchest-26",
        "fmri-jhu-58",
    ]
    .map(|name| fs::read_to_string(support::models().join(name).join("manifest.toml")).unwrap());
    let manifests = manifests.map(|text| text.parse::<Table>().unwrap());
    for manifest in &manifests {
        for field in paths("", manifest) {
            assert!(fields.contains(&field), "{field} is not on the page");
        }
    }
    let with_heads = with_heads(&manifests[0]);
    let mut with_measurements = manifests[0].clone();
    with_measurements.insert("measurements".to_owned(), toml::Value::Array(vec![Table::new().into()]));
    let with_ensemble = with_ensemble(&manifests[0]);
    for field in &fields {
        // A model of images knows no maps, one of scans no side, and neither a window; heads stand in place of what one has.
        let mut kinds = manifests[..3].iter().chain([&with_heads, &with_measurements, &with_ensemble]);
        let known = kinds.any(|manifest| is_known(manifest, field));
        assert!(known, "{field} is on the page, and the worker does not know it");
    }
    assert!(!is_known(&manifests[0], "input.colour") && !is_known(&manifests[0], "labels.colour"));
}

/// The manifest with its one output of labels as a list.
fn with_heads(manifest: &Table) -> Table {
    let mut manifest = manifest.clone();
    let output = manifest["output"].clone();
    manifest["output"] = toml::toml! { heads = [] }.into();
    manifest["output"]["heads"] = toml::Value::Array(vec![output]);
    manifest
}

/// The manifest of several networks with the first lines of this one.
fn with_ensemble(manifest: &Table) -> Table {
    let mut manifest = manifest.clone();
    manifest.insert("ensemble".to_owned(), toml::toml! { members = [{}] }.into());
    manifest
}

/// `a.b` for each value; those of lists of tables once, without their place.
fn paths(above: &str, table: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in table {
        let path = format!("{above}{key}");
        match value {
            toml::Value::Table(inner) => found.extend(paths(&format!("{path}."), inner)),
            toml::Value::Array(rows) if rows.iter().any(toml::Value::is_table) => {
                let rows = rows.iter().filter_map(toml::Value::as_table);
                found.extend(rows.flat_map(|row| paths(&format!("{path}."), row)));
            }
            _ => {
                found.insert(path);
            }
        }
    }
    found
}

/// Whether the worker takes the field out of a manifest: with a value of no wanted type it must complain of that, and not of the key.
fn is_known(manifest: &Table, field: &str) -> bool {
    let mut manifest = manifest.clone();
    let (mut table, mut path) = (&mut manifest, field);
    while let Some((section, rest)) = path.split_once('.') {
        let inner = match table.entry(section).or_insert_with(|| toml::Value::Table(Table::new())) {
            toml::Value::Array(rows) => &mut rows[0],
            inner if inner.is_table() => inner,
            // What may be a text or a table.
            inner => {
                *inner = toml::Value::Table(Table::new());
                inner
            }
        };
        (table, path) = (inner.as_table_mut().unwrap(), rest);
    }
    table.insert(path.to_owned(), "1979-05-27".parse::<toml::value::Datetime>().unwrap().into());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("manifest.toml"), toml::to_string(&manifest).unwrap()).unwrap();
    let problems = Manifest::read(folder.path()).unwrap_err().problems;
    let mut of_it = problems.iter().filter(|problem| problem.at.replace("[0]", "") == field).peekable();
    of_it.peek().is_some() && of_it.all(|problem| !problem.what.contains("not a known key"))
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
