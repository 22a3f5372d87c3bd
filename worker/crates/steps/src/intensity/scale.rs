//! Values to another interval, and to bytes.

use crate::step::Rounding;

/// `(x - from[0]) / (from[1] - from[0]) * (to[1] - to[0]) + to[0]`, each operation rounded to float32 as NumPy and PyTorch
/// round theirs with Python's numbers beside a float32 array.
pub(crate) fn rescale(values: &mut [f32], from: [f64; 2], to: [f64; 2]) {
    let (least, width) = (from[0] as f32, (from[1] - from[0]) as f32);
    stretch(values, least, width, to);
}

/// The same with a least value and a width that were float32 already.
pub(super) fn stretch(values: &mut [f32], least: f32, width: f32, to: [f64; 2]) {
    let (span, start) = ((to[1] - to[0]) as f32, to[0] as f32);
    for value in values {
        *value = (*value - least) / width * span + start;
    }
}

pub(crate) fn clip(values: &mut [f32], to: [f64; 2]) {
    let (low, high) = ends(to);
    for value in values {
        *value = value.clamp(low, high);
    }
}

/// The lower and the higher end: an interval may fall.
fn ends(interval: [f64; 2]) -> (f32, f32) {
    let [a, b] = interval;
    (a.min(b) as f32, a.max(b) as f32)
}

/// Floats of a range of [0, 255] or, with `scale` 255, [0, 1] as bytes.
pub(crate) fn to_bytes(values: &[f32], is_unit: bool, library: Rounding) -> Vec<u8> {
    let scale = match (is_unit, library) {
        (false, _) => 1.0,
        (true, Rounding::Torchvision) => 255.0 + 1.0 - 1e-3,
        (true, _) => 255.0,
    } as f32;
    let round = match library {
        Rounding::Opencv | Rounding::Skimage => f32::round_ties_even,
        Rounding::Numpy | Rounding::Torchvision | Rounding::Pillow => f32::trunc,
    };
    // Rust's conversion stops at the ends of a byte.
    values.iter().map(|value| round(value * scale) as u8).collect()
}

/// The least and the greatest.
pub(crate) fn extremes(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &v| (least.min(v), most.max(v)))
}
