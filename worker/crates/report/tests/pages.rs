//! Reports of documents that a test makes up: hostile, in any order, of every kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread_domain::ResultDocument;
use nightread_report::scans::{Drawing, Files};
use nightread_report::{Gathered, Other, Pages, Report};
use proptest::prelude::*;
use serde_json::{Value, json};

const HOSTILE: &str = "a/<script>alert(1)</script>\"'&<!--</title>\u{2028}.png";

fn document(name: &str, parts: &Value) -> ResultDocument {
    let mut whole = json!({
        "schema": "nightread.result.v2",
        "status": "ok",
        "notice": "n",
        "task": "radiograph",
        "study": {
            "kind": "blob", "container": "local", "name": name, "version": null, "last_modified": null, "bytes": 1,
            "sha256": null, "media": "png"
        },
        "model": {
            "name": "demo", "version": "1.0.0", "precision": "fp32", "weights_sha256": "a".repeat(64),
            "execution_provider": "cpu", "preprocessing": "xrv-1"
        },
        "artefacts": [],
        "warnings": [],
        "timing_ms": {"decode": 1.5, "total": 20.0},
        "worker": {"version": "0.1.0"},
        "read_at": "2026-11-30T09:00:00Z"
    });
    for (field, value) in parts.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn radiograph(name: &str, probability: f64) -> ResultDocument {
    let positive = probability >= 0.5;
    let finding = |label: &str, probability: f64, positive: bool| json!({"label": label, "logit": 0.0, "probability": probability, "threshold": 0.5, "positive": positive});
    let findings = json!([finding("Pneumonia", probability, positive), finding("<b>Mass", 0.25, false)]);
    document(name, &json!({"findings": findings, "warnings": [{"code": "view_ap", "message": "m"}]}))
}

fn failed(name: &str) -> ResultDocument {
    let error = json!({"code": "truncated", "stage": "decode", "message": format!("the file {name} ends")});
    document(name, &json!({"status": "failed", "error": error}))
}

fn scan(name: &str) -> ResultDocument {
    let component = |index: usize, label: Value| {
        let map = json!({"peak_mni_mm": [-2.0, -58.0, 30.0], "peak_z": 9.5, "group_correlation": 0.71, "peak_at_chance": false});
        let top = json!([{"label": "DMN", "probability": 0.9}, {"label": "<i>SAL", "probability": 0.05}]);
        json!({"index": index, "label": label, "family": "DMN", "probability": 0.9, "top": top, "map": map, "flags": ["zero<map"]})
    };
    let model = json!({
        "name": "nets", "version": "1.0.0", "precision": "fp32", "weights_sha256": "b".repeat(64),
        "execution_provider": "cpu", "preprocessing": "projections-1"
    });
    let components = json!([component(0, json!("DMN<x>")), component(1, Value::Null)]);
    let regression = json!({"volumes": 120, "dof": 100, "des_norm": true, "dof_rule": "full_rank", "overlap": {"dice": 0.93, "tissue": "t"},
        "motion": {"displacement_mean_mm": null, "displacement_max_mm": null, "displacement_from": null, "dvars_from": "scan",
            "dvars_mean": 20.5, "dvars_max": 31.0, "standardised_dvars_mean": 1.05, "standardised_dvars_max": 1.9}});
    let input = json!({"volumes": 120, "tr_seconds": 2.0});
    document(
        name,
        &json!({"task": "components", "model": model, "components": components, "regression": regression, "input": input}),
    )
}

fn gathered(documents: &[ResultDocument]) -> Gathered {
    let mut gathered = Gathered::new(1000);
    for document in documents {
        let link = nightread_report::safe::link(&format!("{}.json", document.study.name));
        gathered.add(document, Some(link), |_| None);
    }
    gathered.finish();
    gathered
}

fn page(gathered: &Gathered, documents: &[ResultDocument]) -> String {
    let drawing = Drawing::new().unwrap();
    let scans: Vec<_> = documents
        .iter()
        .filter(|document| document.model.name == "nets")
        .map(|document| drawing.scan(1, document, None, &Files::default()))
        .collect();
    let report = Report {
        title: HOSTILE,
        gathered,
        compared: None,
        scans: &scans,
        notes: &[HOSTILE.to_owned()],
        files_beside: false,
    };
    Pages::new().unwrap().index(&report).unwrap()
}

/// The data of the table, as the page's script reads them.
fn table(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn hostile_names_are_text_everywhere() {
    let documents =
        [radiograph(HOSTILE, 0.9), failed(HOSTILE), scan(HOSTILE), radiograph("javascript:alert(1)", 0.1)];
    let page = page(&gathered(&documents), &documents);
    // The page's own two scripts, and no other.
    assert_eq!(page.matches("<script").count(), 2, "no script of a name");
    assert!(!page.contains("<b>Mass") && !page.contains("<i>SAL") && !page.contains("DMN<x>"));
    assert!(!page.contains("zero<map") && !page.contains("<!--"));
    assert!(!page.contains(r#"href="javascript:"#) && !page.contains(r#""j":"javascript:"#));
    let table = table(&page);
    let names: Vec<_> =
        table["rows"].as_array().unwrap().iter().map(|row| row["n"].as_str().unwrap()).collect();
    assert_eq!(names, [HOSTILE, HOSTILE, "javascript:alert(1)"]);
    assert_eq!(table["rows"][2]["j"], "./javascript%3Aalert%281%29.json");
}

#[test]
fn measurements_are_in_the_row_of_their_radiograph() {
    let mut document = serde_json::to_value(radiograph("a", 0.9)).unwrap();
    document["measurements"] = json!([{"label": "Bone age", "value": 11.5, "unit": "a"}]);
    let documents = [serde_json::from_value(document).unwrap(), radiograph("b", 0.1)];
    let table = table(&page(&gathered(&documents), &documents));
    assert_eq!(table["rows"][0]["v"], json!([["Bone age", 11.5, "a"]]));
    assert!(table["rows"][1].get("v").is_none());
}

#[test]
fn a_page_may_run_and_style_itself_alone() {
    let documents = [radiograph("a", 0.9), scan("b")];
    let page = page(&gathered(&documents), &documents);
    let policy = page.split_once(r#"http-equiv="Content-Security-Policy" content=""#).unwrap().1;
    let policy = policy.split_once('"').unwrap().0;
    assert!(policy.starts_with("default-src &#x27;none&#x27;; script-src &#x27;sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"));
    for forbidden in [" style=\"", " onclick=", "http://", "src=\"http", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // Works are cited by DOI, and nothing is fetched from anywhere.
    assert!(!page.contains("href=\"https:"));
}

#[test]
fn counts_and_decisions_are_those_of_the_documents() {
    let documents = [
        radiograph("a", 0.9),
        radiograph("b", 0.499_999),
        radiograph("c", 1.0),
        radiograph("d", 0.0),
        failed("e"),
        scan("f"),
    ];
    let gathered = gathered(&documents);
    let model = gathered.models.iter().find(|model| model.name == "demo").unwrap();
    assert_eq!((model.ok, model.failed, model.positives.as_slice()), (4, 1, &[2, 0][..]));
    assert_eq!(model.histograms[0].iter().sum::<u64>(), 4);
    let histogram = &model.histograms[0];
    assert_eq!((histogram[0], histogram[9], histogram[18], histogram[19]), (1, 1, 1, 1));
    let page = page(&gathered, &documents);
    let table = table(&page);
    // Rounded to its threshold, and negative all the same.
    assert_eq!(table["rows"][1]["p"][0], 0.5);
    assert_eq!(table["rows"][1].get("y"), None);
    assert_eq!(table["rows"][0]["y"], json!([0]));
    assert_eq!(table["rows"][4]["e"][0], "truncated");
    assert_eq!(table["rows"][0]["w"], json!([0]));
    for said in [
        "2 positive, 50.0 %",
        "Beckmann CF",
        "Fonov V",
        "the model demo 1.0.0",
        "[scans] write_maps was off",
        "Motion is told by DVARS [",
        "Nichols TE",
        "mean 1.050, at most 1.900",
        "<dt>DVARS is from</dt><dd>the scan itself</dd>",
        // The terms of the template, which is drawn for the scan.
        "Copyright (C) 1993-2009 Louis Collins",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let without = [radiograph("a", 0.9)];
    let page = self::page(&self::gathered(&without), &without);
    assert!(!page.contains("Louis Collins") && !page.contains("DVARS"), "no brain is drawn");
}

#[test]
fn models_under_one_version_are_told_apart_by_their_weights_and_thresholds() {
    let mut other = radiograph("a", 0.9);
    other.model.weights_sha256 = "c".repeat(64);
    let gathered = gathered(&[radiograph("a", 0.9), other]);
    assert_eq!(gathered.models.len(), 2);
}

#[test]
fn flips_are_found_and_what_is_not_there_is_counted() {
    let ours = [radiograph("a", 0.9), radiograph("b", 0.2), radiograph("c", 0.8), failed("d")];
    let mut other = Other::default();
    for document in [radiograph("a", 0.3), radiograph("b", 0.3), failed("c"), radiograph("z", 0.9)] {
        other.add(&document).unwrap();
    }
    let mut gathered = gathered(&ours);
    let found = gathered.compare(&other);
    assert_eq!((found.studies, found.decisions, found.flips, found.flipped, found.missing), (2, 4, 1, 1, 1));
    assert_eq!(gathered.radiographs[0].flips, [(0, 0.3)]);
    assert!(other.add(&radiograph("a", 0.3)).is_err(), "which of two is meant cannot be told");
}

#[test]
fn rows_are_bounded_and_counts_are_not() {
    let mut gathered = Gathered::new(3);
    for nth in (0..20).rev() {
        gathered.add(&radiograph(&format!("{nth:02}"), 0.9), None, |_| None);
    }
    gathered.finish();
    let names: Vec<_> = gathered.radiographs.iter().map(|row| row.study.name.as_str()).collect();
    assert_eq!(names, ["00", "01", "02"]);
    assert_eq!((gathered.radiographs_in_all, gathered.models[0].ok), (20, 20));
    for most in [0, 1, usize::MAX] {
        let mut gathered = Gathered::new(most);
        gathered.add(&radiograph("a", 0.9), None, |_| None);
        gathered.add(&scan("b"), None, |_| None);
        gathered.finish();
        assert_eq!((gathered.radiographs.len(), gathered.scans.len()), (most.min(1), most.min(1)));
    }
}

#[test]
fn of_nothing_there_is_a_page() {
    let page = page(&gathered(&[]), &[]);
    assert!(page.contains("<dt>Studies</dt><dd>0</dd>"));
    assert!(!page.contains("id=\"data\""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// The order in which documents come does not matter.
    #[test]
    fn the_same_documents_give_the_same_bytes(order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle()) {
        let mut documents: Vec<_> =
            (0..5).map(|nth| radiograph(&format!("x{nth}"), f64::from(nth) / 5.0)).collect();
        documents.extend([failed("y"), failed("x1"), scan("s")]);
        documents[1].model.version = "0.9.0".to_owned();
        let shuffled: Vec<_> = order.iter().map(|&at| documents[at].clone()).collect();
        prop_assert_eq!(page(&gathered(&documents), &documents), page(&gathered(&shuffled), &shuffled));
    }
}
