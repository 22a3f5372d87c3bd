//! Models of small networks of the engine's tests, made for one test, and what is done with a folder of them.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{checked, repository};

/// The input of most of these networks, and what makes it of an image.
pub const INPUT: &str = r#"[input]
name = "image"
item_shape = [1, 4, 4]
value_range = [-1024.0, 1024.0]
[preprocessing]
id = "xrv-1"
size = 4
"#;

/// A folder with a card, and a manifest of `sections` between what every manifest has; it bears the folder's name.
pub fn model(folder: &Path, sections: &str) {
    fs::create_dir_all(folder).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let manifest = format!(
        r#"schema = 1
name = "{name}"
version = "1.0.0"
task = "radiograph"
description = "for tests"
card = "README.md"
{sections}[trained_on]
modality_words = "nothing"
[source]
data = "none"
citation = "none"
url = "none"
licence = "none"
not_for = "reading"
"#
    );
    fs::write(folder.join("README.md"), "# For a test\n").unwrap();
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
}

/// Copies a graph of the engine's tests, and the files beside it that it keeps weights in; the section of the manifest that
/// names them. The graph becomes `model.fp32.onnx`.
pub fn weights(folder: &Path, graph: &str, data: &[&str]) -> String {
    fs::create_dir_all(folder).unwrap();
    let copied = |from: &str, to: &str| {
        let bytes = fs::read(repository().join("worker/crates/engine/tests/models").join(from)).unwrap();
        fs::write(folder.join(to), &bytes).unwrap();
        hex::encode(Sha256::digest(&bytes))
    };
    let graph = copied(graph, "model.fp32.onnx");
    let data =
        data.iter().map(|file| format!("{{ file = \"{file}\", sha256 = \"{}\" }}", copied(file, file)));
    let data: Vec<String> = data.collect();
    let data = if data.is_empty() { String::new() } else { format!("data = [{}]\n", data.join(", ")) };
    format!("[weights.fp32]\nfile = \"model.fp32.onnx\"\nsha256 = \"{graph}\"\n{data}")
}

/// Labels that are all decided by one threshold.
pub fn labels(names: &[&str], threshold: f64) -> String {
    let label = |name: &&str| format!("[[labels]]\nname = \"{name}\"\nthreshold = {threshold:?}\n");
    names.iter().map(label).collect()
}

/// Rewrites the manifest in a folder; what is replaced must be there.
pub fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// How the first study of a `nightread process --format json` in `folder` ended, and its document, held against the schema.
pub fn read(ran: &Output, folder: &Path) -> (String, Value) {
    let told: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
    let row = &told["results"][0];
    let document = fs::read(folder.join(row["path"].as_str().unwrap())).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    checked(&document);
    (row["outcome"].as_str().unwrap().to_owned(), document)
}
