//! A models folder of small networks of the engine's tests, and an image to read with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nightread::services::autotune::images::png;
use nightread_engine::{Manifest, Precision};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{checked, nightread, repository};

/// What the small networks were made for.
pub const LABELS: [&str; 3] = ["Effusion", "Mass", "Nodule"];

/// A network of 4 x 4 pixels.
pub struct Network<'a> {
    pub name: &'a str,
    /// Its graph among those of the engine's tests.
    pub graph: &'a str,
    /// Interval that the stored range becomes.
    pub range: [f64; 2],
    /// The geometry of its steps.
    pub geometry: &'a str,
    /// The lines of `[output]` below `logits`.
    pub output: &'a str,
    pub labels: &'a [&'a str],
    pub threshold: f64,
}

/// Squeezes the image.
pub const SQUEEZED: &str = "[[preprocessing]]\nstep = \"resize\"\nlibrary = \"opencv-area\"\nside = \"exact\"\nheight = 4\nwidth = 4\n";
/// Puts bands around it first.
pub const BANDED: &str = "[[preprocessing]]\nstep = \"pad-square\"\nvalue = 0.25\n[[preprocessing]]\nstep = \"resize\"\nlibrary = \"pillow-bilinear\"\nside = \"exact\"\nheight = 4\nwidth = 4\n";

pub const SIGMOID: &str = "activation = \"sigmoid\"\ncalibration = \"none\"\n";

impl Default for Network<'_> {
    fn default() -> Self {
        Self {
            name: "one",
            graph: "linear",
            range: [0.0, 1.0],
            geometry: SQUEEZED,
            output: SIGMOID,
            labels: &LABELS,
            threshold: 0.5,
        }
    }
}

/// Folders `models` and `out`, and the image `a.png`.
pub struct Shelf(TempDir);

impl Shelf {
    pub fn new() -> Self {
        let shelf = Self(TempDir::new().unwrap());
        fs::write(shelf.path().join("a.png"), png(300, 7).unwrap()).unwrap();
        shelf
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn model(&self, name: &str) -> PathBuf {
        self.path().join("models").join(name)
    }

    pub fn network(&self, network: &Network<'_>) {
        let Network { name, graph, range: [low, high], geometry, output, labels, threshold } = network;
        let graph = repository().join(format!("worker/crates/engine/tests/models/{graph}.onnx"));
        let graph = fs::read(graph).unwrap();
        let text = format!(
            r#"[weights.fp32]
file = "model.onnx"
sha256 = "{}"
[input]
name = "image"
item_shape = [1, 4, 4]
value_range = [{low:?}, {high:?}]
[[preprocessing]]
step = "range"
to = [{low:?}, {high:?}]
{geometry}[[preprocessing]]
step = "channels"
count = 1
layout = "NCHW"
[output]
logits = "logits"
{output}"#,
            hex::encode(Sha256::digest(&graph))
        );
        self.write(name, &text, labels, *threshold);
        fs::write(self.model(name).join("model.onnx"), &graph).unwrap();
    }

    /// An ensemble of what lies there, with the digests that it has now.
    pub fn ensemble(&self, name: &str, members: &[&str], combine: &str, labels: &[&str]) {
        let members = members.iter().map(|member| {
            let manifest = Manifest::read(&self.model(member)).unwrap();
            let weights = manifest.weights(Precision::Fp32).and_then(nightread_engine::Weights::digest).unwrap();
            format!(
                "[[ensemble.members]]\nmodel = \"{member}\"\nmanifest_sha256 = \"{}\"\nfp32_sha256 = \"{weights}\"\n",
                manifest.sha256()
            )
        });
        let text = format!("[ensemble]\ncombine = \"{combine}\"\n{}", members.collect::<String>());
        self.write(name, &text, labels, 0.6);
    }

    fn write(&self, name: &str, text: &str, labels: &[&str], threshold: f64) {
        fs::create_dir_all(self.model(name)).unwrap();
        let labels =
            labels.iter().map(|label| format!("[[labels]]\nname = \"{label}\"\nthreshold = {threshold:?}\n"));
        let manifest = format!(
            r#"schema = 1
name = "{name}"
version = "1.0.0"
task = "radiograph"
description = "for tests"
card = "README.md"
{text}{}[trained_on]
modality_words = "nothing"
[source]
data = "none"
citation = "none"
url = "none"
licence = "none"
not_for = "reading"
"#,
            labels.collect::<String>()
        );
        fs::write(self.model(name).join("README.md"), "# For a test\n").unwrap();
        fs::write(self.model(name).join("manifest.toml"), manifest).unwrap();
    }

    /// Rewrites a manifest; what is replaced must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let path = self.model(name).join("manifest.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// `nightread process` of the image with one model.
    pub fn process(&self, model: &str, environment: &[(&str, &str)]) -> Output {
        let mut command = nightread();
        command.current_dir(self.path()).args(["process", "a.png", "--root", ".", "--models", "models"]);
        command.args(["--model", model, "--out", "out", "--format", "json"]);
        command.envs(environment.iter().copied()).output().unwrap()
    }

    /// The document of the image, held against the schema.
    pub fn read(&self, model: &str, environment: &[(&str, &str)]) -> Value {
        let ran = self.process(model, environment);
        let told: Value = serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
        let path = told["results"][0]["path"].as_str().unwrap();
        let document = serde_json::from_slice(&fs::read(self.path().join(path)).unwrap()).unwrap();
        checked(&document);
        document
    }

    /// `nightread models` with these arguments: whether it succeeded, and all that it said.
    pub fn models(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = nightread();
        command.current_dir(self.path()).arg("models").args(arguments).args(["--models", "models"]);
        let ran = command.output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// A number of each finding.
pub fn numbers(document: &Value, field: &str) -> Vec<f64> {
    let findings = document["findings"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    findings.iter().map(|finding| finding[field].as_f64().unwrap()).collect()
}
