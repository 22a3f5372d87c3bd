//! The demonstration model on a real ONNX Runtime: what holds for small graphs holds for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{image, runtime};
use futures::executor::block_on;
use futures::future::join_all;
use nightread_engine::{
    Engine, EngineOptions, Manifest, Outputs, Precision, Provider, Runtime, VerifiedModel, scores, tune,
};
use sha2::{Digest, Sha256};

fn demonstration(test: &str) -> Option<(Runtime, VerifiedModel)> {
    let runtime = runtime(Provider::Cpu, test)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/cxr-pneumonia-demo");
    let manifest = Manifest::read(&folder).unwrap_or_else(|problems| panic!("{problems}"));
    let model = VerifiedModel::open(&Arc::new(manifest), Precision::Fp32).unwrap();
    Some((runtime, model))
}

#[test]
fn its_scores_are_the_same_alone_and_in_a_batch() {
    let Some((runtime, model)) = demonstration("its_scores_are_the_same_alone_and_in_a_batch") else {
        return;
    };
    let (key, manifest) = (model.key().clone(), model.manifest().clone());
    let linger = Duration::from_mins(1);
    let options = EngineOptions { max_batch_items: 4, linger, ..EngineOptions::for_cores(1) };
    let together = Engine::start(&runtime, vec![model.clone()], options).unwrap();
    let alone =
        Engine::start(&runtime, vec![model], EngineOptions { max_batch_items: 1, ..options }).unwrap();
    let images: Vec<_> = (0..4).map(|seed| image(224, seed)).collect();
    let batched = block_on(join_all(images.iter().map(|image| together.infer(&key, image.clone()))));
    for (image, batched) in images.into_iter().zip(batched) {
        let (single, batched) = (block_on(alone.infer(&key, image)).unwrap(), batched.unwrap());
        assert_eq!((single.timing.batch, batched.timing.batch), (1, 4));
        let logits = |of: &Outputs| of.arrays.values(&manifest.output.heads[0].logits).unwrap().to_vec();
        for (a, b) in logits(&single).into_iter().zip(logits(&batched)) {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} alone, {b} in a batch");
        }
        let (a, b) = (single.arrays.get("cam").unwrap(), batched.arrays.get("cam").unwrap());
        assert_eq!(a.shape(), [manifest.labels.len(), 7, 7]);
        let scale = a.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * scale));
        let scores = scores(&manifest, &batched.arrays).unwrap();
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(&score.probability)));
    }
}

/// A field in protobuf's wire format, of what has a length.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    [bytes.as_slice(), body].concat()
}

/// The demonstration's graph with the tensor that its classifier takes as an output more: protobuf adds up messages that
/// are written one after the other.
fn with_features(graph: &[u8]) -> Vec<u8> {
    let dim = |name: &str| field(1, &field(2, name.as_bytes()));
    let shape = ["batch", "channels", "height", "width"].map(dim).concat();
    let tensor = [vec![1 << 3, 1], field(2, &shape)].concat();
    let output = [field(1, b"relu_120"), field(2, &field(1, &tensor))].concat();
    [graph, &field(7, &field(12, &output))].concat()
}

/// The maps that are made of features and weights are those that the network makes itself.
#[test]
fn maps_of_features_and_weights_are_the_networks_own() {
    let Some((runtime, model)) = demonstration("maps_of_features_and_weights_are_the_networks_own") else {
        return;
    };
    let (shipped, work) = (model.manifest().folder.clone(), tempfile::tempdir().unwrap());
    let graph = with_features(&fs::read(shipped.join("model.fp32.onnx")).unwrap());
    let text = fs::read_to_string(shipped.join("manifest.toml")).unwrap();
    let (before, rest) = text.split_once("[weights.fp32]").unwrap();
    let (_, after) = rest.split_once("[input]").unwrap();
    let weights = format!(
        "[weights.fp32]\nfile = \"model.onnx\"\nsha256 = \"{}\"\n",
        hex::encode(Sha256::digest(&graph))
    );
    let text = format!("{before}{weights}[input]{after}");
    let opened = |cam: &str| {
        let folder = work.path().join("cxr-pneumonia-demo");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("README.md"), "# For a test\n").unwrap();
        fs::write(folder.join("model.onnx"), &graph).unwrap();
        fs::write(folder.join("manifest.toml"), text.replace("cam = \"cam\"", cam)).unwrap();
        VerifiedModel::open(&Arc::new(Manifest::load(&folder)?), Precision::Fp32)
    };
    let made = opened("cam = { features = \"relu_120\", weights = \"unsqueeze_1\" }").unwrap();
    let maps = |model: &VerifiedModel| {
        let engine = Engine::start(&runtime, vec![model.clone()], EngineOptions::for_cores(1)).unwrap();
        let outputs = block_on(engine.infer(model.key(), image(224, 3))).unwrap();
        model.cams().of_item(&outputs.arrays).unwrap().remove(0)
    };
    let (own, made) = (maps(&model), maps(&made));
    assert_eq!(own.shape(), made.shape());
    let scale = own.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
    let furthest = own.iter().zip(&made).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(furthest <= 1e-5 * scale, "{furthest} of {scale}");

    let wrong = opened("cam = { features = \"relu_120\", weights = \"classifier.bias\" }").unwrap_err();
    assert!(wrong.message.contains("[1], not (1 labels, channels)"), "{wrong}");
    let absent = opened("cam = { features = \"relu_120\", weights = \"classifier\" }").unwrap_err();
    assert!(absent.message.contains("no initialiser \"classifier\""), "{absent}");
}

#[test]
fn the_fastest_precision_is_one_of_those_offered() {
    let Some((runtime, model)) = demonstration("the_fastest_precision_is_one_of_those_offered") else {
        return;
    };
    let manifest = model.manifest();
    let fastest = tune::fastest_precision(&runtime, manifest, Provider::Cpu).unwrap();
    assert!(manifest.precisions().any(|offered| offered == fastest));
    let lone = Arc::new(Manifest { int8: None, ..Manifest::clone(manifest) });
    assert_eq!(tune::fastest_precision(&runtime, &lone, Provider::Cpu).unwrap(), Precision::Fp32);
}
