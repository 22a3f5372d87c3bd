//! What further sessions cost in memory. In a process of its own: resident memory is the process's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{image, runtime};
use nightread_engine::{Engine, EngineOptions, Manifest, Precision, Provider, VerifiedModel};

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Each engine is kept while the next one opens, so that nothing freed is used again.
#[test]
fn further_sessions_cost_no_further_weights() {
    let test = "further_sessions_cost_no_further_weights";
    let Some(runtime) = runtime(Provider::Cpu, test) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/cxr-pneumonia-demo");
    let manifest = Arc::new(Manifest::read(&folder).unwrap_or_else(|problems| panic!("{problems}")));
    let model = VerifiedModel::open(&manifest, Precision::Fp32).unwrap();
    // DenseNet-121 has 7.0 million weights, in the file as 8-bit numbers.
    let weights = 7_000_000 * size_of::<f32>();
    let mut engines = Vec::new();
    let mut cost = |sessions: usize| {
        let before = resident();
        let options = EngineOptions { max_batch_items: 1, ..EngineOptions::for_cores(sessions) };
        let engine = Engine::start(&runtime, vec![model.clone()], options).unwrap();
        engine.infer(model.key(), image(224, 1)).wait().unwrap();
        engines.push(engine);
        resident() - before
    };
    cost(1);
    let (one, five) = (cost(1), cost(5));
    let further = five.saturating_sub(one) / 4;
    println!("one session {} MiB, each further one {} MiB", one >> 20, further >> 20);
    // The activations of one image take some 25 MB; with weights of its own a session would take twice that.
    assert!(further < weights * 3 / 2, "{further} bytes for each further session, {one} for the first");
}
