//! Short timings of sessions, for choices that are measured rather than guessed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_domain::JobError;

use crate::configure::SessionOptions;
use crate::manifest::{Manifest, Precision};
use crate::model::VerifiedModel;
use crate::provider::Provider;
use crate::runtime::Runtime;
use crate::session::ModelSession;

/// Timed runs of each precision, in turns, so that a machine whose load changes favours none.
pub(crate) const RUNS: usize = 5;

/// The precision with the least median time of single items in a session of one thread, among those that the manifest
/// offers, bf16 left out. Only one offered is not timed. Errors: as [`VerifiedModel::open`] and [`ModelSession::open`].
pub fn fastest_precision(
    runtime: &Runtime,
    manifest: &Arc<Manifest>,
    provider: Provider,
) -> Result<Precision, JobError> {
    let offered: Vec<Precision> =
        manifest.precisions().filter(|precision| precision.is_automatic()).collect();
    if let [] | [_] = offered.as_slice() {
        return Ok(offered.first().copied().unwrap_or(Precision::Fp32));
    }
    let options = SessionOptions { provider, intra_threads: 1, shares_cores: true, memory_plan: false };
    let mut sessions = Vec::with_capacity(offered.len());
    for precision in &offered {
        let session = ModelSession::open(runtime, &VerifiedModel::open(manifest, *precision)?, options)?;
        sessions.push((session, Vec::with_capacity(RUNS)));
    }
    let item = sample(manifest);
    // The first turn warms up.
    for turn in 0..=RUNS {
        for (session, times) in &mut sessions {
            let start = Instant::now();
            session.run(&[&item])?;
            if turn > 0 {
                times.push(start.elapsed());
            }
        }
    }
    let mut medians: Vec<(Duration, Precision)> = Vec::new();
    for ((_, mut times), precision) in sessions.into_iter().zip(offered) {
        medians.push((median(&mut times), precision));
    }
    tracing::info!(model = manifest.name, ?medians, "timed the precisions");
    Ok(medians.iter().min().map_or(Precision::Fp32, |(_, precision)| *precision))
}

/// The middle one of [`RUNS`] times.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// An item within the manifest's range that is not constant: zeros are cheaper for some kernels than any image is.
pub fn sample(manifest: &Manifest) -> Vec<f32> {
    let [low, high] = manifest.input.value_range;
    (0..manifest.input.item_len())
        .map(|at| (low + (high - low) * ((at * 37 % 1009) as f64 / 1008.0)) as f32)
        .collect()
}
