//! `nightread results report` over results that a test writes: forms, images, exit status, and what is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn document(name: &str, version: &str, probability: f64) -> Value {
    json!({
        "schema": "nightread.result.v2", "status": "ok", "notice": "Research output.", "task": "radiograph",
        "study": {"kind": "blob", "container": "local", "name": name, "version": "1", "last_modified": null, "bytes": 9,
            "sha256": null, "media": "png"},
        "model": {"name": "demo", "version": version, "precision": "fp32", "weights_sha256": "a".repeat(64),
            "execution_provider": "cpu", "preprocessing": "xrv-1"},
        "findings": [{"label": "Mass", "logit": 0.0, "probability": probability, "threshold": 0.5, "positive": probability >= 0.5}],
        "artefacts": [], "warnings": [], "timing_ms": {"total": 30.25},
        "worker": {"version": "0.1.0"}, "read_at": "2026-11-30T09:00:00Z"
    })
}

fn write(root: &Path, name: &str, body: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, body).unwrap();
}

fn write_document(root: &Path, version: &str, document: &Value) {
    let name = document["study"]["name"].as_str().unwrap();
    write(root, &format!("demo/{version}-fp32/local/{name}.json"), document.to_string().as_bytes());
}

/// An 8-bit image whose left half is black.
fn image() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 256, 256);
    encoder.set_color(png::ColorType::Grayscale);
    let pixels: Vec<u8> = (0..256 * 256).map(|at| if at % 256 < 128 { 10 } else { 200 }).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).unwrap();
    bytes
}

fn report(results: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = support::nightread();
    command.args(["results", "report"]).arg(results).arg("--out").arg(out).args(more).output().unwrap()
}

