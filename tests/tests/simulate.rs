//! Simulated workers against real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use nightread_tests::bench::Bench;
use nightread_tests::simulated::{observe, plan, predicted};

/// A machine that had other work in the middle of a run is no wrong model: the next run may be undisturbed.
const TRIES: usize = 3;

/// Downloads are held so long that what else a job costs hardly counts, and that rest is taken from the run with one
/// worker: a slow machine is slow on both sides of the comparison.
#[tokio::test(flavor = "multi_thread")]
async fn two_and_three_workers_take_as_long_as_simulated() {
    let test = "two_and_three_workers_take_as_long_as_simulated";
    let plan = plan(24, Duration::from_millis(500), None, 1);
    let mut overhead = Duration::ZERO;
    for workers in 1..=3 {
        let mut off = Vec::new();
        for _ in 0..TRIES {
            let Some(bench) = Bench::shared(test).await else { return };
            let observed = observe(&bench, workers, &plan).await;
            if workers == 1 {
                overhead = observed.overhead(&plan);
            }
            let real = observed.figures();
            let simulated = predicted(&observed, &plan, overhead, workers);
            println!("{workers} workers: real {real:?}, simulated {simulated:?}");
            off = [
                ("makespan", real.makespan, simulated.makespan),
                ("mean time in system", real.in_system, simulated.in_system),
            ]
            .into_iter()
            // One worker more or fewer would be off by a third at least.
            .filter(|(_, real, simulated)| !(0.8..1.25).contains(&(simulated / real)))
            .map(|(what, real, simulated)| {
                format!("{workers} workers, {what}: {real} s, simulated {simulated} s")
            })
            .collect();
            if off.is_empty() {
                break;
            }
        }
        assert_eq!(off, Vec::<String>::new());
    }
}
