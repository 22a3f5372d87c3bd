//! The split of the machine: how many sessions, threads inside one, and decode threads. Measured, not guessed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nightread_domain::JobError;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::settings::EngineSettings;

/// One way to use the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Split {
    /// Inference threads, each with a session of its own.
    pub sessions: usize,
    /// Threads inside one session.
    pub intra_threads: usize,
    /// Threads that decode and preprocess. They may stand beside as many inference threads as there are cores: which of
    /// the two has work changes from image to image, and the scheduler shares the cores out.
    pub decode_threads: usize,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} + {}", self.sessions, self.intra_threads, self.decode_threads)
    }
}

impl Split {
    /// The guess that needs no measurement: one session of one thread, and one decode thread, for each core. What the
    /// settings pin is kept.
    pub fn guess(cores: usize, pinned: &EngineSettings) -> Self {
        let intra_threads = pinned.intra_threads.unwrap_or(1);
        Self {
            sessions: pinned.sessions.unwrap_or_else(|| (cores / intra_threads).max(1)),
            intra_threads,
            decode_threads: pinned.decode_threads.unwrap_or(cores).max(1),
        }
    }

    /// Whether this is what the settings pin, as far as they pin anything.
    pub fn agrees(&self, pinned: &EngineSettings) -> bool {
        pinned.sessions.is_none_or(|pinned| pinned == self.sessions)
            && pinned.intra_threads.is_none_or(|pinned| pinned == self.intra_threads)
            && pinned.decode_threads.is_none_or(|pinned| pinned == self.decode_threads)
    }
}

/// All the splits that a measurement prints: sessions and threads by doubling, from half the cores busy with inference to
/// all, each with few and many decode threads.
pub fn grid(cores: usize) -> Vec<Split> {
    let cores = cores.max(1);
    let mut decode = vec![cores, cores.div_ceil(2), cores.div_ceil(4)];
    decode.dedup();
    let mut splits = Vec::new();
    for intra_threads in doublings(cores) {
        for sessions in doublings(cores).into_iter().rev() {
            let busy = sessions * intra_threads;
            if busy <= cores && 2 * busy >= cores {
                splits.extend(decode.iter().map(|&decode_threads| Split {
                    sessions,
                    intra_threads,
                    decode_threads,
                }));
            }
        }
    }
    splits
}

/// 1, 2, 4, ... and `most` itself.
fn doublings(most: usize) -> Vec<usize> {
    let mut sizes: Vec<_> =
        std::iter::successors(Some(1), |size| Some(size * 2)).take_while(|size| *size < most).collect();
    sizes.push(most);
    sizes
}

/// The splits that `auto` compares: for each number of threads as many sessions as the cores hold.
pub fn candidates(cores: usize, pinned: &EngineSettings) -> Vec<Split> {
    let mut splits: Vec<Split> = doublings(cores.max(1))
        .into_iter()
        .map(|intra_threads| EngineSettings {
            intra_threads: Some(pinned.intra_threads.unwrap_or(intra_threads)),
            ..pinned.clone()
        })
        .map(|settings| Split::guess(cores, &settings))
        .filter(|split| split.sessions * split.intra_threads <= cores.max(1))
        .collect();
    splits.dedup();
    if splits.is_empty() { vec![Split::guess(cores, pinned)] } else { splits }
}

/// A candidate must be better by this share to replace one with fewer threads in a session: those depend less on what
/// else the machine does.
const CLEARLY: f64 = 1.03;

/// The candidate with the highest rate, of `(split, rate)` in order of preference.
pub fn best(measured: &[(Split, f64)]) -> Option<Split> {
    let (mut best, rest) = measured.split_first()?;
    for next in rest {
        if next.1 > CLEARLY * best.1 {
            best = next;
        }
    }
    Some(best.0)
}

/// When a closed loop ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// Jobs begin during this time, and three times as many as are in flight at once at least.
    Elapsed(Duration),
    /// So many jobs were begun.
    Jobs(usize),
}

/// What a closed loop measured.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// How long each job took, in no order.
    pub latencies: Vec<Duration>,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// Jobs a second.
    pub rate: f64,
}

