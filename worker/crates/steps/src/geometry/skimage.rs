//! `skimage.transform.resize` of floats, version 0.19 and later: a Gaussian blur where it shrinks, then bilinear samples.
//!
//! For `edge = "constant"` and squares this is what TorchXRayVision does, and the crate of radiographs has it faster; a test
//! there holds the two against each other, to the bit.

use crate::intensity::extremes;
use crate::step::Edge;

/// Only what is sampled is blurred: two rows and two columns for each one of the output. Sums in float64, rounded to
/// float32 after each axis, as in SciPy.
pub(super) fn resize(
    values: &[f32],
    (width, height): (usize, usize),
    (wide, high): (usize, usize),
    edge: Edge,
) -> Vec<f32> {
    // Antialiasing is asked for once: an axis that grows beside one that shrinks has no blur of its own.
    let (down, across) = (Axis::new(height, high, edge), Axis::new(width, wide, edge));
    let mut out = Vec::with_capacity(wide * high);
    let mut totals = vec![0.0f64; width];
    let mut blurred = vec![0.0f32; width];
    for row in &down.taps {
        let mut pair = [vec![0.0f32; 2 * wide], vec![0.0f32; 2 * wide]];
        for (at, sampled) in row.at.into_iter().zip(&mut pair) {
            let Some(at) = at else { continue };
            down.blur_row(values, width, at, &mut totals, &mut blurred);
            for (tap, two) in across.taps.iter().zip(sampled.chunks_exact_mut(2)) {
                for (column, target) in tap.at.into_iter().zip(two) {
                    *target = column.map_or(0.0, |column| across.blur_at(&blurred, column));
                }
            }
        }
        for (column, tap) in across.taps.iter().enumerate() {
            let mut sum = 0.0f64;
            for (sampled, weight_y) in pair.iter().zip(row.weight) {
                for (value, weight_x) in sampled[2 * column..2 * column + 2].iter().zip(tap.weight) {
                    sum += f64::from(*value) * weight_y * weight_x;
                }
            }
            out.push(sum as f32);
        }
    }
    clip(&mut out, values, edge);
    out
}

/// To the range of the image before the blur; zeros from outside widen it where they show.
fn clip(out: &mut [f32], values: &[f32], edge: Edge) {
    let (mut low, mut high) = extremes(values);
    if edge == Edge::Constant && !(low <= 0.0 && 0.0 <= high) {
        let (least, most) = extremes(out);
        if least <= 0.0 && 0.0 <= most {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
    }
    for value in out {
        *value = value.clamp(low, high);
    }
}

struct Tap {
    /// `None` for what lies outside and counts as zero.
    at: [Option<usize>; 2],
    weight: [f64; 2],
}

struct Axis {
    side: usize,
    edge: Edge,
    /// The symmetric Gaussian's half, outermost first, its middle last.
    kernel: Vec<f64>,
    taps: Vec<Tap>,
}

impl Axis {
    fn new(side: usize, size: usize, edge: Edge) -> Self {
        let zoom = side as f64 / size as f64;
        let mut axis = Self { side, edge, kernel: half_gaussian(zoom), taps: Vec::with_capacity(size) };
        let shift = 0.5 * zoom - 0.5;
        for out in 0..size {
            let place = zoom * out as f64 + shift;
            let floor = place.floor();
            let (t, first) = (place - floor, floor as i64);
            let tap = Tap { at: [axis.source(first), axis.source(first + 1)], weight: [1.0 - t, t] };
            axis.taps.push(tap);
        }
        axis
    }

    /// The pixel that stands at `at`, wherever that is.
    fn source(&self, at: i64) -> Option<usize> {
        let side = self.side as i64;
        if (0..side).contains(&at) {
            return Some(at as usize);
        }
        match self.edge {
            Edge::Constant => None,
            Edge::Reflect if side == 1 => Some(0),
            Edge::Reflect => {
                let period = 2 * (side - 1);
                let at = at.rem_euclid(period);
                Some(at.min(period - at) as usize)
            }
        }
    }

    /// Blurs down the columns, at one row.
    fn blur_row(&self, values: &[f32], width: usize, at: usize, totals: &mut [f64], out: &mut [f32]) {
        let line = |row: usize| &values[row * width..(row + 1) * width];
        let radius = self.kernel.len() - 1;
        if radius == 0 {
            out.copy_from_slice(line(at));
            return;
        }
        let zeros = vec![0.0f32; width];
        for (total, &value) in totals.iter_mut().zip(line(at)) {
            *total = f64::from(value) * self.kernel[radius];
        }
        for (k, weight) in self.kernel[..radius].iter().enumerate() {
            let reach = (radius - k) as i64;
            let above = self.source(at as i64 - reach).map_or(&*zeros, line);
            let below = self.source(at as i64 + reach).map_or(&*zeros, line);
            for ((total, &a), &b) in totals.iter_mut().zip(above).zip(below) {
                *total += (f64::from(a) + f64::from(b)) * weight;
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            *out = *total as f32;
        }
    }

    /// Blurs along one row, at one column.
    fn blur_at(&self, row: &[f32], at: usize) -> f32 {
        let radius = self.kernel.len() - 1;
        if radius == 0 {
            return row[at];
        }
        let value = |at: i64| self.source(at).map_or(0.0, |at| f64::from(row[at]));
        let mut sum = f64::from(row[at]) * self.kernel[radius];
        for (k, weight) in self.kernel[..radius].iter().enumerate() {
            let reach = (radius - k) as i64;
            sum += (value(at as i64 - reach) + value(at as i64 + reach)) * weight;
        }
        sum as f32
    }
}

/// Of `sigma = (zoom - 1) / 2`, cut at four sigma; `[1.0]` where nothing is blurred.
fn half_gaussian(zoom: f64) -> Vec<f64> {
    let sigma = ((zoom - 1.0) / 2.0).max(0.0);
    if sigma <= 1e-15 {
        return vec![1.0];
    }
    let radius = (4.0 * sigma + 0.5) as i64;
    let weights: Vec<f64> =
        (-radius..=radius).map(|k| (-0.5 / (sigma * sigma) * (k * k) as f64).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights[..=radius as usize].iter().map(|weight| weight / sum).collect()
}
