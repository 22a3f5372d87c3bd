//! One-dimensional splines through many rows at once.
//!
//! A cubic B-spline has the coefficients of `scipy.ndimage.spline_filter1d` for mode `nearest`: twelve voxels of the edge's
//! value at both ends, then Unser's recursive filter with a reflected boundary (M. Unser, A. Aldroubi, M. Eden: B-spline
//! signal processing II, 1993).

use crate::recipe::ImageOrder;

/// Voxels that scipy pads at each end (`_prepad_for_spline_filter`).
const PAD: usize = 12;

/// The pole of the cubic B-spline's filter, sqrt(3) - 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// The filter's gain, (1 - pole)(1 - 1 / pole).
const GAIN: f64 = 6.0;

/// Terms of the boundary's sum after which the pole's powers are below the rounding of what they are added to.
const TERMS: usize = 40;

/// Resamples rows along one axis.
#[derive(Debug)]
pub struct Line {
    length: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Each place is a row.
    Same,
    Linear(Vec<(usize, [f64; 2])>),
    Cubic(Vec<(usize, [f64; 4])>),
}

impl Line {
    /// `places` on an axis of `length` rows; for order 1 between its ends, for order 3 at most half a row past them.
    pub fn new(order: ImageOrder, length: usize, places: &[f64]) -> Self {
        let same = places.len() == length
            && places.iter().enumerate().all(|(at, place)| place.total_cmp(&(at as f64)).is_eq());
        let kind = match order {
            _ if same => Kind::Same,
            ImageOrder::Linear => Kind::Linear(places.iter().map(|place| linear(*place, length)).collect()),
            ImageOrder::Cubic => Kind::Cubic(places.iter().map(|place| cubic(*place)).collect()),
        };
        Self { length, kind }
    }

    /// Resamples `rows` (of `width` values each) into `out`, with `padded` for scratch.
    pub fn apply(&self, rows: &[f64], width: usize, padded: &mut Vec<f64>, out: &mut Vec<f64>) {
        out.clear();
        match &self.kind {
            Kind::Same => out.extend_from_slice(rows),
            Kind::Linear(taps) => {
                for (first, weights) in taps {
                    let low = &rows[first * width..][..width];
                    let high = &rows[(first + 1).min(self.length - 1) * width..][..width];
                    out.extend(low.iter().zip(high).map(|(a, b)| a * weights[0] + b * weights[1]));
                }
            }
            Kind::Cubic(taps) => {
                pad(rows, width, padded);
                filter(padded, width);
                for (first, w) in taps {
                    let row = |at: usize| &padded[(first + at) * width..][..width];
                    let pairs = row(0).iter().zip(row(1)).zip(row(2).iter().zip(row(3)));
                    out.extend(pairs.map(|((a, b), (c, d))| a * w[0] + b * w[1] + c * w[2] + d * w[3]));
                }
            }
        }
    }
}

/// The lower row, and the weights of it and the next.
fn linear(place: f64, length: usize) -> (usize, [f64; 2]) {
    let low = (place.floor() as usize).min(length - 1);
    let weight = place - low as f64;
    (low, [1.0 - weight, weight])
}

/// The first of four padded rows, and their weights (`get_spline_interpolation_weights`).
fn cubic(place: f64) -> (usize, [f64; 4]) {
    let place = place + PAD as f64;
    let low = place.floor();
    let y = place - low;
    let z = 1.0 - y;
    let b = (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0;
    let c = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0;
    let a = z * z * z / 6.0;
    (low as usize - 1, [a, b, c, 1.0 - a - b - c])
}

fn pad(rows: &[f64], width: usize, padded: &mut Vec<f64>) {
    padded.clear();
    let (first, last) = (&rows[..width], &rows[rows.len() - width..]);
    for _ in 0..PAD {
        padded.extend_from_slice(first);
    }
    padded.extend_from_slice(rows);
    for _ in 0..PAD {
        padded.extend_from_slice(last);
    }
}

/// Values to coefficients, in place.
fn filter(rows: &mut [f64], width: usize) {
    let count = rows.len() / width;
    for value in rows.iter_mut() {
        *value *= GAIN;
    }
    begin(rows, width, count);
    for row in 1..count {
        let (before, here) = rows.split_at_mut(row * width);
        let before = &before[(row - 1) * width..];
        for (value, before) in here[..width].iter_mut().zip(before) {
            *value += POLE * before;
        }
    }
    for value in &mut rows[(count - 1) * width..] {
        *value *= POLE / (POLE - 1.0);
    }
    for row in (0..count - 1).rev() {
        let (here, after) = rows.split_at_mut((row + 1) * width);
        for (value, after) in here[row * width..].iter_mut().zip(&after[..width]) {
            *value = POLE * (after - *value);
        }
    }
}

/// The first coefficient of the causal pass: `_init_causal_reflect`.
fn begin(rows: &mut [f64], width: usize, count: usize) {
    let around = POLE.powi(count as i32);
    for column in 0..width {
        let first = rows[column];
        let mut sum = first + around * rows[(count - 1) * width + column];
        let mut power = POLE;
        for row in 1..count.min(TERMS) {
            sum += power * (rows[row * width + column] + around * rows[(count - 1 - row) * width + column]);
            power *= POLE;
        }
        rows[column] = sum * POLE / (1.0 - around * around) + first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.ndimage.zoom([3, -1, 4, 1, -5, 9], 1.5, order=3, mode="nearest", grid_mode=...)`, scipy 1.17.1.
    #[test]
    fn cubic_places_are_scipys() {
        let rows = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0];
        let cases = [(false, CORNERS), (true, FACES)];
        for (grid_mode, expected) in cases {
            let places: Vec<f64> = (0..9)
                .map(f64::from)
                .map(|at| if grid_mode { (at + 0.5) * (6.0 / 9.0) - 0.5 } else { at * 0.625 })
                .collect();
            let line = Line::new(ImageOrder::Cubic, 6, &places);
            let mut out = Vec::new();
            line.apply(&rows, 1, &mut Vec::new(), &mut out);
            for (value, expected) in out.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-12, "{out:?}");
            }
        }
    }

    const CORNERS: [f64; 9] = [
        3.000_000_000_000_000_4,
        -0.135_957_831_366_151_75,
        -0.289_282_756_190_350_7,
        3.449_816_461_518_305_6,
        4.089_918_614_418_695,
        -0.210_274_321_038_750_88,
        -5.313_537_047_879_748,
        -0.563_395_256_423_546,
        9.0,
    ];
    const FACES: [f64; 9] = [
        3.414_958_958_569_022_8,
        0.487_171_717_552_056_2,
        -0.632_065_206_794_294_8,
        3.228_706_781_246_856_4,
        4.089_918_614_418_695,
        -0.635_067_691_496_772_6,
        -5.444_545_502_594_431,
        1.521_688_884_309_651,
        10.180_932_340_654_191,
    ];
}