/// The data of the table, as the page's script reads them.
fn table(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_radiograph_is_shown_only_where_its_bytes_are_those_that_were_read() {
    let work = tempfile::tempdir().unwrap();
    let (results, images) = (work.path().join("results"), work.path().join("images"));
    for (name, digest) in [
        ("a.png", Some(hex::encode(Sha256::digest(image())))),
        ("changed.png", Some("0".repeat(64))),
        ("untold.png", None),
        ("gone.png", Some("1".repeat(64))),
    ] {
        if name != "gone.png" {
            write(&images, name, &image());
        }
        let mut document = document(name, "1.0.0", 0.9);
        document["study"]["sha256"] = json!(digest);
        if name == "a.png" {
            let path = "demo/1.0.0-fp32/local/a.png.00.heat.0-mass.png";
            document["artefacts"] = json!([
                {"kind": "heatmap", "path": path, "media_type": "image/png", "bytes": 1, "sha256": "0".repeat(64), "of": "Mass"},
                {"kind": "heatmap", "path": "demo/1.0.0-fp32/local/gone.png", "media_type": "image/png", "bytes": 1,
                    "sha256": "0".repeat(64), "of": "Mass"}
            ]);
            write(&results, path, &image());
        }
        write_document(&results, "1.0.0", &document);
    }
    let page = work.path().join("report.html");
    let ended = report(&results, &page, &["--images", images.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    let page = fs::read_to_string(&page).unwrap();
    let table = table(&page);
    let shown: Vec<bool> =
        table["rows"].as_array().unwrap().iter().map(|row| row.get("i").is_some()).collect();
    assert_eq!(shown, [true, false, false, false], "a, changed, gone, untold");
    assert!(table["rows"][0]["t"].as_str().unwrap().starts_with("data:image/jpeg;base64,"));
    assert_eq!(table["rows"][0]["h"].as_array().unwrap().len(), 1);
    assert_eq!(table["rows"][0]["j"], "./results/demo/1.0.0-fp32/local/a.png.json");
    for words in [
        "because their files have other bytes than those that were read: 2.",
        "not where --images says, and not shown: 1.",
        "Stored heatmaps that are gone or cannot be read: 1.",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn more_than_500_studies_are_a_page_with_a_folder_beside_it() {
    let work = tempfile::tempdir().unwrap();
    let results = work.path().join("results");
    for nth in 0..501 {
        write_document(&results, "1.0.0", &document(&format!("{nth:03}.png"), "1.0.0", 0.2));
    }
    let page = work.path().join("r.html");
    assert_eq!(report(&results, &page, &[]).status.code(), Some(0));
    assert!(work.path().join("r_files").is_dir());
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("made without --images") && text.contains("img-src data: &#x27;self&#x27;"));
    assert_eq!(table(&text)["rows"].as_array().unwrap().len(), 501);
    // The same results give the same bytes, in one page as in many.
    let again = work.path().join("again.html");
    assert_eq!(report(&results, &again, &["--prefix", "0", "--max-rows", "3"]).status.code(), Some(0));
    let bounded = fs::read_to_string(&again).unwrap();
    assert_eq!(table(&bounded)["rows"].as_array().unwrap().len(), 3);
    assert!(bounded.contains("The table holds the first 3 of 100 radiographs by name."));
    assert_eq!(report(&results, &page, &[]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&page).unwrap(), text);
}

#[test]
fn flips_against_another_version_are_those_that_are_there() {
    let work = tempfile::tempdir().unwrap();
    let results = work.path().join("results");
    for (name, before, after) in [("a", 0.4, 0.6), ("b", 0.6, 0.7), ("c", 0.9, 0.1), ("d", 0.1, 0.2)] {
        write_document(&results, "1.0.0", &document(name, "1.0.0", before));
        write_document(&results, "2.0.0", &document(name, "2.0.0", after));
    }
    write_document(&results, "2.0.0", &document("e", "2.0.0", 0.2));
    let page = work.path().join("r.html");
    let typed = results.to_str().unwrap();
    let ended = report(
        &results,
        &page,
        &["--model-version", "2.0.0", "--against", typed, "--against-version", "1.0.0"],
    );
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("2 of 4 decisions flip, in 2 of 4 radiographs that both sides have. Radiographs here without a reading there: 1."));
    let flips: Vec<usize> = table(&text)["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.get("f").map_or(0, |flips| flips.as_array().unwrap().len()))
        .collect();
    assert_eq!(flips, [1, 0, 1, 0, 0]);
    // Two readings of one study: which is meant cannot be told.
    let ended = report(&results, &page, &["--against", typed]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(said(&ended).contains("name one model and version"), "{}", said(&ended));
}

#[test]
fn what_is_not_in_the_report_is_told_and_changes_the_status() {
    let work = tempfile::tempdir().unwrap();
    let results = work.path().join("results");
    write_document(&results, "1.0.0", &document("a", "1.0.0", 0.4));
    write(&results, "later.json", br#"{"schema": "nightread.result.v9"}"#);
    let page = work.path().join("r.html");
    let ended = report(&results, &page, &[]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(said(&ended).contains("later.json"));
    assert!(
        fs::read_to_string(&page).unwrap().contains("Documents that are not in this report: 1 (later.json")
    );

    let none = work.path().join("none");
    fs::create_dir(&none).unwrap();
    let page = work.path().join("never.html");
    assert_eq!(report(&none, &page, &[]).status.code(), Some(2));
    assert_eq!(report(&results, &page, &["--images", "/no/such/folder"]).status.code(), Some(2));
    assert!(!page.exists());
}

#[test]
fn a_run_ends_with_a_report_on_its_studies() {
    let work = tempfile::tempdir().unwrap();
    write(work.path(), "in/chest.png", &image());
    write(work.path(), "in/broken.png", &image()[..300]);
    let out = work.path().join("out");
    let page = out.join("report.html");
    let run = || {
        let mut command = support::nightread();
        command.arg("process").arg(work.path().join("in")).arg("--out").arg(&out).arg("--report").arg(&page);
        command.arg("--models").arg(support::models()).output().unwrap()
    };
    let ended = run();
    assert_eq!(ended.status.code(), Some(1), "one is broken: {}", said(&ended));
    assert!(said(&ended).contains(&format!("report: {}", page.display())), "{}", said(&ended));
    let text = fs::read_to_string(&page).unwrap();
    let table = table(&text);
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0]["n"].as_str().unwrap().ends_with("in/broken.png") && rows[0]["e"].is_array());
    assert!(rows[1]["i"].as_str().unwrap().starts_with("data:image/jpeg;base64,"));
    assert!(rows[1]["j"].as_str().unwrap().starts_with("./cxr-pneumonia-demo/"));
    // What was read before is in it too.
    assert!(said(&run()).contains("1 already done"));
    assert_eq!(self::table(&fs::read_to_string(&page).unwrap())["rows"].as_array().unwrap().len(), 2);
}
