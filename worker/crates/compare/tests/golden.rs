//! Every figure against an independent script (`golden/compare.py`): scikit-learn, NumPy and pandas on the same planted case.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::{bootstrap, document, options, segment};
use nightread_compare::{Cohorts, CompareOptions, Comparison, JoinKey, Truth, TruthColumns, Which};
use nightread_domain::result::{Component, ComponentMap, Finding, Payload};
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The rows of a file, each by the names of its columns.
fn rows(name: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(golden(name)).unwrap();
    let rows: Vec<_> = reader.deserialize().map(Result::unwrap).collect();
    assert!(rows.len() > 100, "{name}");
    rows
}

/// The payloads of one side, by study.
fn payloads(side: &str) -> BTreeMap<String, Payload> {
    let mut payloads = BTreeMap::new();
    for row in rows("findings.csv") {
        let number = |name: &str| row[&format!("{name}_{side}")].parse::<f32>().ok();
        let none = || Payload::Findings { findings: Vec::new(), measurements: Vec::new() };
        let Payload::Findings { findings, .. } = payloads.entry(row["study"].clone()).or_insert_with(none)
        else {
            panic!("a study of two kinds")
        };
        if let (Some(logit), Some(probability), Some(positive)) =
            (number("logit"), number("probability"), number("positive"))
        {
            let (label, positive) = (row["label"].clone(), positive > 0.5);
            findings.push(Finding { label, logit, probability, threshold: 0.5, positive });
        }
    }
    for row in rows("components.csv") {
        let text = |name: &str| row[&format!("{name}_{side}")].as_str();
        let number = |name: &str| text(name).parse::<f64>().ok();
        let none = || Payload::Components { components: Vec::new(), regression: None };
        let Payload::Components { components, .. } =
            payloads.entry(row["study"].clone()).or_insert_with(none)
        else {
            panic!("a study of two kinds")
        };
        components.push(Component {
            index: row["index"].parse().unwrap(),
            label: Some(text("label")).filter(|label| !label.is_empty()).map(str::to_owned),
            family: String::new(),
            probability: text("probability").parse().unwrap(),
            top: Vec::new(),
            map: number("x").zip(number("y")).zip(number("z")).map(|((x, y), z)| ComponentMap {
                peak_mni_mm: [x, y, z],
                peak_z: None,
                group_correlation: number("correlation"),
                peak_at_chance: None,
            }),
            flags: Vec::new(),
        });
    }
    for row in rows("segments.csv") {
        let number = |name: &str| row[&format!("{name}_{side}")].parse::<f64>().ok();
        let none = || Payload::Segments { segments: Vec::new() };
        let Payload::Segments { segments } = payloads.entry(row["study"].clone()).or_insert_with(none) else {
            panic!("a study of two kinds")
        };
        // Not in the document without a volume; 0 mL where it was not found.
        let Some(volume) = number("volume") else { continue };
        let found = Some(volume).filter(|volume| *volume > 0.0);
        segments.push(segment(&row["label"], found, number("mean").unwrap_or_default()));
    }
    payloads
}

fn cohorts() -> Cohorts {
    let mut cohorts = Cohorts::new(JoinKey::Name);
    for (which, side) in [(Which::A, "a"), (Which::B, "b")] {
        for (study, payload) in payloads(side) {
            cohorts.add(which, &document(&study, side, Some(payload))).unwrap();
        }
    }
    cohorts
}

/// Where `found` is not as expected, to 1e-9. Keys that only `found` has are passed over, and lists are of one length.
fn apart(expected: &Value, found: &Value, path: &str, problems: &mut Vec<String>, held: &mut usize) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                let of = found.get(key).unwrap_or_else(|| panic!("{path}.{key} is not there"));
                apart(value, of, &format!("{path}.{key}"), problems, held);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (place, (one, other)) in expected.iter().zip(found).enumerate() {
                apart(one, other, &format!("{path}[{place}]"), problems, held);
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            *held += 1;
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            if (one - other).abs() > 1e-9 {
                problems.push(format!("{path}: {one} by the script, {other} here"));
            }
        }
        _ if expected == found => *held += 1,
        _ => problems.push(format!("{path}: {expected} by the script, {found} here")),
    }
}

#[test]
fn every_figure_is_the_scripts() {
    let cohorts = cohorts();
    let columns = TruthColumns { study: "study".to_owned(), group: Some("patient".to_owned()) };
    let truth = Truth::read(File::open(golden("truth.csv")).unwrap(), &columns).unwrap();
    let options =
        CompareOptions { truth: Some((&truth, Some("patient"))), bootstrap: bootstrap(300, 7), ..options() };
    let found = serde_json::to_value(Comparison::of(&cohorts, &options).unwrap()).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(golden("expected.json")).unwrap()).unwrap();
    let (mut problems, mut held) = (Vec::new(), 0);
    apart(&expected, &found, "", &mut problems, &mut held);
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(held > 1000, "{held} figures were held");
    // A case that shows what it should: decisions that flip, ties, what is undefined, and labels on one side only.
    let text = expected.to_string();
    assert!(
        text.contains("\"auc\":{\"a\":{\"high\":null,\"low\":null,\"undefined_draws\":300,\"value\":null}")
    );
    assert!(expected["flips"].as_u64().unwrap() > 20);
    assert!(expected["segments"]["flips"].as_u64().unwrap() > 5);
    assert!(expected["labels"].as_array().unwrap().iter().any(|label| label["only_in_a"] != 0));
    let mut wrong = expected.clone();
    wrong["labels"][0]["kappa"] = (wrong["labels"][0]["kappa"].as_f64().unwrap() + 2e-9).into();
    apart(&wrong, &found, "", &mut problems, &mut held);
    assert_eq!(problems.len(), 1, "a figure that is off is found");
}
