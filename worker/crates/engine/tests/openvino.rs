//! OpenVINO's execution provider, with its own library: one process has one ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Graph, Models, image, logits, options, runtime};
use futures::executor::block_on;
use futures::future::join_all;
use nightread_engine::{Engine, EngineOptions, Provider};

#[test]
fn openvino_gives_the_scores_of_the_cpu_provider() {
    if cfg!(not(target_arch = "x86_64")) {
        println!(
            "SKIPPED: openvino_gives_the_scores_of_the_cpu_provider: no library is made for this machine"
        );
        return;
    }
    let Some(runtime) = runtime(Provider::OpenVino, "openvino_gives_the_scores_of_the_cpu_provider") else {
        return;
    };
    assert_eq!(runtime.providers(), [Provider::Cpu, Provider::OpenVino]);
    let models = Models::new();
    let model = models.open(&Graph::CONV);
    let key = model.key().clone();
    let reference = Engine::start(&runtime, vec![model.clone()], options()).unwrap();
    let openvino = EngineOptions { provider: Provider::OpenVino, ..options() };
    let engine = Engine::start(&runtime, vec![model], openvino).unwrap();
    assert_eq!(reference.provider(&key), Some(Provider::Cpu));
    assert_eq!(engine.provider(&key), Some(Provider::OpenVino));
    // Twelve at once, so that batches of several sizes run.
    let answers = |engine: &Engine| {
        let answers = block_on(join_all((0..12).map(|seed| engine.infer(&key, image(64, seed)))));
        answers.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    for (expected, found) in answers(&reference).iter().zip(answers(&engine)) {
        let scale = logits(expected).iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
        for (a, b) in logits(expected).iter().zip(logits(&found)) {
            // bfloat16 would be off by about 1e-2: this also shows that f32 is what runs.
            assert!((a - b).abs() <= 1e-4 * scale, "{a} on the CPU provider, {b} on OpenVINO");
        }
        let shapes = [expected, &found].map(|outputs| outputs.arrays.get("cam").unwrap().shape());
        assert_eq!(shapes[0], shapes[1]);
    }
}
