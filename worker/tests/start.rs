//! How `nightread process` starts: graphs that are kept between runs, and trials only where the work is longer than they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nightread::services::autotune::images::{dicom, png};
use serde_json::Value;
use support::{copy_folder, models, nightread, repository};
use tempfile::TempDir;

const MODEL: &str = "cxr-pneumonia-demo";

struct Work(TempDir);

impl Work {
    /// A folder with one image, and so many files that are none.
    fn new(more: usize) -> Self {
        let work = TempDir::new().unwrap();
        fs::create_dir(work.path().join("in")).unwrap();
        fs::write(work.path().join("in/image.png"), png(256, 1).unwrap()).unwrap();
        for number in 0..more {
            fs::write(work.path().join(format!("in/empty-{number:03}.png")), b"").unwrap();
        }
        Self(work)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Reads everything into `out`, with the caches of a user who has none yet.
    fn process(&self, out: &str) -> Command {
        let mut command = nightread();
        command.env("XDG_CACHE_HOME", self.at("caches")).env_remove("NIGHTREAD_MODELS_CACHE_DIR");
        command.args(["process", "-v", "--model", MODEL, "--out"]).args([self.at(out), self.at("in")]);
        command
    }

    /// The image's document in `out`, and what was told.
    fn read(&self, out: &str, command: &mut Command) -> (Value, String) {
        let ran = command.output().unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        let document = document(&self.at(out)).unwrap_or_else(|| panic!("{told}"));
        assert_eq!(document["status"], "ok", "{document}");
        (document, told)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.at("caches/nightread"));
        folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

/// The document of `image.png` below a folder.
fn document(folder: &Path) -> Option<Value> {
    let entries = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    entries.into_iter().find_map(|path| match path.is_dir() {
        true => document(&path),
        false if path.file_name()?.to_str()?.starts_with("image.png") => {
            serde_json::from_slice(&fs::read(path).unwrap()).ok()
        }
        false => None,
    })
}

/// OpenVINO's library, where `worker/tools/fetch-runtime openvino` put it.
fn openvino() -> Option<PathBuf> {
    let folders = fs::read_dir(repository().join(".cache/onnxruntime")).ok()?;
    let mut folders = folders.map(|entry| entry.unwrap().path());
    folders.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("openvino-")))
}

#[test]
fn a_second_run_finds_the_graph_of_the_first_and_gives_the_same_numbers() {
    let work = Work::new(0);
    let (without, _) = work.read("without", work.process("without").env("NIGHTREAD_MODELS_CACHE_DIR", "off"));
    assert!(!work.at("caches").exists(), "it is off");
    let (first, _) = work.read("first", &mut work.process("first"));
    let [entry] = work.entries().try_into().unwrap();
    let made = entry.join("graph.onnx").metadata().unwrap().modified().unwrap();
    let (second, told) = work.read("second", &mut work.process("second"));
    assert_eq!(entry.join("graph.onnx").metadata().unwrap().modified().unwrap(), made);
    assert!(!told.contains("WARN"), "{told}");
    assert!(!without["findings"].as_array().unwrap().is_empty(), "{without}");
    for found in [&first, &second] {
        assert_eq!(found["findings"], without["findings"]);
        assert_eq!(found["model"], without["model"]);
    }
}

#[test]
fn a_damaged_graph_is_a_warning_and_one_that_cannot_be_kept_is_none() {
    let work = Work::new(0);
    let (first, _) = work.read("first", &mut work.process("first"));
    let [entry] = work.entries().try_into().unwrap();
    let weights = entry.join("weights.bin");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let (second, told) = work.read("second", &mut work.process("second"));
    assert!(told.contains("WARN") && told.contains("is damaged"), "{told}");
    assert_eq!(second["findings"], first["findings"]);
    // A container without a place to write to.
    let (third, told) = work.read("third", work.process("third").env("XDG_CACHE_HOME", "/proc/none"));
    assert!(!told.contains("WARN"), "{told}");
    assert_eq!(third["findings"], first["findings"]);
    // A folder that was asked for is another matter.
    let named = work.process("fourth").env("NIGHTREAD_MODELS_CACHE_DIR", "/proc/none").output().unwrap();
    let told = String::from_utf8(named.stderr).unwrap();
    assert!(
        told.contains("WARN") && told.contains("[models] cache_dir") && told.contains("/proc/none"),
        "{told}"
    );
    assert_eq!(named.status.code(), Some(0), "{told}");
}

