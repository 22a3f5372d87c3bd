//! A models folder of small networks of the engine's tests, and an image to read with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nightread::services::autotune::images::png;
use nightread_engine::{Manifest, Precision};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::nightread;
use crate::support::shelves::{self, model, weights};

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
        let weights = weights(&self.model(name), &format!("{graph}.onnx"), &[]);
        let text = format!(
            r#"{weights}[input]
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
{output}{}"#,
            shelves::labels(labels, *threshold)
        );
        model(&self.model(name), &text);
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
        let members = members.collect::<String>();
        let labels = shelves::labels(labels, 0.6);
        model(&self.model(name), &format!("[ensemble]\ncombine = \"{combine}\"\n{members}{labels}"));
    }

    /// Rewrites a manifest; what is replaced must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        shelves::edit(&self.model(name), from, to);
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
        shelves::read(&self.process(model, environment), self.path()).1
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
