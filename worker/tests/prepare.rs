//! `nightread prepare`, and a model whose preprocessing is a list of steps, from the manifest to the document.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use nightread::services::autotune::images::png;
use serde_json::Value;
use support::{copy_folder, models, nightread};
use tempfile::TempDir;

/// `xrv-1` as a list of steps.
const STEPS: &str = r#"[[preprocessing]]
step = "range"
to = [-1024, 1024]
[[preprocessing]]
step = "crop-centre"
library = "torchxrayvision"
[[preprocessing]]
step = "resize"
library = "skimage"
side = "exact"
height = 224
width = 224
edge = "constant"
[[preprocessing]]
step = "channels"
count = 1
layout = "NCHW"
"#;

/// The demonstration's model, and the same under another name with steps in place of the preset.
fn folder() -> TempDir {
    let work = TempDir::new().unwrap();
    for name in ["cxr-pneumonia-demo", "listed"] {
        copy_folder(&models().join("cxr-pneumonia-demo"), &work.path().join("models").join(name));
    }
    let path = work.path().join("models/listed/manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    let listed = text
        .replace("name = \"cxr-pneumonia-demo\"", "name = \"listed\"")
        .replace("[preprocessing]\nid = \"xrv-1\"\nsize = 224\n", STEPS)
        .replace("cam = \"cam\"\n", "");
    assert!(listed.contains("[[preprocessing]]") && !listed.contains("cam = "), "{listed}");
    fs::write(&path, listed).unwrap();
    for seed in 0..3 {
        fs::create_dir_all(work.path().join("images")).unwrap();
        fs::write(work.path().join(format!("images/{seed}.png")), png(300 + seed as u32, seed).unwrap())
            .unwrap();
    }
    work
}

fn prepare(work: &Path, model: &str, inputs: &[&str]) -> (Option<i32>, Value, Vec<u8>) {
    let out = work.join(format!("{model}.npz"));
    let mut command = nightread();
    command.current_dir(work).args(["prepare", "--models", "models", "--model", model, "--format", "json"]);
    let output = command.arg("--out").arg(&out).args(inputs).output().unwrap();
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), json, fs::read(out).unwrap())
}

#[test]
fn a_list_of_steps_prepares_and_reads_as_the_preset_that_it_spells_out() {
    let work = folder();
    let (code, told, preset) = prepare(work.path(), "cxr-pneumonia-demo", &["images"]);
    assert_eq!((code, &told["item_shape"]), (Some(0), &serde_json::json!([1, 224, 224])), "{told}");
    let (code, told, listed) = prepare(work.path(), "listed", &["images"]);
    assert_eq!((code, told["written"].as_array().unwrap().len()), (Some(0), 3), "{told}");
    // Two archives of the same arrays differ by their times alone, and those are not written.
    assert!(preset == listed && preset.len() > 3 * 4 * 224 * 224);
    assert!(listed.starts_with(b"PK") && listed.windows(6).any(|six| six == b"\x93NUMPY"));

    let findings = |model: &str| {
        let out = work.path().join("out");
        let mut command = nightread();
        command.current_dir(work.path()).args(["process", "images", "--root", ".", "--models", "models"]);
        let output = command.args(["--model", model, "--out"]).arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let version = fs::read_dir(out.join(model)).unwrap().next().unwrap().unwrap().path();
        let document = fs::read(version.join("local/images/1.png.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        (document["findings"].clone(), document["model"]["preprocessing"].clone())
    };
    let (preset, listed) = (findings("cxr-pneumonia-demo"), findings("listed"));
    assert_eq!((&preset.1, &listed.1), (&"xrv-1".into(), &"steps-1".into()));
    assert_eq!(preset.0, listed.0);
}

#[test]
fn what_cannot_be_prepared_is_told_and_left_out() {
    let work = folder();
    fs::write(work.path().join("images/words.png"), "words").unwrap();
    let (code, told, _) = prepare(work.path(), "listed", &["images", "absent.png"]);
    assert_eq!(code, Some(1), "{told}");
    let codes: Vec<_> = told["failed"].as_array().unwrap().iter().map(|failed| &failed["code"]).collect();
    assert_eq!(codes, ["blob_not_found", "not_an_image"], "{told}");
    let output = nightread()
        .args(["prepare", "--model", "fmri-networks-demo", "--out", "x.npz", "."])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && words.contains("radiographs alone"), "{words}");
}

/// Two such names are one when they are shown: the whole archive could not be written, or one array bore another's name.
#[test]
fn a_name_that_is_no_text_is_left_out_and_keeps_none_from_its_array() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let work = folder();
    for name in [&b"images/x\xff.png"[..], b"images/x\xfe.png"] {
        fs::copy(work.path().join("images/0.png"), work.path().join(OsStr::from_bytes(name))).unwrap();
    }
    let (code, told, archive) = prepare(work.path(), "listed", &["images"]);
    let count = |what: &str| told[what].as_array().unwrap().len();
    assert_eq!((code, count("written"), count("failed")), (Some(1), 3, 2), "{told}");
    for failed in told["failed"].as_array().unwrap() {
        assert_eq!(failed["code"], "source_not_allowed", "{told}");
    }
    assert!(!archive.is_empty());
}
