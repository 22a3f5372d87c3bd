//! How to split the cores: a short measurement of sessions against threads inside one session.

use std::time::{Duration, Instant};

use nightread_domain::JobError;

use crate::engine::Engine;
use crate::inference::Inference;
use crate::model::Model;
use crate::options::EngineOptions;
use crate::runtime::Runtime;

/// One way to split the cores, as measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    pub sessions: usize,
    pub intra_threads: usize,
    /// Items in one batch at most.
    pub max_batch_items: usize,
    /// Throughput with every session busy.
    pub items_per_second: f64,
    /// Median time from queueing to answer under that load.
    pub median: Duration,
    /// Items that the figures rest on.
    pub items: usize,
}

/// The table of [`measure`].
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// In the order of measurement.
    pub rows: Vec<Measurement>,
}

impl Tuning {
    /// The row with the highest throughput; of rows within 3 % of it, the one with the shortest median, because a tie in
    /// throughput is decided by who waits less.
    pub fn best(&self) -> Option<&Measurement> {
        let highest = self.rows.iter().map(|row| row.items_per_second).fold(0.0, f64::max);
        self.rows.iter().filter(|row| row.items_per_second >= 0.97 * highest).min_by_key(|row| row.median)
    }
}

/// The splits worth measuring: for each number of sessions up to `cores`, as many threads as the cores allow.
pub fn splits(cores: usize) -> Vec<(usize, usize)> {
    let cores = cores.max(1);
    (1..=cores).rev().map(|sessions| (sessions, cores / sessions)).collect()
}

/// Measures every split of `cores` with every batch size in `batches`, for at least `each` per row (and two items for each
/// session), under a load that keeps one full batch waiting for every session.
pub fn measure(
    runtime: &Runtime,
    model: &Model,
    base: EngineOptions,
    cores: usize,
    batches: &[usize],
    each: Duration,
) -> Result<Tuning, JobError> {
    let mut rows = Vec::new();
    for (sessions, intra_threads) in splits(cores) {
        for &max_batch_items in batches {
            let options = EngineOptions { sessions, intra_threads, max_batch_items, ..base };
            rows.push(measure_one(runtime, model, options, each)?);
        }
    }
    Ok(Tuning { rows })
}

/// The split to use without being told: measured, one item at a time, `each` long per split.
pub fn auto(
    runtime: &Runtime,
    model: &Model,
    base: EngineOptions,
    cores: usize,
    each: Duration,
) -> Result<EngineOptions, JobError> {
    let tuning = measure(runtime, model, base, cores, &[base.max_batch_items], each)?;
    Ok(tuning.best().map_or(base, |best| EngineOptions {
        sessions: best.sessions,
        intra_threads: best.intra_threads,
        ..base
    }))
}

fn measure_one(
    runtime: &Runtime,
    model: &Model,
    options: EngineOptions,
    each: Duration,
) -> Result<Measurement, JobError> {
    let engine = Engine::start(runtime, vec![model.clone()], options)?;
    let input = &model.manifest().input;
    let [low, high] = input.value_range.map(|end| end as f32);
    // A ramp: constant pictures would let kernels with zero-skipping look faster than they are.
    let item: Vec<f32> =
        (0..input.item_len()).map(|at| low + (high - low) * ((at * 37 % 1009) as f32 / 1008.0)).collect();
    let depth = 2 * options.sessions * options.max_batch_items.max(1);
    let queue = |engine: &Engine| engine.infer(model.key(), item.clone());
    let mut waiting: std::collections::VecDeque<Inference> = (0..depth).map(|_| queue(&engine)).collect();
    let mut times = Vec::new();
    let start = Instant::now();
    while let Some(answer) = waiting.pop_front() {
        let timing = answer.wait()?.timing;
        times.push(timing.queued + timing.run);
        if start.elapsed() < each || times.len() < 2 * depth {
            waiting.push_back(queue(&engine));
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let items = times.len();
    times.sort_unstable();
    Ok(Measurement {
        sessions: options.sessions,
        intra_threads: options.intra_threads,
        max_batch_items: options.max_batch_items,
        items_per_second: items as f64 / elapsed,
        median: times[items / 2],
        items,
    })
}
