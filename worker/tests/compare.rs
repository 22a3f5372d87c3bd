//! `nightread results compare`: what is planted is found, and the exit status says what a rollout needs to know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const STUDIES: usize = 60;

/// A document of a chest X-ray, as `nightread process` writes it.
fn document(name: &str, version: &str, findings: &[(&str, f32)]) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|(label, probability)| {
            json!({"label": label, "logit": (probability / (1.0 - probability)).ln(), "probability": probability,
                "threshold": 0.5, "positive": *probability >= 0.5})
        })
        .collect();
    json!({
        "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "radiograph",
        "study": {"kind": "blob", "container": "local", "name": name, "version": "1", "last_modified": null, "bytes": 1,
            "sha256": "ab".repeat(32), "media": "png"},
        "model": {"name": "padchest-26", "version": version, "precision": "fp32", "weights_sha256": "cd".repeat(32),
            "execution_provider": "cpu", "preprocessing": "xrv-1"},
        "findings": findings, "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0},
        "worker": {"version": "0.1.0"}, "read_at": "2026-01-01T00:00:00Z",
    })
}

fn failed(name: &str, version: &str) -> Value {
    let mut document = document(name, version, &[]);
    document["status"] = "failed".into();
    document.as_object_mut().unwrap().remove("findings");
    document["error"] = json!({"code": "decode_failed", "stage": "decode", "message": "m"});
    document
}

/// Writes a document where `nightread process --out` does.
fn store(root: &Path, document: &Value) {
    support::checked(document);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let model = format!("{}/{}-fp32", text(&document["model"]["name"]), text(&document["model"]["version"]));
    let path = root.join(model).join("local").join(format!("{}.json", text(&document["study"]["name"])));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, document.to_string()).unwrap();
}

fn name(study: usize) -> String {
    format!("ward/{study:03}.png")
}

/// Two versions over the same studies in one store; in the second Mass of study 7 and Nodule of 7 and 11 are decided otherwise.
fn planted(root: &Path) {
    for study in 0..STUDIES {
        let mass = if study % 3 == 0 { 0.8 } else { 0.1 };
        store(root, &document(&name(study), "1.0.0", &[("Mass", mass), ("Nodule", 0.3)]));
        let mass = if study == 7 { 0.9 } else { mass + 0.05 };
        let nodule = if study == 7 || study == 11 { 0.6 } else { 0.3 };
        store(root, &document(&name(study), "1.1.0", &[("Mass", mass), ("Nodule", nodule)]));
    }
}

const OLD: &str = "padchest-26/1.0.0-fp32";
const NEW: &str = "padchest-26/1.1.0-fp32";

