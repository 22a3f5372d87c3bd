//! PyTorch's `interpolate` of float32 on processors: bilinear with antialiasing, as `torchvision.transforms.Resize` has it,
//! and `area`, as `monai.transforms.Resize` has it.

use super::axis::{Run, Sum, across, down};
use crate::plane::{Plane, Values};

/// Rows first, then columns, weights and sums in float32.
pub(super) fn antialiased(
    values: Values,
    (width, height): (usize, usize),
    (wide, high): (usize, usize),
) -> Values {
    let mut floats = Plane { width, height, values }.floats();
    let sum = Sum {
        start: 0.0f32,
        add: |total: f32, value: f32, weight: f32| total + value * weight,
        end: |total: f32| total,
    };
    if wide != width {
        floats = across(&floats, width, &triangles(width, wide), &sum);
    }
    if high != height {
        floats = down(&floats, wide, &triangles(height, high), &sum);
    }
    Values::Floats(floats)
}

/// The positions are float32 too: a thousand pixels on they are off by what shows in the sixth digit, as there.
fn triangles(side: usize, size: usize) -> Vec<Run<f32>> {
    let scale = side as f32 / size as f32;
    let support = scale.max(1.0);
    let inverse = if scale >= 1.0 { 1.0 / scale } else { 1.0 };
    let run = |out: usize| {
        let centre = scale * (out as f32 + 0.5);
        let first = ((centre - support + 0.5) as i64).max(0);
        let end = ((centre + support + 0.5) as i64).min(side as i64);
        let weight = |x: i64| (1.0 - (((x + first) as f32 - centre + 0.5) * inverse).abs()).max(0.0);
        let mut weights: Vec<f32> = (0..end - first).map(weight).collect();
        let total: f32 = weights.iter().sum();
        if total != 0.0 {
            for weight in &mut weights {
                *weight /= total;
            }
        }
        Run { first: first as usize, weights }
    };
    (0..size).map(run).collect()
}

/// Means of the pixels that an output pixel touches, however little of them.
pub(super) fn area(
    values: &[f32],
    (width, height): (usize, usize),
    (wide, high): (usize, usize),
) -> Vec<f32> {
    let mut out = Vec::with_capacity(wide * high);
    for row in 0..high {
        let (top, bottom) = touched(row, height, high);
        for column in 0..wide {
            let (left, right) = touched(column, width, wide);
            let mut sum = 0.0f32;
            for y in top..bottom {
                for value in &values[y * width + left..y * width + right] {
                    sum += value;
                }
            }
            out.push(sum / (bottom - top) as f32 / (right - left) as f32);
        }
    }
    out
}

fn touched(out: usize, side: usize, size: usize) -> (usize, usize) {
    (out * side / size, ((out + 1) * side).div_ceil(size))
}
