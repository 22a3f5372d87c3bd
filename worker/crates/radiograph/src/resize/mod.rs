//! From an image to the tensor a TorchXRayVision model was trained on.
//!
//! The steps and their order are those of TorchXRayVision 1.5 with its default engine (scikit-image >= 0.19):
//!
//! 1. normalise in `f32`: `(2 * (v / maxval) - 1) * 1024`, one rounding in the division and one in the subtraction;
//! 2. crop the centred square of the shorter side `c`: `offset = side / 2 - c / 2` in integers;
//! 3. when shrinking, blur with a separable Gaussian of `sigma = (c / size - 1) / 2`, radius `int(4 sigma + 0.5)`, zeros
//!    outside the image, sums in `f64`, rounded to `f32` after the rows and again after the columns;
//! 4. sample bilinearly at `(o + 0.5) * c / size - 0.5`, taps outside the image count as zero, sums in `f64`;
//! 5. clip to the range of the cropped image before blurring (widened to 0 where the zeros outside reached it).
//!
//! Zero is mid-grey here, so border pixels are drawn towards grey exactly as in training.
//!
//! Why it is fast and still the same: a bilinear sample reads two rows and two columns, so the vertical blur is computed
//! at the `2 * size` rows that are read instead of all `c`, and the horizontal one at `2 * size` columns. Each blurred
//! value is the same sum in the same order, rounded at the same places. Four output rows are in flight at a time; the
//! image is never held as floats.

// The whole resize is compiled once for each instruction set and chosen at run time (`dispatch!`), so every function on
// the way must be inlined into it. Wider registers change no result: the compiler never fuses or reorders these sums.
#![allow(clippy::inline_always)]

use std::num::NonZeroU32;

use fearless_simd::{Level, dispatch};

use nightread_dicom::Samples;
use nightread_steps::Field;

use crate::radiograph::Radiograph;

/// The largest output side accepted: far above any model, and small enough that a manifest cannot exhaust memory.
const MAX_SIZE: u32 = 2048;
/// Output rows computed together; each reads two source rows.
const ROWS: usize = 4;
const LANES: usize = 2 * ROWS;
/// Columns of the vertical blur held in registers at a time.
const CHUNK: usize = 16;

/// Parameters of the preprocessing a TorchXRayVision model names in its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XrvPreprocessing {
    size: NonZeroU32,
}

impl XrvPreprocessing {
    /// `size` is the side of the square output in pixels; `None` unless it is within 1..=2048.
    pub fn new(size: u32) -> Option<Self> {
        NonZeroU32::new(size).filter(|size| size.get() <= MAX_SIZE).map(|size| Self { size })
    }

    pub fn size(&self) -> u32 {
        self.size.get()
    }
}

/// The centred square of the shorter side: `(x offset, y offset, side)` in pixels.
fn centre_crop(width: u32, height: u32) -> (usize, usize, usize) {
    let side = width.min(height) as usize;
    (width as usize / 2 - side / 2, height as usize / 2 - side / 2, side)
}

/// What of an image the network sees: the centred square of the shorter side.
pub fn centre_field(image: &Radiograph) -> Field {
    let (x, y, side) = centre_crop(image.width(), image.height());
    let [x, y, side] = [x, y, side].map(|pixels| pixels as f64);
    Field { x, y, width: side, height: side }
}

/// The normalisation of TorchXRayVision: 0 becomes -1024, `max_value` becomes 1024.
#[inline(always)]
fn normalise(value: u32, max_value: f32) -> f32 {
    (2.0 * (value as f32 / max_value) - 1.0) * 1024.0
}

/// Normalises, crops and resizes: the model's input of shape (1, size, size) in row order, values in [-1024, 1024].
pub fn prepare(image: &Radiograph, spec: &XrvPreprocessing) -> Vec<f32> {
    let (x, y, side) = centre_crop(image.width(), image.height());
    let crop = Crop { width: image.width() as usize, x, y, side };
    let max_value = image.max_value() as f32;
    let size = spec.size() as usize;
    let level = Level::new();
    match image.samples() {
        Samples::U8(samples) => {
            let norm = |v: u8| normalise(u32::from(v), max_value);
            dispatch!(level, _simd => resize(samples, &crop, size, norm))
        }
        Samples::U16(samples) => {
            let norm = |v: u16| normalise(u32::from(v), max_value);
            dispatch!(level, _simd => resize(samples, &crop, size, norm))
        }
    }
}

