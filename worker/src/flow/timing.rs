//! How long the stages of a job took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Milliseconds by stage, with three decimals, as documents carry them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing(BTreeMap<String, f64>);

impl Timing {
    pub fn record(&mut self, stage: &str, elapsed: Duration) {
        self.0.insert(stage.to_owned(), milliseconds(elapsed));
    }

    /// What `work` gives, and how long it took.
    pub async fn timed<T>(&mut self, stage: &str, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let done = work.await;
        self.record(stage, started.elapsed());
        done
    }

    /// The stages so far together.
    pub fn so_far(&self) -> Duration {
        Duration::from_secs_f64(self.0.values().sum::<f64>() / 1e3)
    }

    /// The stages so far, and `total`.
    pub fn with_total(&self, total: Duration) -> BTreeMap<String, f64> {
        let mut stages = self.0.clone();
        stages.insert("total".to_owned(), milliseconds(total));
        stages
    }
}

/// Milliseconds with three decimals.
pub fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}