fn compare(root: &Path, arguments: &[&str]) -> Output {
    // Neither models nor runtime are needed.
    let mut command = Command::new(env!("CARGO_BIN_EXE_nightread"));
    command.args(["results", "compare"]).args(arguments).current_dir(root).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn status(root: &Path, arguments: &[&str]) -> Option<i32> {
    compare(root, arguments).status.code()
}

#[test]
fn the_flips_that_are_planted_are_found_and_held_against_the_limit() {
    let root = tempfile::tempdir().unwrap();
    planted(root.path());
    let found = compare(root.path(), &[OLD, NEW, "--format", "json", "--max-flips", "2.5%"]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let json: Value = serde_json::from_slice(&found.stdout).unwrap();
    let flips = json["named_flips"].as_array().unwrap();
    let named: BTreeSet<_> =
        flips.iter().map(|flip| (flip["study"].as_str().unwrap(), flip["label"].as_str().unwrap())).collect();
    let planted = [("ward/007.png", "Mass"), ("ward/007.png", "Nodule"), ("ward/011.png", "Nodule")];
    assert_eq!(named, planted.into());
    assert_eq!((&json["flips"], &json["decisions"], &json["compared"]), (&3.into(), &120.into(), &60.into()));
    // 2.5 % of all, and 3.3 % of one label.
    assert_eq!(said(&found).trim(), "past the limit: flips of Nodule: 2 of 60, at most 2.5%");
    assert_eq!(status(root.path(), &[OLD, NEW, "--max-flips", "4%"]), Some(0));
    assert_eq!(status(root.path(), &[OLD, NEW, "--max-flips", "2"]), Some(1));
    assert_eq!(status(root.path(), &[OLD, NEW, "--max-flips", "3"]), Some(0));
    assert_eq!(status(root.path(), &[OLD, NEW]), Some(0), "without a limit it only tells");
}

/// A document of a CT volume with these segments: millilitres, none where one was not found.
fn volume(name: &str, version: &str, segments: &[(&str, Option<f64>)]) -> Value {
    let segments: Vec<Value> = segments
        .iter()
        .enumerate()
        .map(|(place, (label, millilitres))| {
            let found = millilitres.is_some();
            let of = |number: f64| if found { json!(number) } else { Value::Null };
            let bbox = if found { json!([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]]) } else { Value::Null };
            json!({"label": label, "value": place + 1, "voxels": u64::from(found) * 100, "volume_ml": millilitres.unwrap_or(0.0),
                "mean_hu": of(50.0), "sd_hu": of(9.0), "bbox_mm": bbox, "touches_border": false, "confidence": of(0.5)})
        })
        .collect();
    let mut document = document(name, version, &[]);
    let fields = document.as_object_mut().unwrap();
    fields.remove("findings");
    fields.extend([("task".to_owned(), "segmentation".into()), ("segments".to_owned(), segments.into())]);
    document
}

#[test]
fn volumes_are_compared_by_label_and_organs_that_vanish_hold_a_rollout() {
    let root = tempfile::tempdir().unwrap();
    for study in 0..10 {
        let name = format!("ct/{study}");
        store(root.path(), &volume(&name, "1.0.0", &[("liver", Some(1000.0)), ("spleen", Some(200.0))]));
        let spleen = (study != 4).then_some(190.0);
        store(root.path(), &volume(&name, "1.1.0", &[("liver", Some(1010.0)), ("spleen", spleen)]));
    }
    let found = compare(root.path(), &[OLD, NEW, "--format", "json", "--max-flips", "5%"]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    assert_eq!(said(&found).trim(), "past the limit: flips of the presence of spleen: 1 of 10, at most 5%");
    let json: Value = serde_json::from_slice(&found.stdout).unwrap();
    let liver = &json["segments"]["by_label"][0];
    assert_eq!((&liver["label"], &liver["volume_ml"]["mean"]), (&"liver".into(), &10.0.into()));
    assert_eq!(json["segments"]["named_flips"][0]["study"], "ct/4");
    assert_eq!(
        (&json["decisions"], &json["flips"], &json["components"]),
        (&20.into(), &1.into(), &Value::Null)
    );
    for (format, words) in [
        ("text", "1 of 20 segments are found on one side only"),
        ("markdown", "| ct/4 | spleen | A | 200.00 | 0.00 |"),
        ("html", "<td>ct&#x2f;4</td><td>spleen</td>"),
    ] {
        let found = compare(root.path(), &[OLD, NEW, "--format", format]);
        let text = String::from_utf8(found.stdout).unwrap();
        assert!(text.contains(words), "{format}: {text}");
    }
}

#[test]
fn what_is_missing_failed_or_unreadable_holds_a_rollout() {
    let root = tempfile::tempdir().unwrap();
    planted(root.path());
    let gone = root.path().join(NEW).join("local/ward/003.png.json");
    fs::remove_file(&gone).unwrap();
    store(root.path(), &failed(&name(4), "1.1.0"));
    let found = compare(root.path(), &[OLD, NEW]);
    assert_eq!(found.status.code(), Some(1));
    assert_eq!(said(&found).trim(), "past the limit: studies on one side only: 2 of 60, at most 0");
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(text.contains("ward/003.png") && text.contains("decode_failed"), "{text}");
    assert_eq!(status(root.path(), &[OLD, NEW, "--max-unpaired", "2"]), Some(0));
    assert_eq!(status(root.path(), &[OLD, NEW, "--max-unpaired", "4%"]), Some(0));
    fs::write(&gone, r#"{"schema": "nightread.result.v9"}"#).unwrap();
    let found = compare(root.path(), &[OLD, NEW, "--max-unpaired", "0%"]);
    assert_eq!(found.status.code(), Some(1));
    assert!(said(&found).contains("003.png.json: is of the form"), "{}", said(&found));
    assert!(said(&found).contains("unreadable documents: 1 of 120"), "{}", said(&found));
}

#[test]
fn nothing_in_common_is_wrong_use_and_nothing_read_is_past_the_limit() {
    let root = tempfile::tempdir().unwrap();
    planted(root.path());
    store(&root.path().join("other"), &document("elsewhere.png", "1.1.0", &[("Mass", 0.1)]));
    store(&root.path().join("labels"), &document(&name(0), "1.1.0", &[("Hernia", 0.1)]));
    store(&root.path().join("failed"), &failed(&name(0), "1.1.0"));
    fs::create_dir(root.path().join("empty")).unwrap();
    for (arguments, words) in [
        (&[OLD, "other"][..], "no study is on both sides: A has 60 and B has 1"),
        (&[OLD, "empty"], "no study is on both sides: A has 60 and B has 0"),
        (&["empty", "empty/../labels/../empty"], "A and B have documents in common"),
        (&[OLD, "labels"], "the models of A and B have no label in common"),
        (&[OLD, "nowhere"], "nowhere"),
        (&["padchest-26", NEW], "A and B have documents in common"),
        (
            &["padchest-26", "other"],
            "A has two documents of ward/000.png: of padchest-26 1.0.0-fp32 and of padchest-26 1.1.0-fp32; name one version",
        ),
        (&[OLD, NEW, "--max-flips", "many"], "neither a count like 20 nor a share like 1%"),
        (&[OLD, NEW, "--group", "patient"], "--truth"),
        (&[OLD, NEW, "--truth", "nowhere.csv"], "cannot read nowhere.csv"),
    ] {
        let found = compare(root.path(), arguments);
        assert_eq!(found.status.code(), Some(2), "{arguments:?}: {}", said(&found));
        assert!(said(&found).contains(words), "{arguments:?}: {}", said(&found));
    }
    // Documents that are refused are not told as documents that are not there.
    let mut measured = document(&name(0), "1.0.0", &[("Mass", 0.1)]);
    measured["measurements"] = json!([{"label": "age", "value": 41.0, "unit": "a"}]);
    store(&root.path().join("measured"), &measured);
    for (arguments, words) in [
        (["measured", "other"], "A has 0 and B has 1"),
        (["measured", "empty"], "neither side has a document that is compared"),
    ] {
        let found = compare(root.path(), &arguments);
        let refused = "; 1 documents were left out, the first is A: ";
        assert_eq!(found.status.code(), Some(2), "{}", said(&found));
        for words in [words, refused, "it has measurements, which are not compared"] {
            assert!(said(&found).contains(words), "{}", said(&found));
        }
    }
    // One study, which failed on one side: nothing was compared, whatever is allowed.
    store(&root.path().join("one"), &document(&name(0), "1.0.0", &[("Mass", 0.1)]));
    assert_eq!(status(root.path(), &["one", "failed", "--max-unpaired", "100%"]), Some(1));
}

#[test]
fn labels_judge_both_sides_by_patient() {
    let root = tempfile::tempdir().unwrap();
    planted(root.path());
    let mut labels = "study,patient,age,Mass,Hernia\n".to_owned();
    for study in 0..STUDIES {
        // Two images a patient; the truth of every tenth is not known.
        let mass = if study % 10 == 9 { "" } else { ["0", "1"][usize::from(study % 4 == 0)] };
        writeln!(labels, "{},p{},61,{mass},0", name(study), study / 2).unwrap();
    }
    labels.push_str("gone.png,p99,61,1,0\n");
    fs::write(root.path().join("labels.csv"), labels).unwrap();
    let arguments =
        [OLD, NEW, "--truth", "labels.csv", "--group", "patient", "--draws", "300", "--format", "json"];
    let found = compare(root.path(), &arguments);
    assert_eq!(found.status.code(), Some(0), "{}", said(&found));
    assert_eq!(compare(root.path(), &arguments).stdout, found.stdout, "the same intervals every time");
    let json: Value = serde_json::from_slice(&found.stdout).unwrap();
    let judgement = &json["judgement"];
    assert_eq!((&judgement["studies"], &judgement["groups"]), (&60.into(), &30.into()));
    assert_eq!(judgement["truth_without_study"], 1);
    assert_eq!(judgement["labels_without_truth"], json!(["Nodule"]));
    assert_eq!(judgement["columns_without_label"], json!(["age", "Hernia"]));
    let mass = &judgement["labels"][0];
    assert_eq!(
        (&mass["label"], &mass["images"], &mass["true_images"]),
        (&"Mass".into(), &54.into(), &15.into())
    );
    let interval = &mass["auc"]["difference"];
    assert!(interval["low"].as_f64().unwrap() <= interval["value"].as_f64().unwrap(), "{interval}");
}

#[test]
fn files_are_written_as_their_names_end_and_names_are_text() {
    let root = tempfile::tempdir().unwrap();
    let hostile = "<script>alert(1)</script>|`x`.png";
    for (folder, probability) in [("a", 0.2), ("b", 0.8)] {
        let of = document(hostile, "1.0.0", &[("Mass", probability)]);
        support::checked(&of);
        fs::create_dir_all(root.path().join(folder)).unwrap();
        fs::write(root.path().join(folder).join("one.json"), of.to_string()).unwrap();
    }
    for (file, words) in [
        ("c.html", "<td>&lt;script&gt;alert(1)&lt;&#x2f;script&gt;|`x`.png</td>"),
        ("c.md", "| \\<script\\>alert(1)\\</script\\>\\|\\`x\\`.png | Mass | negative | positive |"),
        ("c.json", "\"schema\": \"nightread.comparison.v1\""),
        ("c.txt", hostile),
    ] {
        let found = compare(root.path(), &["a", "b", "--out", file]);
        assert_eq!(found.status.code(), Some(0), "{}", said(&found));
        assert_eq!(String::from_utf8_lossy(&found.stdout), "1 of 1 decisions differ over 1 studies\n");
        let text = fs::read_to_string(root.path().join(file)).unwrap();
        assert!(text.contains(words), "{text}");
        assert!(file != "c.html" || !text.contains("<script"), "{text}");
    }
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(left.len(), 6, "nothing else was left behind: {left:?}");
    assert_eq!(status(root.path(), &["a", "b", "--out", "no/such/folder/c.md"]), Some(1));
}
