//! Weights in several files: every one is listed, digested and used, and there are no others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Graph, Models, runtime, weights};
use nightread_domain::{ErrorCode, JobError};
use nightread_engine::{Engine, Manifest, ManifestProblems, Precision, Provider, VerifiedModel};
use sha2::{Digest, Sha256};

const DATA: &str = "external.onnx.data";

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The folder of a model whose weights lie in a second file, and whose manifest lists `rows` of file and digest.
fn folder(models: &Models, graph: &'static str, rows: &[(&str, &str)]) -> PathBuf {
    let folder = models.write(&Graph::new(graph));
    fs::copy(weights("external").with_extension("onnx.data"), folder.join(DATA)).unwrap();
    let row = |(file, sha256): &(&str, &str)| format!("{{ file = {file:?}, sha256 = {sha256:?} }}");
    let rows = rows.iter().map(row).collect::<Vec<_>>().join(", ");
    let path = folder.join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap().replace("[input]", &format!("data = [{rows}]\n[input]"));
    fs::write(path, text).unwrap();
    folder
}

fn data_digest() -> String {
    sha256(&fs::read(weights("external").with_extension("onnx.data")).unwrap())
}

fn open(folder: &Path) -> Result<VerifiedModel, JobError> {
    let manifest = Manifest::read(folder).unwrap();
    VerifiedModel::open(&Arc::new(manifest), Precision::Fp32)
}

fn refused(folder: &Path) -> String {
    let refused = open(folder).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ModelMismatch, "{refused}");
    refused.message
}

#[test]
fn weights_in_two_files_compute_as_in_one() {
    let Some(runtime) = runtime(Provider::Cpu, "weights_in_two_files_compute_as_in_one") else { return };
    let models = Models::new();
    let digest = data_digest();
    let outside = open(&folder(&models, "external", &[(DATA, &digest)])).unwrap();
    let inside = models.open(&Graph::new("linear"));
    let (keys, image) = ([outside.key().clone(), inside.key().clone()], common::image(4, 3));
    let engine = Engine::start(&runtime, vec![outside, inside], common::options()).unwrap();
    let outputs = keys.map(|key| engine.infer(&key, image.clone()).wait().unwrap());
    let logits = outputs.each_ref().map(common::logits);
    assert_eq!(logits[0], logits[1]);
    assert!(logits[0].iter().any(|logit| *logit != 0.0));
}

#[test]
fn the_digest_of_a_model_covers_all_of_its_files() {
    let models = Models::new();
    let digest = data_digest();
    let at = folder(&models, "external", &[(DATA, &digest)]);
    let graph = fs::read(at.join("model.onnx")).unwrap();
    // As `sha256sum` prints it, by name.
    let listed = format!("{digest}  {DATA}\n{}  model.onnx\n", sha256(&graph));
    let model = open(&at).unwrap();
    assert_eq!(model.sha256(), sha256(listed.as_bytes()));
    assert_eq!(models.open(&Graph::new("linear")).sha256(), sha256(&fs::read(weights("linear")).unwrap()));
}

#[test]
fn one_byte_in_any_file_of_the_weights_is_refused() {
    let models = Models::new();
    let digest = data_digest();
    let at = folder(&models, "external", &[(DATA, &digest)]);
    open(&at).unwrap();
    for file in ["model.onnx", DATA] {
        let path = at.join(file);
        let whole = fs::read(&path).unwrap();
        for byte in [0, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1;
            fs::write(&path, &flipped).unwrap();
            let words = refused(&at);
            assert!(
                words.contains(file) && words.contains(&sha256(&flipped)) && words.contains(&sha256(&whole)),
                "{words}"
            );
            let ManifestProblems { problems, .. } = Manifest::load(&at).unwrap_err();
            assert!(problems.iter().any(|problem| problem.what.contains(file)), "{problems:?}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(refused(&at).contains(file));
        fs::remove_file(&path).unwrap();
        let ManifestProblems { problems, .. } = Manifest::read(&at).unwrap_err();
        assert!(problems.iter().any(|problem| problem.what.contains("not in the folder")), "{problems:?}");
        fs::write(&path, &whole).unwrap();
    }
    open(&at).unwrap();
}

#[test]
fn files_that_are_used_and_files_that_are_listed_are_the_same() {
    let models = Models::new();
    let digest = data_digest();
    let words = refused(&folder(&models, "external", &[]));
    assert!(
        words.contains(DATA) && words.contains("weights.fp32.data") && words.contains("does not list"),
        "{words}"
    );
    let words = refused(&folder(&models, "linear", &[(DATA, &digest)]));
    assert!(words.contains(DATA) && words.contains("keeps no weights"), "{words}");
    for (graph, wanted) in [("escaping", "outside"), ("absolute", "outside"), ("nested", "sub-folder")] {
        let words = refused(&folder(&models, graph, &[]));
        assert!(words.contains(wanted) && words.contains(".data"), "{words}");
        let words = refused(&folder(&models, graph, &[(DATA, &digest)]));
        assert!(words.contains(wanted), "a listed file of another name makes it no better: {words}");
    }
    let at = folder(&models, "external", &[("../outside.data", &digest)]);
    let ManifestProblems { problems, .. } = Manifest::read(&at).unwrap_err();
    assert!(
        problems[0].at == "weights.fp32.data[0].file" && problems[0].what.contains("beside"),
        "{problems:?}"
    );
}
