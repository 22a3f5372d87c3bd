//! A real ONNX Runtime and small real models for the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightread_engine::{
    EngineOptions, Manifest, Outputs, Precision, Provider, Runtime, Search, VerifiedModel,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The library of `make runtime`; without it the test says by name that it was skipped, and fails in CI.
pub fn runtime(provider: Provider, test: &str) -> Option<Runtime> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.cache/onnxruntime");
    let named = std::env::var_os("NIGHTREAD_MODELS_RUNTIME").map_or(cache, PathBuf::from);
    match Runtime::load(&Search::new(Some(named), provider)) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {error}");
            println!("SKIPPED: {test}: {error}");
            None
        }
    }
}

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// One of the graphs in `tests/models`, and the manifest around it.
#[derive(Clone, Debug)]
pub struct Graph {
    pub file: &'static str,
    pub side: usize,
    pub cam: bool,
    pub input: &'static str,
    pub labels: usize,
}

impl Graph {
    pub const fn new(file: &'static str) -> Self {
        Self { file, side: 4, cam: false, input: "image", labels: 3 }
    }

    pub const CONV: Self = Self { file: "conv", side: 64, cam: true, input: "image", labels: 3 };
}

/// A models folder of its own, gone with the value.
#[derive(Debug)]
pub struct Models {
    folder: TempDir,
}

impl Models {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a model folder and returns it.
    pub fn write(&self, graph: &Graph) -> PathBuf {
        let folder = self.path().join(graph.file);
        fs::create_dir_all(&folder).unwrap();
        let bytes = fs::read(weights(graph.file)).unwrap();
        fs::write(folder.join("model.onnx"), &bytes).unwrap();
        fs::write(folder.join("README.md"), "# A model for tests\n").unwrap();
        fs::write(folder.join("manifest.toml"), manifest(graph, &hex::encode(Sha256::digest(&bytes))))
            .unwrap();
        folder
    }

    pub fn open(&self, graph: &Graph) -> VerifiedModel {
        let manifest = Manifest::load(&self.write(graph)).unwrap();
        VerifiedModel::open(&Arc::new(manifest), Precision::Fp32).unwrap()
    }
}

pub fn weights(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{name}.onnx"))
}

pub fn manifest(graph: &Graph, sha256: &str) -> String {
    let Graph { file, side, cam, input, labels } = graph;
    let cam = if *cam { "cam = \"cam\"\n" } else { "" };
    let labels: String = (0..*labels)
        .flat_map(|l| ["[[labels]]\nname = \"Label ", DIGITS[l], "\"\nthreshold = 0.5\n"])
        .collect();
    format!(
        r#"schema = 1
name = "{file}"
version = "1.0.0"
task = "radiograph"
description = "a model for tests"
card = "README.md"
[weights.fp32]
file = "model.onnx"
sha256 = "{sha256}"
[input]
name = "{input}"
item_shape = [1, {side}, {side}]
value_range = [-1024.0, 1024.0]
[preprocessing]
id = "xrv-1"
size = {side}
[output]
logits = "logits"
activation = "sigmoid"
calibration = "none"
{cam}{labels}[trained_on]
views = ["PA"]
age_years = [0.0, 99.0]
min_side_px = 4
modality_words = "numbers"
[source]
data = "none"
citation = "none"
url = "none"
licence = "Apache-2.0"
not_for = "anything"
"#
    )
}

/// Two sessions of one thread, batches of four.
pub fn options() -> EngineOptions {
    EngineOptions { max_batch_items: 4, ..EngineOptions::for_cores(2) }
}

/// An image of `side` x `side` that differs with `seed`, within the value range.
pub fn image(side: usize, seed: usize) -> Vec<f32> {
    (0..side * side).map(|at| ((at * 31 + seed * 7919) % 2048) as f32 - 1024.0).collect()
}

/// What the graph gave as `logits`.
pub fn logits(outputs: &Outputs) -> &[f32] {
    outputs.arrays.values("logits").unwrap()
}

/// What the graph gave as `cam`, (labels, height, width) row-major.
pub fn cam(outputs: &Outputs) -> &[f32] {
    outputs.arrays.values("cam").unwrap()
}
