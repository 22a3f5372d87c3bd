//! The engine on a real ONNX Runtime with small real models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Graph, Models, cam, image, logits, options, runtime};
use futures::executor::block_on;
use futures::future::join_all;
use nightread_domain::ErrorCode;
use nightread_engine::{Close, Engine, EngineOptions, Health, ModelKey, Provider, Stats, scores};

/// The graph of `linear.onnx`, by hand.
fn linear(image: &[f32]) -> Vec<f32> {
    (0..3)
        .map(|l| {
            image.iter().enumerate().map(|(i, x)| x * (i as f32 + 1.0) * (l as f32 - 1.0) / 64.0).sum::<f32>()
        })
        .collect()
}

#[test]
fn logits_and_class_activation_maps_are_the_graphs_own() {
    let Some(runtime) = runtime(Provider::Cpu, "logits_and_class_activation_maps_are_the_graphs_own") else {
        return;
    };
    let models = Models::new();
    let model = models.open(&Graph { cam: true, ..Graph::new("cam") });
    let (key, manifest) = (model.key().clone(), model.manifest().clone());
    assert_eq!(key.to_string(), "cam/1.0.0-fp32");
    let engine = Engine::start(&runtime, vec![model], options()).unwrap();
    let image = image(4, 3);
    let outputs = block_on(engine.infer(&key, image.clone())).unwrap();
    let expected = linear(&image);
    assert!(
        logits(&outputs).iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-2),
        "{outputs:?} {expected:?}"
    );
    assert_eq!(outputs.arrays.get("logits").unwrap().shape(), [3]);
    assert_eq!(outputs.arrays.get("cam").unwrap().shape(), [3, 4, 4]);
    assert_eq!(cam(&outputs)[32..], image.iter().map(|x| x * 2.0).collect::<Vec<_>>());
    assert_eq!(outputs.arrays.get("mask").unwrap_err().code, ErrorCode::ModelMismatch);
    assert_eq!(outputs.timing.batch, 1);
    let scores = scores(&manifest, &outputs.arrays).unwrap();
    assert_eq!(scores.len(), 3);
    assert!((scores[1].probability - 0.5).abs() < 1e-6 && scores[1].positive, "its weights are zero");
    assert_eq!(engine.health(), Health::Ready);
}

#[test]
fn batched_scores_equal_single_scores() {
    let Some(runtime) = runtime(Provider::Cpu, "batched_scores_equal_single_scores") else { return };
    let models = Models::new();
    let model = models.open(&Graph::CONV);
    let key = model.key().clone();
    let single = EngineOptions { max_batch_items: 1, ..EngineOptions::for_cores(1) };
    let alone = Engine::start(&runtime, vec![model.clone()], single).unwrap();
    let batched = EngineOptions { max_batch_items: 8, ..EngineOptions::for_cores(1) };
    let together = Engine::start(&runtime, vec![model], batched).unwrap();
    let images: Vec<_> = (0..40).map(|seed| image(64, seed)).collect();
    let singles: Vec<_> =
        images.iter().map(|image| block_on(alone.infer(&key, image.clone())).unwrap()).collect();
    let many = block_on(join_all(images.iter().map(|image| together.infer(&key, image.clone()))));
    let many: Vec<_> = many.into_iter().map(Result::unwrap).collect();
    assert!(many.iter().any(|outputs| outputs.timing.batch == 8), "a full batch formed behind the first");
    for (a, b) in singles.iter().zip(&many) {
        for of in [logits, cam] {
            let (one, other) = (of(a), of(b));
            let scale = one.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
            for (x, y) in one.iter().zip(other) {
                assert!((x - y).abs() <= 1e-5 * scale, "{x} alone, {y} in a batch of {}", b.timing.batch);
            }
        }
    }
    let stats = together.stats();
    assert!(stats.items == 40 && stats.batches < 40, "{stats:?}");
}

/// Queues all items before any session is free, so that they run together.
fn together(engine: &Engine, key: &ModelKey, items: Vec<Vec<f32>>) -> Vec<Result<Vec<f32>, ErrorCode>> {
    let answers: Vec<_> = items.into_iter().map(|item| engine.infer(key, item)).collect();
    answers
        .into_iter()
        .map(|answer| block_on(answer).map(|outputs| logits(&outputs).to_vec()).map_err(|error| error.code))
        .collect()
}

