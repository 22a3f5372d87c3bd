//! How long one job takes on one slot.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use serde::Serialize;

/// The distribution of the service time of one lane, in seconds of one slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTime {
    /// Gamma with this mean and coefficient of variation: 0 is constant, 1 is exponential.
    Gamma { mean: f64, cv: f64 },
    /// Drawn again from what was measured.
    Measured(Vec<f64>),
}

impl ServiceTime {
    /// The mean, in seconds.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Gamma { mean, .. } => *mean,
            Self::Measured(samples) => samples.iter().sum::<f64>() / samples.len().max(1) as f64,
        }
    }

    /// Checks that every draw is a time.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Gamma { mean, .. } if !is_time(*mean) => {
                Some("the mean is not a positive number of seconds")
            }
            Self::Gamma { cv, .. } if !(0.0..=10.0).contains(cv) => {
                Some("the coefficient of variation is not between 0 and 10")
            }
            Self::Measured(samples) if samples.is_empty() => Some("there is no sample"),
            Self::Measured(samples) if !samples.iter().copied().all(is_time) => {
                Some("a sample is not a positive number of seconds")
            }
            Self::Gamma { .. } | Self::Measured(_) => None,
        }
    }

    pub(super) fn draw(&self, random: &mut StdRng) -> Duration {
        seconds(match self {
            Self::Gamma { mean, cv } if *cv < 1e-6 => *mean,
            Self::Gamma { mean, cv } => {
                let shape = 1.0 / (cv * cv);
                mean * gamma(shape, random) / shape
            }
            Self::Measured(samples) => samples[random.random_range(0..samples.len())],
        })
    }
}

/// A span of simulated time; what is too long to be one is the longest.
pub(super) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)
}

/// One draw from the exponential distribution of mean 1.
pub(super) fn exponential(random: &mut impl Rng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

/// One draw from the gamma distribution of this shape and scale 1: Marsaglia and Tsang, "A simple method for generating
/// gamma variables" (2000), with their boost for shapes below 1.
fn gamma(shape: f64, random: &mut StdRng) -> f64 {
    if shape < 1.0 {
        let boost = (1.0 - random.random::<f64>()).powf(1.0 / shape);
        return boost * gamma(shape + 1.0, random);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - random.random::<f64>();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// One draw from the standard normal distribution, by Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let radius = (2.0 * exponential(random)).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds > 0.0 && seconds < 1e9
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_have_the_mean_and_the_variation_that_were_asked_for() {
        let mut random = StdRng::seed_from_u64(1);
        for cv in [0.0, 0.3, 1.0, 2.0] {
            let time = ServiceTime::Gamma { mean: 0.16, cv };
            let draws: Vec<f64> = (0..200_000).map(|_| time.draw(&mut random).as_secs_f64()).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            assert!((mean / 0.16 - 1.0).abs() < 0.02, "cv {cv}: mean {mean}");
            assert!(
                (variance.sqrt() / mean - cv).abs() < 0.03 * (1.0 + cv),
                "cv {cv}: {}",
                variance.sqrt() / mean
            );
        }
        let time = ServiceTime::Measured(vec![1.0, 3.0]);
        let mean = (0..20_000).map(|_| time.draw(&mut random).as_secs_f64()).sum::<f64>() / 20_000.0;
        assert!((mean - time.mean()).abs() < 0.05);
    }

    fn gamma(mean: f64, cv: f64) -> ServiceTime {
        ServiceTime::Gamma { mean, cv }
    }

    #[test]
    fn what_is_no_time_is_named() {
        for bad in [gamma(0.0, 1.0), gamma(f64::NAN, 1.0), gamma(1.0, -1.0), gamma(1.0, f64::INFINITY)] {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
        assert!(ServiceTime::Measured(vec![]).problem().is_some());
        assert!(ServiceTime::Measured(vec![1.0, -1.0]).problem().is_some());
        assert_eq!(gamma(0.2, 0.0).problem(), None);
    }
}
