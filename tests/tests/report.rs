//! A report of ten thousand radiographs and some scans, one of radiographs whose images lie beside it, and a comparison, opened in
//! Chromium: search, sort, keyboard, ratings, axe, and no request to anybody.
//! What the pages do is in `tests/browser/report.mjs`; `NIGHTREAD_TEST_INTERACTION_MS=100` bounds the time of each interaction, which is
//! otherwise only printed. Screenshots lie in `target/report-screenshots`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use nightread_tests::images::noise;
use nightread_tests::parts::{root, skipped};
use nightread_tests::worker::binary;
use nightread_volume::{Affine, Description, Grid, Storage, VolumeWriter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Studies whose images lie beside the page: more than fit into one file.
const SHOWN: usize = 520;
const RADIOGRAPHS: usize = 10_000;
const FAILED_EACH: usize = 100;
const FLIPPED_EACH: usize = 500;
const SCANS: usize = 3;
const COMPONENTS: usize = 4;
const VOLUMES: usize = 120;
const HOSTILE: &str = "x9/<img src=x onerror=window.hacked=1><script>window.hacked=1<\\script>.png";
const LABELS: [&str; 6] = ["Effusion", "Mass <i>", "Cardiomegaly", "Atelectasis", "Nodule", "Edema"];
const THRESHOLD: f64 = 0.5;

/// What both kinds of documents have.
fn document(name: &str, task: &str, model: &str, version: &str) -> Value {
    json!({
        "schema": "nightread.result.v2", "status": "ok", "notice": "Research output.", "task": task,
        "study": {"kind": "blob", "container": "local", "name": name, "version": "1", "last_modified": null, "bytes": 9,
            "sha256": "0".repeat(64), "media": "png"},
        "model": {"name": model, "version": version, "precision": "fp32", "weights_sha256": "a".repeat(64),
            "execution_provider": "cpu", "preprocessing": if task == "radiograph" { "xrv-1" } else { "projections-1" }},
        "artefacts": [], "warnings": [], "timing_ms": {"decode": 3.5, "infer": 21.0, "total": 30.25},
        "worker": {"version": "0.1.0"}, "read_at": "2026-11-30T09:00:00Z"
    })
}

fn name(nth: usize) -> String {
    if nth == 7 { HOSTILE.to_owned() } else { format!("ward-{}/x{nth:05}.png", nth % 13) }
}

fn failed(nth: usize) -> bool {
    nth % FAILED_EACH == 5
}

/// Spread over [0, 1], the same each time, never at the threshold.
fn probability(nth: usize, label: usize) -> f64 {
    ((nth * 7919 + label * 104_729) % 9973) as f64 / 9973.0
}

/// `flipped`: the first label of every so manieth study is on the other side.
fn radiograph(nth: usize, version: &str, flipped: bool) -> Value {
    let mut whole = document(&name(nth), "radiograph", "demo-6", version);
    whole["read_at"] = json!(format!("2026-11-30T{:02}:{:02}:00Z", 9 + nth / 3600, nth / 60 % 60));
    if failed(nth) {
        whole["status"] = json!("failed");
        whole["error"] =
            json!({"code": "truncated", "stage": "decode", "message": "the image ends inside of its data"});
        return whole;
    }
    let findings = LABELS.iter().enumerate().map(|(label, name)| {
        let mut value = probability(nth, label);
        if flipped && label == 0 && nth.is_multiple_of(FLIPPED_EACH) {
            value = 1.0 - value;
        }
        json!({"label": name, "logit": 0.0, "probability": value, "threshold": THRESHOLD, "positive": value >= THRESHOLD})
    });
    whole["findings"] = findings.collect();
    if nth.is_multiple_of(3) {
        whole["warnings"] = json!([{"code": "unverified_view", "message": "m"}]);
    }
    whole
}

/// A scan whose maps are a blob each and whose courses are waves, with both files beside the document.
fn scan(results: &Path, nth: usize) {
    let name = format!("sub-{nth:02}_task-rest_bold.nii.gz");
    let mut whole = document(&name, "components", "nets-4", "1.0.0");
    let folder = results.join("nets-4/1.0.0-fp32/local");
    fs::create_dir_all(&folder).unwrap();
    let below = "nets-4/1.0.0-fp32/local";
    let centres = [[-6.0, -58.0, 28.0], [42.0, 22.0, 30.0], [-40.0, -20.0, 52.0], [2.0, -84.0, 4.0]];
    let components = centres.iter().enumerate().map(|(index, centre)| {
        json!({"index": index, "label": if index == 3 { Value::Null } else { json!(["DEFAULT", "FRONTOPARIETAL", "SOMATOMOTOR"][index]) },
            "family": "DMN", "probability": 0.91, "top": [{"label": "DEFAULT", "probability": 0.91}, {"label": "NOISE", "probability": 0.05}],
            "map": {"peak_mni_mm": centre, "peak_z": 9.0, "group_correlation": 0.71, "peak_at_chance": false}, "flags": []})
    });
    whole["components"] = components.collect();
    whole["input"] = json!({"volumes": VOLUMES, "tr_seconds": 2.0, "space": "mni152"});
    whole["regression"] = json!({"volumes": VOLUMES, "volumes_used": VOLUMES, "tr_seconds": 2.0, "voxels_mask": 28000, "voxels_used": 27500,
        "voxels_constant": 0, "voxels_non_finite": 0, "voxels_outside": 0, "confounds_rank": 0, "rank": 100, "dof": 116, "dof_rule": "full_rank",
        "chance_z": 4.6, "des_norm": true, "grid": "same", "mask": "binary", "overlap": {"dice": 0.93, "tissue": "intensity"}});
    let artefact = |kind: &str, suffix: &str, media: &str| json!({"kind": kind, "path": format!("{below}/{name}.{suffix}"), "media_type": media, "bytes": 1, "sha256": "0".repeat(64)});
    whole["artefacts"] = json!([
        artefact("z_maps", "00.z.nii.gz", "application/gzip"),
        artefact("time_courses", "00.timecourses.tsv", "text/tab-separated-values")
    ]);
    fs::write(folder.join(format!("{name}.json")), whole.to_string()).unwrap();
    fs::write(folder.join(format!("{name}.00.z.nii.gz")), z_maps(&centres)).unwrap();
    fs::write(folder.join(format!("{name}.00.timecourses.tsv")), courses()).unwrap();
}

fn z_maps(centres: &[[f64; 3]; COMPONENTS]) -> Vec<u8> {
    let affine = Affine([[-4.0, 0.0, 0.0, 90.0], [0.0, 4.0, 0.0, -126.0], [0.0, 0.0, 4.0, -72.0]]);
    let grid = Grid { dims: [45, 54, 45], affine };
    let description = Description {
        grid,
        volumes: Some(COMPONENTS),
        storage: Storage::F32,
        tr_seconds: None,
        space: 4,
        text: "z".to_owned(),
    };
    let mut file = VolumeWriter::new(Vec::new(), description, Some(1)).unwrap();
    for centre in centres {
        let value = |at: usize| {
            let far: f64 = grid.world(at).iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum();
            (9.0 * (-far / 500.0).exp()) as f32
        };
        file.write_volume(&(0..grid.len()).map(value).collect::<Vec<_>>()).unwrap();
    }
    file.finish().unwrap()
}

fn courses() -> String {
    let header: Vec<_> = (0..COMPONENTS).map(|k| format!("component_{k:03}")).collect();
    let wave =
        |t: usize, k: usize| (t as f64 * (0.11 + 0.05 * k as f64)).sin() + 0.3 * (t as f64 * 0.05).cos();
    let row = |t: usize| (0..COMPONENTS).map(|k| format!("{:.6}", wave(t, k))).collect::<Vec<_>>().join("\t");
    let rows = (0..VOLUMES).map(row).collect::<Vec<_>>();
    format!("{}\n{}\n", header.join("\t"), rows.join("\n"))
}

/// Names of files are numbers: a hostile name stands in the document.
fn write_radiographs(results: &Path, version: &str, flipped: bool) {
    let folder = results.join(format!("demo-6/{version}-fp32/local"));
    fs::create_dir_all(&folder).unwrap();
    for nth in 0..RADIOGRAPHS {
        fs::write(folder.join(format!("{nth:05}.png.json")), radiograph(nth, version, flipped).to_string())
            .unwrap();
    }
}

/// Radiographs with their files, every tenth of which has a heatmap beside its document.
fn write_shown(results: &Path, studies: &Path) {
    let folder = results.join("demo-6/2.0.0-fp32/local/shown");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(studies.join("shown")).unwrap();
    for nth in 0..SHOWN {
        let name = format!("shown/{nth:03}.png");
        let image = noise(64, nth as u64);
        let mut whole = radiograph(2 * nth + 1, "2.0.0", false);
        whole["status"] = json!("ok");
        whole.as_object_mut().unwrap().remove("error");
        whole["study"]["name"] = json!(name);
        whole["study"]["sha256"] = json!(hex::encode(Sha256::digest(&image)));
        whole["findings"] = json!([{"label": LABELS[1], "logit": 1.0, "probability": 0.75, "threshold": THRESHOLD, "positive": true}]);
        if nth.is_multiple_of(10) {
            let file = format!("{nth:03}.png.00.heatmap-1.png");
            fs::write(folder.join(&file), noise(32, nth as u64 + 7)).unwrap();
            whole["artefacts"] = json!([{"kind": "heatmap", "path": format!("demo-6/2.0.0-fp32/local/shown/{file}"),
                "media_type": "image/png", "bytes": 1, "sha256": "0".repeat(64), "of": LABELS[1]}]);
        }
        fs::write(folder.join(format!("{nth:03}.png.json")), whole.to_string()).unwrap();
        fs::write(studies.join(name), image).unwrap();
    }
}

/// One row for each study of the comparison, several of each patient.
fn truth() -> String {
    let rows = (0..RADIOGRAPHS).filter(|nth| nth % 13 == 4).map(|nth| {
        format!("{},p{},{}\n", name(nth), nth % 97, u8::from(probability(nth, 0) + probability(nth, 3) > 1.0))
    });
    format!("study,patient,{}\n{}", LABELS[0], rows.collect::<String>())
}

fn written(what: &str, command: &mut Command) {
    let output = command.env("ORT_DISABLE_TELEMETRY", "1").output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_report_holds_in_a_browser() {
    let modules = root().join(".cache/browser");
    if !Path::new("/usr/bin/chromium").is_file() || !modules.join("node_modules/playwright-core").is_dir() {
        return skipped("a report in a browser", "Chromium with playwright-core");
    }
    let work = tempfile::tempdir().unwrap();
    let results = work.path().join("results");
    write_radiographs(&results, "2.0.0", true);
    (1..=SCANS).for_each(|nth| scan(&results, nth));
    let others = work.path().join("others");
    write_radiographs(&others, "1.0.0", false);
    let page = work.path().join("report.html");
    let mut report = Command::new(binary());
    report.args(["results", "report"]).arg(&results).arg("--out").arg(&page).arg("--against").arg(&others);
    written("report", report.args(["--title", "Ten thousand <b>radiographs</b>"]));
    assert!(work.path().join("report_files/scan-00001.html").is_file(), "scans have pages of their own");

    let (shown_results, studies) = (work.path().join("shown-results"), work.path().join("studies"));
    write_shown(&shown_results, &studies);
    let shown = work.path().join("shown.html");
    let mut report = Command::new(binary());
    report
        .args(["results", "report"])
        .arg(&shown_results)
        .arg("--out")
        .arg(&shown)
        .arg("--images")
        .arg(&studies);
    written("report with images", &mut report);
    assert!(work.path().join("shown_files/thumbnail-00001.jpg").is_file(), "images lie beside the page");

    let (labels, compared) = (work.path().join("labels.csv"), work.path().join("compared.html"));
    fs::write(&labels, truth()).unwrap();
    let mut compare = Command::new(binary());
    compare.args(["results", "compare"]).args([others.join("demo-6"), results.join("demo-6")]);
    compare
        .arg("--truth")
        .arg(&labels)
        .args(["--group", "patient", "--draws", "200", "--out"])
        .arg(&compared);
    written("comparison", &mut compare);

    let shots = root().join("target/report-screenshots");
    fs::create_dir_all(&shots).unwrap();
    let planted = json!({
        "rows": RADIOGRAPHS,
        "hostile": HOSTILE,
        "searched": name(1234),
        "failed": (0..RADIOGRAPHS).filter(|nth| failed(*nth)).count(),
        "flips": (0..RADIOGRAPHS).filter(|nth| nth.is_multiple_of(FLIPPED_EACH) && !failed(*nth)).count(),
        "label": LABELS[2],
        "scan": "sub-02",
        "shown": {"page": shown, "rows": SHOWN, "heatmaps": SHOWN.div_ceil(10)},
        "compared": {"page": compared, "hostile": HOSTILE},
    });
    let mut browser = Command::new("node");
    browser
        .arg(root().join("tests/browser/report.mjs"))
        .arg(&modules)
        .arg(&page)
        .arg(&shots)
        .arg(planted.to_string());
    if let Some(bound) = std::env::var_os("NIGHTREAD_TEST_INTERACTION_MS") {
        browser.arg(bound);
    }
    let seen = browser.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    println!("{said}");
    assert!(seen.status.success(), "{said}\n{complained}");
}