/// One session and a linger longer than the queueing, so that the four items make one batch.
fn one_batch() -> EngineOptions {
    EngineOptions {
        max_batch_items: 4,
        linger: std::time::Duration::from_secs(30),
        ..EngineOptions::for_cores(1)
    }
}

fn filled(first: f32) -> Vec<f32> {
    let mut item = vec![1.0; 16];
    item[0] = first;
    item
}

#[test]
fn the_first_batch_need_not_be_warmed_up() {
    let Some(runtime) = runtime(Provider::Cpu, "the_first_batch_need_not_be_warmed_up") else { return };
    let models = Models::new();
    let model = models.open(&Graph::CONV);
    let key = model.key().clone();
    let answers = [true, false].map(|warm_batches| {
        let options = EngineOptions { warm_batches, ..one_batch() };
        let engine = Engine::start(&runtime, vec![model.clone()], options).unwrap();
        together(&engine, &key, (0..4).map(|seed| image(64, seed)).collect())
    });
    assert!(answers[0].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn only_the_item_with_scores_that_are_not_finite_fails() {
    let Some(runtime) = runtime(Provider::Cpu, "only_the_item_with_scores_that_are_not_finite_fails") else {
        return;
    };
    let models = Models::new();
    let model = models.open(&Graph::new("poison"));
    let key = model.key().clone();
    let engine = Engine::start(&runtime, vec![model], one_batch()).unwrap();
    let answers = together(&engine, &key, vec![filled(1.0), filled(7.0), filled(2.0), filled(3.0)]);
    assert_eq!(answers[1], Err(ErrorCode::ScoresNotFinite));
    for at in [0, 2, 3] {
        assert!(answers[at].is_ok(), "{answers:?}");
    }
    assert_eq!(engine.stats(), Stats { batches: 1, items: 4 });
    assert_eq!(engine.health(), Health::Ready, "one bad image is no reason to stop");
}

#[test]
fn only_the_culprit_of_a_failed_run_fails() {
    let Some(runtime) = runtime(Provider::Cpu, "only_the_culprit_of_a_failed_run_fails") else { return };
    let models = Models::new();
    let model = models.open(&Graph::new("gather"));
    let key = model.key().clone();
    let engine = Engine::start(&runtime, vec![model], one_batch()).unwrap();
    let answers = together(&engine, &key, vec![filled(1.0), filled(2.0), filled(99.0), filled(7.0)]);
    assert_eq!(answers[0], Ok(vec![3.0, 4.0, 5.0]));
    assert_eq!(answers[1], Ok(vec![6.0, 7.0, 8.0]));
    assert_eq!(answers[2], Err(ErrorCode::InferenceFailed));
    assert_eq!(answers[3], Ok(vec![21.0, 22.0, 23.0]));
    assert_eq!(engine.stats(), Stats { batches: 1, items: 4 });
    assert_eq!(engine.health(), Health::Ready);
}

#[test]
fn a_run_that_gets_no_memory_is_the_machine_s_failure_and_no_item_s() {
    let test = "a_run_that_gets_no_memory_is_the_machine_s_failure_and_no_item_s";
    let Some(runtime) = runtime(Provider::Cpu, test) else { return };
    let models = Models::new();
    let model = models.open(&Graph { labels: 1, ..Graph::new("hungry") });
    let key = model.key().clone();
    let engine = Engine::start(&runtime, vec![model], one_batch()).unwrap();
    let [before, hungry, after, last] =
        [1.0, 1020.0, 17.0, 33.0].map(|first| engine.infer(&key, filled(first)));
    for (answer, mean) in [(before, 1.0), (after, 2.0), (last, 3.0)] {
        assert_eq!(block_on(answer).unwrap().arrays.values("logits").unwrap(), [mean]);
    }
    let refused = block_on(hungry).unwrap_err();
    assert_eq!(refused.code, ErrorCode::MemoryRefused);
    assert!(refused.is_fatal() && refused.message.contains("Failed to allocate memory"), "{refused}");
}

#[test]
fn items_that_the_model_cannot_take_are_refused_before_they_queue() {
    let Some(runtime) =
        runtime(Provider::Cpu, "items_that_the_model_cannot_take_are_refused_before_they_queue")
    else {
        return;
    };
    let models = Models::new();
    let model = models.open(&Graph::new("linear"));
    let key = model.key().clone();
    let engine = Engine::start(&runtime, vec![model], options()).unwrap();
    let code = |key: &ModelKey, tensor| block_on(engine.infer(key, tensor)).unwrap_err().code;
    assert_eq!(code(&key, vec![0.0; 15]), ErrorCode::InferenceFailed);
    assert_eq!(code(&key, vec![f32::NAN; 16]), ErrorCode::ValueOutOfRange);
    assert_eq!(code(&key, vec![4096.0; 16]), ErrorCode::ValueOutOfRange);
    let stranger = ModelKey { name: "linear".to_owned(), version: "9.9.9-fp32".to_owned() };
    assert_eq!(code(&stranger, vec![0.0; 16]), ErrorCode::UnknownModel);
    assert_eq!(engine.stats().items, 0);
}

#[test]
fn several_models_share_the_threads() {
    let Some(runtime) = runtime(Provider::Cpu, "several_models_share_the_threads") else { return };
    let models = Models::new();
    let (linear_model, conv) = (models.open(&Graph::new("linear")), models.open(&Graph::CONV));
    let keys = [linear_model.key().clone(), conv.key().clone()];
    let engine = Engine::start(&runtime, vec![linear_model, conv], options()).unwrap();
    let answers = block_on(join_all((0..60).map(|seed| {
        let key = &keys[seed % 2];
        engine.infer(key, image(if seed % 2 == 0 { 4 } else { 64 }, seed))
    })));
    for (seed, answer) in answers.into_iter().enumerate() {
        let outputs = answer.unwrap();
        assert_eq!(outputs.arrays.get("cam").is_ok(), seed % 2 == 1, "answers reach their own callers");
        if seed % 2 == 0 {
            let expected = linear(&image(4, seed));
            assert!(logits(&outputs).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-2));
        }
    }
    engine.close(Close::Drain);
    let refused = block_on(engine.infer(&keys[0], vec![0.0; 16])).unwrap_err();
    assert_eq!(refused.code, ErrorCode::EngineClosed);
    assert!(refused.is_transient());
}

#[test]
fn graphs_that_differ_from_their_manifest_are_refused_with_every_difference() {
    let Some(runtime) =
        runtime(Provider::Cpu, "graphs_that_differ_from_their_manifest_are_refused_with_every_difference")
    else {
        return;
    };
    let models = Models::new();
    let refuse = |graph: Graph| {
        let error = Engine::start(&runtime, vec![models.open(&graph)], options()).unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelMismatch, "{error}");
        assert!(error.is_fatal());
        error.message
    };
    let doubles = refuse(Graph::new("doubles"));
    assert!(doubles.contains("input \"image\"") && doubles.contains("output \"logits\""), "{doubles}");
    let fixed = refuse(Graph::new("fixed-batch"));
    assert!(fixed.contains("batch dimension fixed at 1"), "{fixed}");
    let names = refuse(Graph { cam: true, input: "photo", labels: 4, side: 8, ..Graph::new("linear") });
    for words in [
        "no input \"photo\"",
        "input \"image\" is not in the manifest",
        "3 along axis 1, not 4",
        "no output \"cam\"",
    ] {
        assert!(names.contains(words), "{words:?} is not in {names:?}");
    }
    let side = refuse(Graph { side: 8, ..Graph::new("linear") });
    assert!(side.contains("4 along axis 2, not 8") && side.contains("4 along axis 3, not 8"), "{side}");
}

#[test]
fn weights_that_are_no_graph_are_refused() {
    let models = Models::new();
    let folder = models.write(&Graph::new("linear"));
    let bytes = b"these are no weights".to_vec();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    std::fs::write(folder.join("model.onnx"), &bytes).unwrap();
    std::fs::write(folder.join("manifest.toml"), common::manifest(&Graph::new("linear"), &digest)).unwrap();
    let manifest = std::sync::Arc::new(nightread_engine::Manifest::load(&folder).unwrap());
    let error =
        nightread_engine::VerifiedModel::open(&manifest, nightread_engine::Precision::Fp32).unwrap_err();
    assert_eq!(error.code, ErrorCode::ModelMismatch, "{error}");
    assert!(error.message.contains("is no ONNX file"), "{error}");
}
