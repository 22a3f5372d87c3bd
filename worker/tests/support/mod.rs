//! Running the binary and finding real data.
#![allow(dead_code, clippy::print_stderr)] // each test file uses its part

pub mod bands;
pub mod markdown;
pub mod rooms;
pub mod shelves;
pub mod sockets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

/// The top of the checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The binary under test, with this checkout's models and runtime.
pub fn nightread() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nightread"));
    command.current_dir(repository()).env("NIGHTREAD_MODELS_RUNTIME", runtime());
    command
}

pub fn models() -> PathBuf {
    repository().join("models")
}

/// ONNX Runtime's library, where `make runtime` put it.
pub fn runtime() -> PathBuf {
    let cache = repository().join(".cache/onnxruntime");
    let folders =
        fs::read_dir(&cache).unwrap_or_else(|_| panic!("no {}: run `make runtime`", cache.display()));
    folders
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("cpu-"))
        .flat_map(|entry| fs::read_dir(entry.path()).unwrap().filter_map(Result::ok))
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("libonnxruntime.so."))
        .expect("a library in the cache")
}

/// pydicom-data, where `make samples` put it.
pub fn pydicom_data() -> Option<PathBuf> {
    let folder = std::env::var_os("NIGHTREAD_PYDICOM_DATA")
        .map_or_else(|| repository().join(".cache/pydicom-data"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The DICOM samples, where `make samples` put them.
pub fn samples() -> Option<PathBuf> {
    let folder = repository().join(".cache/samples");
    folder.is_dir().then_some(folder)
}

/// A part of the shared test data, when it is there.
pub fn test_data(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("NIGHTREAD_TEST_DATA")
        .map_or_else(|| repository().join("../shared/data"), PathBuf::from);
    let folder = root.join(part);
    folder.is_dir().then_some(folder)
}

/// Says by name that a test was skipped for want of data.
pub fn missing(test: &str) {
    eprintln!("SKIPPED: {test}: its data is not here");
}

/// One finished run with its JSON output.
pub struct Ran {
    pub code: Option<i32>,
    pub json: Value,
    pub stderr: String,
}

/// `nightread process INPUTS --out OUT --format json`.
pub fn process(inputs: &[PathBuf], out: &Path, environment: &[(&str, &str)]) -> Ran {
    let mut command = nightread();
    command
        .args(["process", "--format", "json", "--out"])
        .arg(out)
        .args(inputs)
        .envs(environment.iter().copied());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no JSON on stdout; stderr: {stderr}"));
    Ran { code: output.status.code(), json, stderr }
}

/// As [`process`], and the high-water mark of resident memory in KiB, read while it runs.
pub fn process_with_peak_memory(input: &Path, out: &Path) -> (Ran, u64) {
    let stdout = tempfile::NamedTempFile::new().unwrap();
    let mut child = nightread()
        .args(["process", "--format", "json", "--out"])
        .args([out, input])
        .stdout(stdout.reopen().unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    let ended = loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = high.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let json = serde_json::from_slice(&fs::read(stdout.path()).unwrap()).unwrap();
    (Ran { code: ended.code(), json, stderr: String::new() }, peak)
}

static RESULT_SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let text = fs::read_to_string(repository().join("worker/schemas/result.v2.json")).unwrap();
    let schema = serde_json::from_str(&text).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
});

/// Holds a document against the result schema.
pub fn checked(document: &Value) {
    let problems: Vec<String> = RESULT_SCHEMA
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{}\n{document:#}", problems.join("\n"));
}

/// Copies a folder with all it holds.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().filter_map(Result::ok) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The path of the one file of this kind beside a document, below the results folder.
pub fn artefact<'a>(document: &'a Value, kind: &str) -> &'a str {
    let listed = document["artefacts"].as_array().unwrap();
    let found: Vec<_> = listed.iter().filter(|artefact| artefact["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {listed:?}");
    found[0]["path"].as_str().unwrap()
}
