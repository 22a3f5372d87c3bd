//! Time courses: slow network fluctuations, aliased physiology, movement, drift.

use std::f64::consts::TAU;

use super::Options;
use crate::random::Random;

/// Sinusoids that a random process is made of.
const WAVES: usize = 48;

/// A process with power between two frequencies in Hz, falling as f^-slope.
pub(super) fn band(random: &mut Random, options: &Options, low: f64, high: f64, slope: f64) -> Vec<f64> {
    let waves: Vec<(f64, f64, f64)> = (0..WAVES)
        .map(|_| {
            let frequency = random.between(low, high);
            (frequency, random.between(0.0, TAU), random.normal() * (frequency / low).powf(-0.5 * slope))
        })
        .collect();
    (0..options.volumes)
        .map(|t| {
            let time = t as f64 * options.tr_seconds;
            waves.iter().map(|(f, phase, size)| size * (TAU * f * time + phase).sin()).sum()
        })
        .collect()
}

/// Haemodynamic fluctuation: 0.008 to 0.1 Hz, stronger where slower.
pub(super) fn network(random: &mut Random, options: &Options) -> Vec<f64> {
    standardised(band(random, options, 0.008, 0.1, 1.0))
}

/// Pulse or breath near a frequency in Hz, sampled at the repetition time and so aliased as in a scan.
pub(super) fn physiological(random: &mut Random, options: &Options, frequency: f64, width: f64) -> Vec<f64> {
    let carrier = band(random, options, frequency - width, frequency + width, 0.0);
    let slow = standardised(band(random, options, 0.005, 0.04, 1.0));
    carrier.iter().zip(slow).map(|(x, envelope)| x * (1.0 + 0.4 * envelope).max(0.1)).collect()
}

/// Head movement: a slow walk, a few steps, a few spikes.
pub(super) fn movement(random: &mut Random, options: &Options) -> Vec<f64> {
    let (mut place, mut out) = (0.0, Vec::with_capacity(options.volumes));
    for _ in 0..options.volumes {
        place += 0.15 * random.normal();
        if random.unit() < 0.01 {
            place += 2.5 * random.normal();
        }
        let spike = if random.unit() < 0.02 { 3.0 * random.normal() } else { 0.0 };
        out.push(place + spike);
    }
    out
}

/// Single volumes that jump out.
pub(super) fn spikes(random: &mut Random, options: &Options) -> Vec<f64> {
    (0..options.volumes)
        .map(|_| 0.3 * random.normal() + if random.unit() < 0.06 { 3.0 * random.normal() } else { 0.0 })
        .collect()
}

/// Scanner drift: a line and a slow bend.
pub(super) fn drift(random: &mut Random, options: &Options) -> Vec<f64> {
    let (line, bend) = (random.normal(), random.normal());
    (0..options.volumes)
        .map(|t| {
            let x = 2.0 * t as f64 / options.volumes.max(2) as f64 - 1.0;
            line * x + bend * (x * x - 1.0 / 3.0) + 0.1 * random.normal()
        })
        .collect()
}

/// Mean zero, standard deviation one.
pub(super) fn standardised(mut course: Vec<f64>) -> Vec<f64> {
    let n = course.len().max(1) as f64;
    let mean = course.iter().sum::<f64>() / n;
    let deviation = (course.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt().max(1e-12);
    for x in &mut course {
        *x = (*x - mean) / deviation;
    }
    course
}
