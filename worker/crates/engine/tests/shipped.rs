//! The demonstration model on a real ONNX Runtime: what holds for small graphs holds for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{image, runtime};
use futures::executor::block_on;
use futures::future::join_all;
use nightread_engine::{
    Engine, EngineOptions, Manifest, Outputs, Precision, Provider, Runtime, VerifiedModel, scores, tune,
};

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
        let name = manifest.output.heads[0].cam.as_deref().unwrap();
        let (a, b) = (single.arrays.get(name).unwrap(), batched.arrays.get(name).unwrap());
        assert_eq!(a.shape(), [manifest.labels.len(), 7, 7]);
        let scale = a.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * scale));
        let scores = scores(&manifest, &batched.arrays).unwrap();
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(&score.probability)));
    }
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