struct Crop {
    /// Width of the whole image.
    width: usize,
    x: usize,
    y: usize,
    side: usize,
}

impl Crop {
    #[inline(always)]
    fn row<'a, T>(&self, samples: &'a [T], row: usize) -> &'a [T] {
        let start = (self.y + row) * self.width + self.x;
        &samples[start..start + self.side]
    }
}

/// One output coordinate: the two source indices (`None` outside the image) and their weights.
struct Tap {
    at: [Option<usize>; 2],
    weight: [f64; 2],
}

/// The sampling positions of scipy's `zoom` with `grid_mode`, along an axis of `side` samples.
#[inline(always)]
fn taps(side: usize, size: usize) -> Vec<Tap> {
    let zoom = side as f64 / size as f64;
    let shift = 0.5 * zoom - 0.5;
    (0..size)
        .map(|o| {
            let at = zoom * o as f64 + shift;
            let floor = at.floor();
            let t = at - floor;
            let inside = |i: i64| usize::try_from(i).ok().filter(|&i| i < side);
            let i = floor as i64;
            Tap { at: [inside(i), inside(i + 1)], weight: [1.0 - t, t] }
        })
        .collect()
}

/// Half of the symmetric Gaussian, outermost weight first and the centre last; `[1.0]` when there is no blur.
#[inline(always)]
fn half_kernel(side: usize, size: usize) -> Vec<f64> {
    if side <= size {
        return vec![1.0];
    }
    let sigma = (side as f64 / size as f64 - 1.0) / 2.0;
    let radius = (4.0 * sigma + 0.5) as i64;
    let weights: Vec<f64> =
        (-radius..=radius).map(|k| (-0.5 / (sigma * sigma) * (k * k) as f64).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().take(radius as usize + 1).map(|w| w / sum).collect()
}

/// Normalised rows of the crop, kept for as long as the vertical blur still needs them.
struct RowCache {
    rows: Vec<f32>,
    held: Vec<Option<usize>>,
    side: usize,
}

impl RowCache {
    #[inline(always)]
    fn new(rows: usize, side: usize) -> Self {
        Self { rows: vec![0.0; rows * side], held: vec![None; rows], side }
    }

    #[inline(always)]
    fn load<T: Copy>(&mut self, row: usize, source: &[T], normalise: impl Fn(T) -> f32) {
        let slot = row % self.held.len();
        if self.held[slot] != Some(row) {
            let target = &mut self.rows[slot * self.side..(slot + 1) * self.side];
            target.iter_mut().zip(source).for_each(|(out, &v)| *out = normalise(v));
            self.held[slot] = Some(row);
        }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &[f32] {
        let slot = row % self.held.len();
        &self.rows[slot * self.side..(slot + 1) * self.side]
    }
}

#[inline(always)]
fn resize<T: Copy + Ord>(
    samples: &[T],
    crop: &Crop,
    size: usize,
    normalise: impl Fn(T) -> f32 + Copy,
) -> Vec<f32> {
    let side = crop.side;
    let taps = taps(side, size);
    let kernel = half_kernel(side, size);
    let radius = kernel.len() - 1;
    let zeros = vec![0.0; side];
    let mut cache = RowCache::new(2 * radius + 2, side);
    // Column-major by lane, with `radius` columns of zeros on both sides.
    let mut block = vec![[0.0f32; LANES]; side + 2 * radius];
    let mut sampled = vec![[[0.0f32; LANES]; 2]; size];
    let mut blurred = vec![0.0f32; side];
    let mut out = Vec::with_capacity(size * size);

    for group in taps.chunks(ROWS) {
        for (lane, at) in group.iter().flat_map(|tap| tap.at).enumerate() {
            match at {
                Some(row) => {
                    let first = row.saturating_sub(radius);
                    let last = (row + radius).min(side - 1);
                    for needed in first..=last {
                        cache.load(needed, crop.row(samples, needed), normalise);
                    }
                    let window: Vec<&[f32]> = (0..=2 * radius)
                        .map(|k| match (row + k).checked_sub(radius) {
                            Some(r) if r < side => cache.row(r),
                            _ => &zeros,
                        })
                        .collect();
                    blur_rows(&window, &kernel, &mut blurred);
                }
                None => blurred.fill(0.0),
            }
            let columns = &mut block[radius..radius + side];
            columns.iter_mut().zip(&blurred).for_each(|(column, &v)| column[lane] = v);
        }
        for (tap, pair) in taps.iter().zip(&mut sampled) {
            for (at, target) in tap.at.into_iter().zip(pair) {
                *target = match at {
                    Some(column) => blur_column(&block, column, &kernel),
                    None => [0.0; LANES],
                };
            }
        }
        for (k, row) in group.iter().enumerate() {
            out.extend(taps.iter().zip(&sampled).map(|(column, pair)| bilinear(pair, k, row, column)));
        }
    }
    clip(&mut out, samples, crop, normalise);
    out
}

/// The blur down the columns: `window` holds the row in its middle and `radius` rows on either side.
#[inline(always)]
fn blur_rows(window: &[&[f32]], kernel: &[f64], out: &mut [f32]) {
    let radius = kernel.len() - 1;
    let centre = kernel[radius];
    let mut start = 0;
    while start < out.len() {
        let end = (start + CHUNK).min(out.len());
        if end - start == CHUNK {
            let mut sum = [0.0f64; CHUNK];
            for (s, &v) in sum.iter_mut().zip(&window[radius][start..end]) {
                *s = f64::from(v) * centre;
            }
            for (k, weight) in kernel[..radius].iter().enumerate() {
                let (above, below) = (&window[k][start..end], &window[2 * radius - k][start..end]);
                for ((s, &a), &b) in sum.iter_mut().zip(above).zip(below) {
                    *s += (f64::from(a) + f64::from(b)) * weight;
                }
            }
            for (out, s) in out[start..end].iter_mut().zip(sum) {
                *out = s as f32;
            }
        } else {
            for i in start..end {
                let mut sum = f64::from(window[radius][i]) * centre;
                for (k, weight) in kernel[..radius].iter().enumerate() {
                    sum += (f64::from(window[k][i]) + f64::from(window[2 * radius - k][i])) * weight;
                }
                out[i] = sum as f32;
            }
        }
        start = end;
    }
}

/// The blur along the rows at one column of the crop, for all lanes.
#[inline(always)]
fn blur_column(block: &[[f32; LANES]], column: usize, kernel: &[f64]) -> [f32; LANES] {
    let radius = kernel.len() - 1;
    let window = &block[column..=column + 2 * radius];
    let centre = kernel[radius];
    let mut sum = [0.0f64; LANES];
    for (s, &v) in sum.iter_mut().zip(&window[radius]) {
        *s = f64::from(v) * centre;
    }
    for (k, weight) in kernel[..radius].iter().enumerate() {
        let (left, right) = (&window[k], &window[2 * radius - k]);
        for ((s, &a), &b) in sum.iter_mut().zip(left).zip(right) {
            *s += (f64::from(a) + f64::from(b)) * weight;
        }
    }
    let mut out = [0.0; LANES];
    for (out, s) in out.iter_mut().zip(sum) {
        *out = s as f32;
    }
    out
}

/// Output row `k` of the group at one column; a tap outside the image holds zeros.
#[inline(always)]
fn bilinear(pair: &[[f32; LANES]; 2], k: usize, row: &Tap, column: &Tap) -> f32 {
    let mut sum = 0.0;
    for dy in 0..2 {
        for (lanes, across) in pair.iter().zip(column.weight) {
            sum += f64::from(lanes[2 * k + dy]) * row.weight[dy] * across;
        }
    }
    sum as f32
}

/// Clips to the range of the crop; zeros from outside widen it to 0 if they are in the output.
#[inline(always)]
fn clip<T: Copy + Ord>(out: &mut [f32], samples: &[T], crop: &Crop, normalise: impl Fn(T) -> f32) {
    // The normalisation rises with the sample, so the extremes are found among the integers.
    let (mut darkest, mut brightest) =
        (samples[crop.y * crop.width + crop.x], samples[crop.y * crop.width + crop.x]);
    for row in 0..crop.side {
        for &v in crop.row(samples, row) {
            darkest = darkest.min(v);
            brightest = brightest.max(v);
        }
    }
    let (mut low, mut high) = (normalise(darkest), normalise(brightest));
    let zero_outside = !(low <= 0.0 && 0.0 <= high);
    if zero_outside && out.iter().any(|&v| v <= 0.0) && out.iter().any(|&v| v >= 0.0) {
        low = low.min(0.0);
        high = high.max(0.0);
    }
    for v in out {
        *v = v.clamp(low, high);
    }
}

#[cfg(test)]
mod tests;