/// Runs `job` with `in_flight` at once. The first error ends it.
pub async fn closed_loop<F, J>(in_flight: usize, until: Until, job: J) -> Result<Pace, JobError>
where
    F: Future<Output = Result<(), JobError>> + Send + 'static,
    J: Fn(usize) -> F + Send + Sync + 'static,
{
    let in_flight = in_flight.max(1);
    let (job, begun, started) = (Arc::new(job), Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut callers: JoinSet<Result<Vec<_>, JobError>> = JoinSet::new();
    for _ in 0..in_flight {
        let (job, begun) = (Arc::clone(&job), Arc::clone(&begun));
        callers.spawn(async move {
            let mut ended = Vec::new();
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                let enough = match until {
                    Until::Elapsed(time) => started.elapsed() >= time && number >= 3 * in_flight,
                    Until::Jobs(jobs) => number >= jobs,
                };
                if enough {
                    return Ok(ended);
                }
                let began = Instant::now();
                job(number).await?;
                ended.push((started.elapsed(), began.elapsed()));
            }
        });
    }
    let mut ended = Vec::new();
    while let Some(caller) = callers.join_next().await {
        // A panic of a caller is a panic of the loop's owner.
        ended.extend(caller.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?);
    }
    let elapsed = ended.iter().map(|(at, _)| *at).max().unwrap_or_default();
    let rate = ended.len() as f64 / elapsed.as_secs_f64().max(1e-9);
    Ok(Pace { latencies: ended.into_iter().map(|(_, took)| took).collect(), elapsed, rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(sessions: Option<usize>, intra_threads: Option<usize>) -> EngineSettings {
        EngineSettings { sessions, intra_threads, ..EngineSettings::default() }
    }

    fn split(sessions: usize, intra_threads: usize, decode_threads: usize) -> Split {
        Split { sessions, intra_threads, decode_threads }
    }

    #[test]
    fn no_split_needs_more_cores_than_there_are() {
        for cores in 1..70 {
            let free = candidates(cores, &pinned(None, None));
            assert_eq!(free[0], split(cores, 1, cores), "the guess comes first");
            for split in grid(cores).into_iter().chain(free) {
                let busy = split.sessions * split.intra_threads;
                assert!(busy <= cores && 2 * busy >= cores, "{split} on {cores}");
                assert!((1..=cores).contains(&split.decode_threads), "{split} on {cores}");
            }
        }
        assert_eq!(grid(2).len(), 6);
        assert_eq!(grid(1), [split(1, 1, 1)]);
    }

    #[test]
    fn what_is_pinned_stays() {
        assert_eq!(candidates(8, &pinned(Some(2), None)), [split(2, 1, 8), split(2, 2, 8), split(2, 4, 8)]);
        assert_eq!(candidates(8, &pinned(None, Some(3))), [split(2, 3, 8)]);
        assert_eq!(candidates(4, &pinned(Some(3), Some(1))), [split(3, 1, 4)]);
        assert_eq!(candidates(2, &pinned(Some(9), Some(9))), [split(9, 9, 2)]);
    }

    #[test]
    fn a_near_tie_stays_with_the_earlier_candidate() {
        let (a, b) = (split(2, 1, 2), split(1, 2, 2));
        assert_eq!(best(&[(a, 10.0), (b, 10.2)]), Some(a));
        assert_eq!(best(&[(a, 10.0), (b, 10.5)]), Some(b));
        assert_eq!(best(&[]), None);
    }

    #[tokio::test]
    async fn a_loop_runs_every_job_once_and_no_more_at_a_time_than_allowed() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inside, highest) = (Arc::clone(&now), Arc::clone(&most));
        let pace = closed_loop(3, Until::Jobs(50), move |_| {
            let (inside, highest) = (Arc::clone(&inside), Arc::clone(&highest));
            async move {
                highest.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        });
        let pace = pace.await.expect("no job fails");
        assert_eq!(pace.latencies.len(), 50);
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert!(pace.rate > 0.0);
    }

    async fn fail_at_the_eighth(number: usize) -> Result<(), JobError> {
        if number == 7 {
            return Err(JobError::new(
                nightread_domain::Stage::Decode,
                nightread_domain::ErrorCode::DecodeFailed,
                "the eighth",
            ));
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_first_error_ends_a_loop() {
        let error = closed_loop(2, Until::Jobs(1000), fail_at_the_eighth).await.expect_err("it fails");
        assert_eq!(error.message, "the eighth");
    }
}
