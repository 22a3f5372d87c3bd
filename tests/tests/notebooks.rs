//! The notebooks: they are stripped of output, their pages show what they hold, and both run from the first cell to the last on small
//! inputs, without other engines. What they find is held against the documents in `tests/notebooks/run.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nightread_tests::commands::success;
use nightread_tests::parts::{root, skipped};
use nightread_tests::worker::{Worker, binary, runtime};
use serde_json::Value;

const NAMES: [&str; 2] = ["chest-x-rays", "brain-networks"];

fn notebook(name: &str) -> Value {
    let path = root().join("models/notebooks").join(name).with_extension("ipynb");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The lines of a cell as one text.
fn text(cell: &Value) -> String {
    match &cell["source"] {
        Value::Array(lines) => lines.iter().map(|line| line.as_str().unwrap()).collect(),
        whole => whole.as_str().unwrap().to_owned(),
    }
}

#[test]
fn notebooks_are_stripped_of_output() {
    for name in NAMES {
        let notebook = notebook(name);
        let mut code = 0;
        for cell in notebook["cells"].as_array().unwrap().iter().filter(|cell| cell["cell_type"] == "code") {
            code += 1;
            assert!(cell["outputs"].as_array().unwrap().is_empty(), "{name}: output of {}", text(cell));
            assert!(cell["execution_count"].is_null(), "{name}: {}", cell["execution_count"]);
        }
        assert!(code > 10, "{name}: {code}");
    }
}

#[test]
fn pages_show_every_cell_of_their_notebook() {
    for name in NAMES {
        let page = root().join("worker/docs/notebooks").join(name).with_extension("md");
        let page = fs::read_to_string(page).unwrap();
        for cell in notebook(name)["cells"].as_array().unwrap() {
            for line in text(cell).replace("](../../worker/docs/", "](../").lines() {
                assert!(
                    page.contains(line),
                    "the page of {name} lacks `{line}`: run models/tools/render_notebooks.py"
                );
            }
        }
    }
}

#[test]
fn notebooks_run_and_find_what_the_documents_say() {
    const TEST: &str = "notebooks_run_and_find_what_the_documents_say";
    let python = root().join(".cache/venv-notebooks/bin/python");
    if !python.exists() {
        return skipped(TEST, "the environment of models/notebooks");
    }
    if !Worker::is_built(TEST) {
        return;
    }
    let data =
        std::env::var_os("NIGHTREAD_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let labelled = data.join("xray/kermany/labels.csv").exists();
    if !labelled && !root().join(".cache/samples").is_dir() {
        return skipped(TEST, "both the test data and the samples of `make samples`");
    }
    let work = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(root().join("tests/notebooks/run.py")).arg(work.path());
    command.arg(if labelled { "yes" } else { "no" }).env("NIGHTREAD_TEST_DATA", data);
    command.env("NIGHTREAD", binary()).env("NIGHTREAD_MODELS_RUNTIME", runtime().unwrap());
    let output = command.env("ORT_DISABLE_TELEMETRY", "1").output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&success("the notebooks", &output).stdout));
}
