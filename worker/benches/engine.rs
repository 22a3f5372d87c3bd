//! What the engine costs beside the model: the batcher alone, and `Engine::infer` against a bare `ort` session.
//!
//! The comparison alternates the two, run by run, and prints medians and minima, because a busy machine drifts by more
//! than the difference. It takes the tests' small network and, when its weights are there, the demonstration model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../crates/engine/tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Graph, Models, image};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nightread_engine::batcher::{Batcher, Limits};
use nightread_engine::{Engine, EngineOptions, Manifest, Precision, Provider, Runtime, VerifiedModel};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

fn batcher(criterion: &mut Criterion) {
    let limits = Limits { items: 8, bytes: usize::MAX, linger: Duration::ZERO };
    let now = Instant::now();
    let filled = || {
        let mut batcher = Batcher::new(limits);
        for item in 0..256_usize {
            batcher.push(item % 4, item, 200_704, now);
        }
        batcher
    };
    criterion.bench_function("batcher/push 256 items of 4 keys", |bencher| bencher.iter(filled));
    criterion.bench_function("batcher/take 256 items of 4 keys in batches of 8", |bencher| {
        bencher.iter_batched(
            filled,
            |mut batcher| while black_box(batcher.take(now, |_| false)).is_some() {},
            BatchSize::SmallInput,
        );
    });
}

fn demonstration() -> Option<VerifiedModel> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/cxr-pneumonia-demo");
    VerifiedModel::open(&Arc::new(Manifest::read(&folder).ok()?), Precision::Fp32).ok()
}

fn bare(runtime: &Runtime, file: &Path) -> ort::Result<Session> {
    Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .commit_from_file(file)
}

fn overhead(_: &mut Criterion) {
    let Some(runtime) = common::runtime(Provider::Cpu, "engine/overhead") else { return };
    let models = Models::new();
    for model in std::iter::once(models.open(&Graph::CONV)).chain(demonstration()) {
        compare(&runtime, model);
    }
}

/// Milliseconds on the clock.
fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

fn compare(runtime: &Runtime, model: VerifiedModel) {
    let manifest = Arc::clone(model.manifest());
    let key = model.key().clone();
    let file = manifest.path_of(&manifest.weights(Precision::Fp32).unwrap().file);
    let mut session = bare(runtime, &file).unwrap();
    let options = EngineOptions { max_batch_items: 1, ..EngineOptions::for_cores(1) };
    let engine = Engine::start(runtime, vec![model], options).unwrap();
    let item = image(manifest.input.item_shape[1], 1);
    let shape: Vec<usize> = std::iter::once(1).chain(manifest.input.item_shape.iter().copied()).collect();

    let mut run_bare = || {
        let input = TensorRef::from_array_view((shape.as_slice(), item.as_slice())).unwrap();
        let outputs = session.run(ort::inputs![manifest.input.name.as_str() => input]).unwrap();
        outputs[manifest.output.heads[0].logits.as_str()].try_extract_tensor::<f32>().unwrap().1.to_vec()
    };
    // The caller gives its tensor away, as the pipeline does: the copy is not the engine's cost.
    let run_engine = |item: Vec<f32>| {
        let outputs = engine.infer(&key, item).wait().unwrap();
        outputs.arrays.values(&manifest.output.heads[0].logits).unwrap().to_vec()
    };

    let mut pairs = Vec::new();
    let start = Instant::now();
    while pairs.len() < 30 || start.elapsed() < Duration::from_secs(15) {
        let bare = timed(&mut run_bare);
        let given = item.clone();
        pairs.push((bare, timed(|| run_engine(given))));
    }
    let sorted = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (bare, engine) = (sorted(&|(bare, _)| *bare), sorted(&|(_, engine)| *engine));
    let middle = pairs.len() / 2;
    println!(
        "engine/overhead {key}: bare {:.3} ms (least {:.3}), engine {:.3} ms (least {:.3}), median ratio {:.4}, {} pairs",
        bare[middle],
        bare[0],
        engine[middle],
        engine[0],
        sorted(&|(bare, engine)| engine / bare)[middle],
        pairs.len()
    );
}

criterion_group!(benches, batcher, overhead);
criterion_main!(benches);
