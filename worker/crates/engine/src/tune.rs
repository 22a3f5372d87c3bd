//! How to split the cores: a short measurement of sessions against threads inside one session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nightread_domain::JobError;

use crate::engine::Engine;
use crate::model::Model;
use crate::options::EngineOptions;
use crate::runtime::Runtime;

/// Rows whose throughput is within this share of the highest count as equal.
const TIE: f64 = 0.03;

/// One way to use the cores, as measured with every session busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    pub sessions: usize,
    pub intra_threads: usize,
    /// Items in one batch at most.
    pub max_batch_items: usize,
    pub items_per_second: f64,
    /// Median time that an item's batch spent in its session: the latency of an item that does not have to wait.
    pub run: Duration,
    /// Items that the figures rest on.
    pub items: usize,
}

/// The table of [`measure`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuning {
    /// In the order of measurement.
    pub rows: Vec<Measurement>,
}

impl Tuning {
    /// The row with the highest throughput; of rows within 3 % of it, the one that runs an item fastest.
    pub fn best(&self) -> Option<&Measurement> {
        let highest = self.rows.iter().map(|row| row.items_per_second).fold(0.0, f64::max);
        self.rows.iter().filter(|row| row.items_per_second >= (1.0 - TIE) * highest).min_by_key(|row| row.run)
    }
}

/// The splits worth measuring, `(sessions, intra_threads)`: for each number of threads as many sessions as the cores hold,
/// and for each number of sessions only the most threads.
pub fn splits(cores: usize) -> Vec<(usize, usize)> {
    let cores = cores.max(1);
    let mut splits: Vec<_> = (1..=cores).map(|threads| cores / threads).map(|s| (s, cores / s)).collect();
    splits.dedup();
    splits
}

/// Measures every split of `cores` with every batch size in `batches`, `each` long; see [`measure_one`].
pub fn measure(
    runtime: &Runtime,
    model: &Model,
    base: EngineOptions,
    cores: usize,
    batches: &[usize],
    each: Duration,
) -> Result<Tuning, JobError> {
    let mut tuning = Tuning::default();
    for (sessions, intra_threads) in splits(cores) {
        for &max_batch_items in batches {
            let options = EngineOptions { sessions, intra_threads, max_batch_items, ..base };
            tuning.rows.push(measure_one(runtime, model, options, each)?);
        }
    }
    Ok(tuning)
}

/// The options to use without being told: `base` with the best split of `cores` for its batch size, measured `each` long.
/// [`EngineOptions::for_cores`] is the guess that needs no measurement.
pub fn auto(
    runtime: &Runtime,
    model: &Model,
    base: EngineOptions,
    cores: usize,
    each: Duration,
) -> Result<EngineOptions, JobError> {
    let tuning = measure(runtime, model, base, cores, &[base.max_batch_items], each)?;
    let best = tuning.best().map(|best| (best.sessions, best.intra_threads));
    let (sessions, intra_threads) = best.unwrap_or((base.sessions, base.intra_threads));
    tracing::info!(sessions, intra_threads, rows = ?tuning.rows, "measured how to split the cores");
    Ok(EngineOptions { sessions, intra_threads, ..base })
}

/// Starts an engine of its own and keeps a full batch waiting behind every session, for at least `each` and two batches
/// for each session.
pub fn measure_one(
    runtime: &Runtime,
    model: &Model,
    options: EngineOptions,
    each: Duration,
) -> Result<Measurement, JobError> {
    let engine = Engine::start(runtime, vec![model.clone()], options)?;
    let input = &model.manifest().input;
    let [low, high] = input.value_range;
    // Not a constant: zeros are cheaper for some kernels than any picture is.
    let item: Vec<f32> = (0..input.item_len())
        .map(|at| (low + (high - low) * ((at * 37 % 1009) as f64 / 1008.0)) as f32)
        .collect();
    let depth = 2 * options.sessions * options.max_batch_items.max(1);
    let mut waiting: VecDeque<_> = (0..depth).map(|_| engine.infer(model.key(), item.clone())).collect();
    let mut runs = Vec::new();
    let start = Instant::now();
    while let Some(answer) = waiting.pop_front() {
        runs.push(answer.wait()?.timing.run);
        if runs.len() >= depth && start.elapsed() >= each {
            break;
        }
        waiting.push_back(engine.infer(model.key(), item.clone()));
    }
    let elapsed = start.elapsed();
    let items = runs.len();
    runs.sort_unstable();
    Ok(Measurement {
        sessions: options.sessions,
        intra_threads: options.intra_threads,
        max_batch_items: options.max_batch_items,
        items_per_second: items as f64 / elapsed.as_secs_f64(),
        run: runs[items / 2],
        items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_never_exceed_the_cores_and_waste_none_needlessly() {
        assert_eq!(splits(0), [(1, 1)]);
        assert_eq!(splits(1), [(1, 1)]);
        assert_eq!(splits(2), [(2, 1), (1, 2)]);
        assert_eq!(splits(5), [(5, 1), (2, 2), (1, 5)]);
        assert_eq!(splits(8), [(8, 1), (4, 2), (2, 4), (1, 8)]);
        for cores in 1..100 {
            for (sessions, threads) in splits(cores) {
                assert!(sessions * threads <= cores && sessions * (threads + 1) > cores);
            }
        }
    }

    #[test]
    fn a_tie_in_throughput_goes_to_the_faster_run() {
        let row = |sessions, items_per_second, milliseconds| Measurement {
            sessions,
            intra_threads: 1,
            max_batch_items: 1,
            items_per_second,
            run: Duration::from_millis(milliseconds),
            items: 10,
        };
        let best = |rows: &[Measurement]| Tuning { rows: rows.to_vec() }.best().map(|row| row.sessions);
        assert_eq!(best(&[row(2, 100.0, 20), row(1, 98.0, 10)]), Some(1));
        assert_eq!(best(&[row(2, 100.0, 20), row(1, 96.0, 10)]), Some(2));
        assert_eq!(best(&[]), None);
    }
}
