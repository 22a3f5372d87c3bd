//! Comparisons against `schemas/comparison.v1.json`, which lets no field be there that it does not name, nor one be missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{components, document, findings, options, segments};
use nightread_compare::{
    Cohorts, CompareOptions, Comparison, JoinKey, Limit, RolloutLimits, Truth, TruthColumns, Which,
};
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../schemas/comparison.v1.json");

/// What is wrong with it by the schema.
fn wrong(comparison: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(comparison).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Radiographs, scans and volumes, flips of all, failures, studies on one side, and a truth.
fn whole() -> Value {
    let mut cohorts = Cohorts::new(JoinKey::Study);
    for (side, version, mass, label) in
        [(Which::A, "1.0.0", 0.1, Some("DMN")), (Which::B, "1.1.0", 0.9, None)]
    {
        for nth in 0..6 {
            let shared = if nth % 2 == 0 { mass } else { 0.7 };
            let payload = findings(&[("Mass", shared), ("Nodule", 0.2)]);
            cohorts.add(side, &document(&format!("{nth}.png"), version, payload)).unwrap();
        }
        let scan = components(&[(0, label, 0.8), (1, Some("NOISE"), 0.6)]);
        cohorts.add(side, &document("scan.nii.gz", version, scan)).unwrap();
        let spleen = (side == Which::A).then_some(200.0);
        let volume = segments(&[("liver", Some(1500.0), 60.0), ("spleen", spleen, 50.0)]);
        cohorts.add(side, &document("volume", version, volume)).unwrap();
    }
    cohorts.add(Which::A, &document("gone.png", "1.0.0", findings(&[("Mass", 0.2)]))).unwrap();
    cohorts.add(Which::A, &document("broken.png", "1.0.0", findings(&[("Mass", 0.2)]))).unwrap();
    cohorts.add(Which::B, &document("broken.png", "1.1.0", None)).unwrap();
    let rows: Vec<String> = (0..6).map(|nth| format!("local/{nth}.png,p{},{}\n", nth % 4, nth % 2)).collect();
    let rows = rows.concat();
    let columns = TruthColumns { study: "study".to_owned(), group: Some("patient".to_owned()) };
    let truth = Truth::read(format!("study,patient,Mass\n{rows}").as_bytes(), &columns).unwrap();
    let limits = RolloutLimits { flips: Some(Limit::Percent(1.0)), ..RolloutLimits::default() };
    let options = CompareOptions { limits, truth: Some((&truth, Some("patient"))), ..options() };
    serde_json::to_value(Comparison::of(&cohorts, &options).unwrap()).unwrap()
}

#[test]
fn a_whole_comparison_is_as_the_schema_says() {
    let comparison = whole();
    assert_eq!(wrong(&comparison), [""; 0]);
    // Nothing that the schema has is untried.
    for part in ["labels", "named_flips", "checks"] {
        assert!(!comparison[part].as_array().unwrap().is_empty(), "{part}");
    }
    assert!(!comparison["components"]["changes"].as_array().unwrap().is_empty());
    for part in ["by_label", "named_flips"] {
        assert!(!comparison["segments"][part].as_array().unwrap().is_empty(), "{part}");
    }
    assert!(!comparison["judgement"]["labels"].as_array().unwrap().is_empty());
    assert!(!comparison["unpaired"]["named"].as_array().unwrap().is_empty());
    assert_eq!(comparison["failures"]["blob_empty"], serde_json::json!([0, 1]));
}

#[test]
fn one_of_nothing_but_failures_is_too() {
    let mut cohorts = Cohorts::new(JoinKey::Name);
    for (side, version) in [(Which::A, "1.0.0"), (Which::B, "1.1.0")] {
        cohorts.add(side, &document("x.png", version, None)).unwrap();
    }
    let comparison = serde_json::to_value(Comparison::of(&cohorts, &options()).unwrap()).unwrap();
    assert!(comparison["components"].is_null() && comparison["segments"].is_null());
    assert!(comparison["judgement"].is_null());
    assert_eq!(wrong(&comparison), [""; 0]);
}

#[test]
fn the_schema_lets_nothing_else_pass() {
    for (pointer, name) in [
        ("", "new"),
        ("/labels/0", "new"),
        ("/segments/by_label/0", "new"),
        ("/judgement/labels/0/auc/a", "new"),
    ] {
        let mut comparison = whole();
        comparison.pointer_mut(pointer).unwrap()[name] = Value::from(1);
        assert!(!wrong(&comparison).is_empty(), "{pointer}/{name}");
    }
    for (pointer, name) in [
        ("", "flips"),
        ("/labels/0", "kappa"),
        ("/components/by_index/0", "peak_distance_mm"),
        ("/segments/by_label/0", "volume_ml"),
    ] {
        let mut comparison = whole();
        comparison.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        assert!(!wrong(&comparison).is_empty(), "{pointer}/{name}");
    }
}
