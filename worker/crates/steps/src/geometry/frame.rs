//! Crops and bands: pixels stay what they are.

use crate::plane::{Plane, Values};
use crate::step::CropRule;

/// Pixels left out before a crop of `crop` out of `side`, which is not shorter.
pub(crate) fn crop_offset(side: usize, crop: usize, rule: CropRule) -> usize {
    match rule {
        CropRule::Torchxrayvision | CropRule::Monai => side / 2 - crop / 2,
        CropRule::Torchvision => {
            // Python's `round`: halves to the even one.
            let (half, odd) = ((side - crop) / 2, (side - crop) % 2);
            half + (odd & half & 1)
        }
    }
}

/// The part of `width` x `height` whose first pixel is (`x`, `y`).
pub(crate) fn crop(plane: &Plane, x: usize, y: usize, width: usize, height: usize) -> Plane {
    let values = match &plane.values {
        Values::Stored(values) => Values::Stored(part(values, plane.width, (x, y), (width, height))),
        Values::Bytes(values) => Values::Bytes(part(values, plane.width, (x, y), (width, height))),
        Values::Floats(values) => Values::Floats(part(values, plane.width, (x, y), (width, height))),
    };
    Plane { width, height, values }
}

fn part<T: Copy>(
    values: &[T],
    stride: usize,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
) -> Vec<T> {
    values.chunks_exact(stride).skip(y).take(height).flat_map(|row| &row[x..x + width]).copied().collect()
}

/// Bands of `value` on both of the shorter sides, the first of half the difference, rounded down.
pub(crate) fn pad_square(plane: Plane, value: f64) -> Plane {
    let (width, height) = (plane.width, plane.height);
    let values = match plane.values {
        Values::Stored(values) => Values::Stored(padded(&values, width, height, value as u16)),
        Values::Bytes(values) => Values::Bytes(padded(&values, width, height, value as u8)),
        Values::Floats(values) => Values::Floats(padded(&values, width, height, value as f32)),
    };
    let side = width.max(height);
    Plane { width: side, height: side, values }
}

fn padded<T: Copy>(values: &[T], width: usize, height: usize, value: T) -> Vec<T> {
    let side = width.max(height);
    let (x, y) = ((side - width) / 2, (side - height) / 2);
    let mut out = vec![value; side * side];
    for (row, source) in values.chunks_exact(width).enumerate() {
        let start = (y + row) * side + x;
        out[start..start + width].copy_from_slice(source);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's own: `round((side - crop) / 2.0)` and `side // 2 - crop // 2`.
    #[test]
    fn the_middle_lies_where_each_library_has_it() {
        for (side, crop, torchvision, others) in [
            (10, 4, 3, 3),
            (11, 4, 4, 3),
            (9, 4, 2, 2),
            (13, 4, 4, 4),
            (10, 5, 2, 3),
            (12, 5, 4, 4),
            (7, 7, 0, 0),
        ] {
            assert_eq!(crop_offset(side, crop, CropRule::Torchvision), torchvision, "{side} {crop}");
            assert_eq!(crop_offset(side, crop, CropRule::Monai), others, "{side} {crop}");
            assert_eq!(crop_offset(side, crop, CropRule::Torchxrayvision), others, "{side} {crop}");
        }
    }

    #[test]
    fn bands_are_of_the_wanted_value() {
        let plane = Plane { width: 2, height: 5, values: Values::Bytes((1..=10).collect()) };
        let square = pad_square(plane, 7.0);
        assert_eq!((square.width, square.height), (5, 5));
        let Values::Bytes(values) = square.values else { panic!("bytes stay bytes") };
        assert_eq!(values[..10], [7, 1, 2, 7, 7, 7, 3, 4, 7, 7]);
    }
}