#[test]
fn auto_takes_the_cpu_without_a_trial_where_the_work_is_short_or_the_library_has_nothing_else() {
    let short = Work::new(0);
    let Some(openvino) = openvino() else {
        return support::missing("auto_takes_the_cpu_without_a_trial_where_the_work_is_short");
    };
    let (one, told) = short.read(
        "out",
        short
            .process("out")
            .env("NIGHTREAD_MODELS_PROVIDER", "auto")
            .env("NIGHTREAD_MODELS_RUNTIME", openvino),
    );
    assert_eq!(one["model"]["execution_provider"], "cpu");
    assert!(told.contains("OpenVino") && !told.contains("a provider beside"), "{told}");
    assert!(!told.contains("measured how to split"), "{told}");

    let long = Work::new(230);
    let (many, told) = long.read("out", long.process("out").env("NIGHTREAD_MODELS_PROVIDER", "auto"));
    assert_eq!(many["model"]["execution_provider"], "cpu");
    assert!(told.contains("measured how to split") && !told.contains("a provider beside"), "{told}");
}

#[test]
fn auto_tells_in_the_document_what_the_trial_chose() {
    let Some(openvino) = openvino() else {
        return support::missing("auto_tells_in_the_document_what_the_trial_chose");
    };
    let work = Work::new(230);
    let run = |out: &str, provider: &str| {
        let mut command = work.process(out);
        command.env("NIGHTREAD_MODELS_PROVIDER", provider).env("NIGHTREAD_MODELS_RUNTIME", &openvino);
        work.read(out, &mut command)
    };
    let (auto, told) = run("auto", "auto");
    assert!(told.contains("timed a provider beside"), "{told}");
    let chosen = auto["model"]["execution_provider"].as_str().unwrap();
    assert!(told.contains(&format!("chosen={chosen}")), "{chosen}: {told}");
    // The same numbers as where that provider is named.
    let (named, _) = run("named", chosen);
    assert_eq!(auto["findings"], named["findings"]);
    let (other, _) = run("other", if chosen == "cpu" { "openvino" } else { "cpu" });
    let probability = |document: &Value| document["findings"][0]["probability"].as_f64().unwrap();
    assert!((probability(&auto) - probability(&other)).abs() <= 1e-4, "{auto} {other}");
}

#[test]
fn a_fleet_names_its_provider() {
    let work = TempDir::new().unwrap();
    let ran = nightread()
        .args(["run"])
        .env("NIGHTREAD_MODELS_PROVIDER", "auto")
        .env("NIGHTREAD_MODELS_PRECISION", "fp32")
        .env("NIGHTREAD_STORAGE_FOLDER", work.path())
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{told}");
    let lines: Vec<_> = told.lines().filter(|line| line.contains("[models] provider")).collect();
    assert!(lines.len() == 1 && lines[0].contains("cpu or openvino"), "{told}");
}

/// Such a model refuses every PNG, and so it refused the images that the split of the cores is measured by: neither a service nor
/// a large folder could begin.
#[test]
fn a_model_that_reads_through_the_window_of_the_header_is_measured_by_images_that_have_one() {
    let work = Work::new(200);
    fs::write(work.at("in/image.png"), dicom(256, 1)).unwrap();
    let folder = work.at("models/window");
    copy_folder(&models().join(MODEL), &folder);
    let manifest = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let preset = "[preprocessing]\nid = \"xrv-1\"\nsize = 224\n";
    let steps = r#"
[[preprocessing]]
step = "window"
source = "header"
to = [-1024, 1024]
[[preprocessing]]
step = "resize"
library = "opencv-area"
side = "exact"
height = 224
width = 224
[[preprocessing]]
step = "channels"
count = 1
layout = "NCHW"
"#;
    assert!(manifest.contains(preset));
    let manifest = manifest.replace(preset, steps).replace(&format!("\"{MODEL}\""), "\"window\"");
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
    let with = |command: &mut Command| {
        command.args(["--model", "window", "--models"]).arg(work.at("models"));
        command.env("NIGHTREAD_MODELS_CACHE_DIR", "off");
    };
    let mut process = nightread();
    with(process.args(["process", "--out"]).args([work.at("out"), work.at("in")]));
    work.read("out", &mut process);
    let mut bench = nightread();
    with(
        bench.args(["bench", "--bulk", "2", "--format", "json"]).env("NIGHTREAD_ENGINE_DECODE_THREADS", "1"),
    );
    let ran = bench.output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && told.contains("generated 16-bit DICOM"), "{told}");
}
