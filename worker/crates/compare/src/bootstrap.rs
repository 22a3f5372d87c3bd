//! Draws of whole groups, and intervals from them.

use std::num::NonZero;
use std::thread;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::Serialize;

use super::differences::quantile;

/// The share of draws that may leave a figure undefined before its interval is undefined too.
const MOST_UNDEFINED: f64 = 0.05;

/// How the bootstrap is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    pub draws: usize,
    pub seed: u64,
    /// Threads that share the draws; nothing of the outcome rests on how many.
    #[serde(skip)]
    pub threads: NonZero<usize>,
}

/// A figure with its 95 % interval: percentiles 2.5 and 97.5 of the draws that leave it defined (Efron and Tibshirani 1993, 13.3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Over all images; `None` where it is undefined.
    pub value: Option<f64>,
    /// `None` where the value is, where more than 1 draw in 20 leaves it undefined (too few images of one class), and where every draw gives
    /// the same (a rate of 0 or 1): draws cannot tell how sure that is.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Draws that leave it undefined: one class only.
    pub undefined_draws: usize,
}

impl Interval {
    /// Of the value and its draws, where NaN is undefined.
    pub(crate) fn of(value: f64, draws: impl Iterator<Item = f64>) -> Self {
        let mut count = 0;
        let mut defined: Vec<f64> = draws.inspect(|_| count += 1).filter(|draw| !draw.is_nan()).collect();
        defined.sort_unstable_by(f64::total_cmp);
        let undefined_draws = count - defined.len();
        let value = Some(value).filter(|value| !value.is_nan());
        let varies = defined.first().zip(defined.last()).is_some_and(|(least, greatest)| least < greatest);
        let is_sound = value.is_some() && undefined_draws as f64 <= MOST_UNDEFINED * count as f64 && varies;
        let [low, high] = [0.025, 0.975].map(|share| quantile(&defined, share).filter(|_| is_sound));
        Self { value, low, high, undefined_draws }
    }

    /// Whether the interval is all on one side of 0.
    pub fn is_off_zero(&self) -> bool {
        self.low.is_some_and(|low| low > 0.0) || self.high.is_some_and(|high| high < 0.0)
    }
}

impl Bootstrap {
    /// What `measure` gives for each draw, in their order. A draw takes as many of `groups` as there are, with replacement; its weights say
    /// how often each was taken. Draw n has a generator of its own: xoshiro256++ (Blackman and Vigna 2021), whose seed is the n-th output
    /// of the one seeded with `seed`; a group is the upper half of output x groups.
    pub(crate) fn draw<T: Send>(&self, groups: usize, measure: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
        let mut of_all = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let seeds: Vec<u64> = (0..self.draws).map(|_| of_all.next_u64()).collect();
        let share = self.draws.div_ceil(self.threads.get()).max(1);
        let (measure, parts) = (&measure, seeds.chunks(share));
        thread::scope(|scope| {
            let running: Vec<_> =
                parts.map(|part| scope.spawn(move || drawn(part, groups, measure))).collect();
            let ended = running.into_iter().map(|thread| match thread.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.flatten().collect()
        })
    }
}

fn drawn<T>(seeds: &[u64], groups: usize, measure: &impl Fn(&[u32]) -> T) -> Vec<T> {
    let mut weights = vec![0_u32; groups];
    let mut measured = Vec::with_capacity(seeds.len());
    for seed in seeds {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(*seed);
        weights.fill(0);
        for _ in 0..groups {
            let group = (u128::from(generator.next_u64()) * groups as u128) >> 64;
            weights[group as usize] += 1;
        }
        measured.push(measure(&weights));
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap(draws: usize, seed: u64, threads: usize) -> Bootstrap {
        Bootstrap { draws, seed, threads: NonZero::new(threads).expect("above 0") }
    }

    #[test]
    fn draws_do_not_rest_on_threads_and_do_on_the_seed() {
        let weights = |threads, seed| bootstrap(101, seed, threads).draw(13, <[u32]>::to_vec);
        let one = weights(1, 7);
        assert_eq!(one.len(), 101);
        assert!(one.iter().all(|weights| weights.iter().sum::<u32>() == 13));
        assert_eq!(weights(3, 7), one);
        assert_eq!(weights(200, 7), one);
        let other = weights(1, 8);
        let shared = one.iter().filter(|weights| other.contains(weights)).count();
        assert!(shared < 3, "neighbouring seeds share no draws: {shared}");
    }

    #[test]
    fn groups_are_taken_equally_often() {
        let draws = bootstrap(4000, 1, 2).draw(5, <[u32]>::to_vec);
        for group in 0..5 {
            let taken: u32 = draws.iter().map(|weights| weights[group]).sum();
            // 4 standard deviations of a binomial of 20,000 and 1/5.
            assert!((f64::from(taken) - 4000.0).abs() < 4.0 * 56.6, "{group}: {taken}");
        }
    }

    #[test]
    fn what_is_undefined_too_often_has_no_interval() {
        let draws = |undefined| (0..100).map(move |n| if n < undefined { f64::NAN } else { f64::from(n) });
        let few = Interval::of(50.0, draws(5));
        assert!(few.low.is_some() && few.high.is_some() && few.undefined_draws == 5);
        let many = Interval::of(50.0, draws(6));
        assert_eq!((many.value, many.low, many.high, many.undefined_draws), (Some(50.0), None, None, 6));
        let same = Interval::of(1.0, (0..100).map(|_| 1.0));
        assert_eq!((same.value, same.low, same.high, same.undefined_draws), (Some(1.0), None, None, 0));
        let none = Interval::of(f64::NAN, draws(0));
        assert_eq!((none.value, none.low, none.is_off_zero()), (None, None, false));
    }
}
