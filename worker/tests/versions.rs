//! One version of a model is one set of weights under one manifest, whichever command meets another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::shelves::{INPUT, edit, labels, model, weights};
use support::{checked, copy_folder, missing, models, nightread, pydicom_data};
use tempfile::TempDir;

const MODEL: &str = "cxr-pneumonia-demo";

/// A models folder of its own, with one model in it.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        let shelf = Self(TempDir::new().unwrap());
        copy_folder(&models().join(MODEL), &shelf.model());
        shelf
    }

    fn model(&self) -> PathBuf {
        self.0.path().join(MODEL)
    }

    /// Rewrites the manifest; what is replaced must be there.
    fn edit(&self, from: &str, to: &str) {
        edit(&self.model(), from, to);
    }

    fn process(&self, input: &Path, out: &Path) -> Output {
        let mut command = nightread();
        command.args(["process", "--format", "json", "--models"]).arg(self.0.path());
        command.arg("--out").args([out, input]).output().unwrap()
    }

    fn check(&self) -> Output {
        nightread().args(["check", "--for", "process", "--models"]).arg(self.0.path()).output().unwrap()
    }

    /// The service, at a broker that nobody is.
    fn run(&self, work: &Path) -> Command {
        let mut command = nightread();
        command.args(["run", "--models"]).arg(self.0.path());
        command.env("NIGHTREAD_BROKER_URL", "amqp://127.0.0.1:1").env("NIGHTREAD_HTTP_LISTEN", "127.0.0.1:0");
        command.env("NIGHTREAD_STORAGE_FOLDER", work).env("NIGHTREAD_MODELS_PRECISION", "fp32");
        for setting in ["SESSIONS", "INTRA_THREADS", "DECODE_THREADS"] {
            command.env(format!("NIGHTREAD_ENGINE_{setting}"), "1");
        }
        command
    }
}

