//! `Image.resize` of Pillow: modes L (bytes, to the bit) and F (floats).

use super::axis::{Run, Sum, across, down};
use crate::plane::{Plane, Values};

/// A filter: its half-width in pixels of the smaller image, and its values.
#[derive(Debug)]
pub(super) struct Filter {
    support: f64,
    at: fn(f64) -> f64,
}

pub(super) const BILINEAR: Filter = Filter { support: 1.0, at: triangle };
pub(super) const BICUBIC: Filter = Filter { support: 2.0, at: cubic };
pub(super) const LANCZOS: Filter = Filter { support: 3.0, at: lanczos };

/// Bits behind the point of a weight for bytes: two are left for sums beyond a byte.
const PRECISION: i32 = 32 - 8 - 2;

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// One pass. Down the columns it takes rows of this width.
enum Axis {
    Across,
    Down(usize),
}

/// Which axis goes first: among bytes the second one takes what the first has rounded and cut. Since version 13 Pillow begins
/// with the columns where the height shrinks by more than twice what the width does; before, it never did.
fn columns_first((width, height): (usize, usize), (wide, high): (usize, usize)) -> bool {
    let shrinks = |from: usize, to: usize| from as i64 - to as i64;
    shrinks(height, high) > (2 * shrinks(width, wide)).max(0)
}

/// Axis by axis; one that keeps its length is left alone.
pub(super) fn resize(
    values: Values,
    (width, height): (usize, usize),
    (wide, high): (usize, usize),
    filter: &Filter,
) -> Values {
    let columns_first = columns_first((width, height), (wide, high));
    let rows = (wide != width).then_some(Axis::Across);
    let columns = (high != height).then_some(Axis::Down(if columns_first { width } else { wide }));
    let axes = if columns_first { [columns, rows] } else { [rows, columns] }.into_iter().flatten();
    match values {
        Values::Bytes(mut bytes) => {
            let sum = Sum {
                start: 1i32 << (PRECISION - 1),
                add: |total: i32, value: u8, weight: i32| total + i32::from(value) * weight,
                end: |total: i32| (total >> PRECISION).clamp(0, 255) as u8,
            };
            for axis in axes {
                bytes = match axis {
                    Axis::Across => across(&bytes, width, &whole(&runs(width, wide, filter)), &sum),
                    Axis::Down(width) => down(&bytes, width, &whole(&runs(height, high, filter)), &sum),
                };
            }
            Values::Bytes(bytes)
        }
        other => {
            let mut floats = Plane { width, height, values: other }.floats();
            let sum = Sum {
                start: 0.0f64,
                add: |total: f64, value: f32, weight: f64| total + f64::from(value) * weight,
                end: |total: f64| total as f32,
            };
            for axis in axes {
                floats = match axis {
                    Axis::Across => across(&floats, width, &runs(width, wide, filter), &sum),
                    Axis::Down(width) => down(&floats, width, &runs(height, high, filter), &sum),
                };
            }
            Values::Floats(floats)
        }
    }
}

fn runs(side: usize, size: usize, filter: &Filter) -> Vec<Run<f64>> {
    let scale = side as f64 / size as f64;
    let stretch = scale.max(1.0);
    let support = filter.support * stretch;
    let inverse = 1.0 / stretch;
    let run = |out: usize| {
        let centre = (out as f64 + 0.5) * scale;
        let first = ((centre - support + 0.5) as i64).max(0);
        let end = ((centre + support + 0.5) as i64).min(side as i64);
        let mut weights: Vec<f64> =
            (0..end - first).map(|x| (filter.at)(((x + first) as f64 - centre + 0.5) * inverse)).collect();
        let total: f64 = weights.iter().sum();
        if total != 0.0 {
            for weight in &mut weights {
                *weight /= total;
            }
        }
        Run { first: first as usize, weights }
    };
    (0..size).map(run).collect()
}

/// The weights as whole numbers, rounded away from zero at halves.
fn whole(runs: &[Run<f64>]) -> Vec<Run<i32>> {
    let scale = f64::from(1 << PRECISION);
    let rounded = |weight: &f64| (weight * scale + if *weight < 0.0 { -0.5 } else { 0.5 }) as i32;
    let run = |run: &Run<f64>| Run { first: run.first, weights: run.weights.iter().map(rounded).collect() };
    runs.iter().map(run).collect()
}