fn all(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn document(out: &Path) -> (PathBuf, Value) {
    let found =
        walk(&out.join(MODEL)).into_iter().find(|path| path.extension().is_some_and(|end| end == "json"));
    let path = found.unwrap_or_else(|| panic!("no document below {}", out.display()));
    let document = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    (path, document)
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn another_manifest_under_a_version_that_has_results_is_refused() {
    let Some(data) = pydicom_data() else {
        return missing("another_manifest_under_a_version_that_has_results_is_refused");
    };
    let (work, shelf) = (TempDir::new().unwrap(), Shelf::new());
    for container in ["incoming", "results"] {
        fs::create_dir(work.path().join(container)).unwrap();
    }
    let out = work.path().join("results");
    let (first, second) = (data.join("RG1_UNCR.dcm"), data.join("RG1_UNCI.dcm"));
    assert_eq!(shelf.process(&first, &out).status.code(), Some(0));
    let (path, read) = document(&out);
    checked(&read);
    let theirs = read["model"]["manifest_sha256"].as_str().unwrap().to_owned();
    let written = fs::read(&path).unwrap();

    for (from, to) in [("threshold = ", "threshold = 0.9 # "), ("views = [", "views = [\"LL\", ")] {
        let other = Shelf::new();
        other.edit(from, to);
        // What is done already and what is new alike.
        for input in [&first, &second] {
            let refused = other.process(input, &out);
            let told = all(&refused);
            assert_eq!(refused.status.code(), Some(1), "{told}");
            assert!(told.contains("model_mismatch") && told.contains(&theirs), "{told}");
            let digests = told.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
            assert!(digests.filter(|digest| *digest != theirs).count() >= 1, "both are named: {told}");
        }
        let refused = other.run(work.path()).output().unwrap();
        let told = all(&refused);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains("model_mismatch") && told.contains(&theirs), "{told}");
    }
    assert_eq!(fs::read(&path).unwrap(), written, "nothing was written again");
    assert_eq!(walk(&out).len(), 1, "nothing new was written");

    // A text for people is free to change, and so is a document from before manifests were digested.
    shelf.edit("description = \"", "description = \"Once more: ");
    let mut older = read.clone();
    older["model"].as_object_mut().unwrap().remove("manifest_sha256");
    fs::write(&path, serde_json::to_vec(&older).unwrap()).unwrap();
    let again = shelf.process(&first, &out);
    assert!(all(&again).contains("already_done"), "{}", all(&again));
    shelf.edit("threshold = ", "threshold = 0.9 # ");
    assert!(all(&shelf.process(&first, &out)).contains("already_done"), "it counts by its weights");
}

#[test]
fn a_document_of_a_newer_form_is_never_replaced_and_a_torn_one_is() {
    let Some(data) = pydicom_data() else {
        return missing("a_document_of_a_newer_form_is_never_replaced_and_a_torn_one_is");
    };
    let (work, shelf) = (TempDir::new().unwrap(), Shelf::new());
    let (out, input) = (work.path().join("results"), data.join("RG1_UNCR.dcm"));
    fs::create_dir(&out).unwrap();
    assert_eq!(shelf.process(&input, &out).status.code(), Some(0));
    let (path, read) = document(&out);
    checked(&read);
    let with = |key: &str, value: Value| {
        let mut other = read.clone();
        other[key] = value;
        serde_json::to_vec(&other).unwrap()
    };
    let newer = [
        // Another form, a smaller one with nothing in it that is known, and this form with a word that is not known.
        with("schema", "nightread.result.v3".into()),
        br#"{"schema": "nightread.result.v9", "study": {}}"#.to_vec(),
        with("status", "postponed".into()),
    ];
    for there in newer {
        fs::write(&path, &there).unwrap();
        for force in [None, Some("--force")] {
            let mut command = nightread();
            command.args(["process", "--format", "json", "--models"]).arg(shelf.0.path());
            command.args(force).arg("--out").args([&out, &input]);
            let refused = command.output().unwrap();
            let told = all(&refused);
            assert_eq!(refused.status.code(), Some(1), "{told}");
            assert!(told.contains("result_newer_schema") && told.contains("given_up"), "{told}");
            assert_eq!(fs::read(&path).unwrap(), there, "{told}");
        }
    }
    // Torn, somebody else's, or nothing at all: no result.
    let whole = serde_json::to_vec(&read).unwrap();
    for torn in [&whole[..whole.len() / 2], br#"{"schema": "x"}"#, b""] {
        fs::write(&path, torn).unwrap();
        let again = shelf.process(&input, &out);
        assert_eq!(again.status.code(), Some(0), "{}", all(&again));
        checked(&document(&out).1);
    }
}

#[test]
fn one_byte_in_any_weights_file_is_refused_by_every_command() {
    let work = TempDir::new().unwrap();
    for container in ["incoming", "results"] {
        fs::create_dir(work.path().join(container)).unwrap();
    }
    let image = work.path().join("image.png");
    fs::write(&image, b"\x89PNG\r\n\x1a\n").unwrap();
    let (one, two) = (Shelf::new(), Shelf::new());
    fs::remove_file(two.model().join("model.int8.onnx")).unwrap();
    let weights = weights(&two.model(), "external.onnx", &["external.onnx.data"]);
    let output = "[output]\nlogits = \"logits\"\nactivation = \"sigmoid\"\ncalibration = \"none\"\n";
    model(&two.model(), &format!("{weights}{INPUT}{output}{}", labels(&["A", "B", "C"], 0.5)));

    for (shelf, file) in [(&one, "model.fp32.onnx"), (&two, "model.fp32.onnx"), (&two, "external.onnx.data")]
    {
        let sound = shelf.check();
        assert_eq!(sound.status.code(), Some(0), "{file}: {}", all(&sound));
        let path = shelf.model().join(file);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let found = hex::encode(Sha256::digest(&bytes));
        for output in [
            shelf.process(&image, &work.path().join("out")),
            shelf.check(),
            shelf.run(work.path()).output().unwrap(),
        ] {
            let told = all(&output);
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains(file) && told.contains(&found), "{told}");
        }
        assert!(walk(&work.path().join("out")).is_empty(), "nothing was read");
        fs::write(&path, &whole).unwrap();
    }
}
