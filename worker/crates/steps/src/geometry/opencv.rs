//! `cv2.resize` with `INTER_LINEAR` and `INTER_AREA`: bytes to the bit, floats in float32.

use super::axis::{Run, Sum, across, down};
use crate::plane::{Plane, Values};

/// Bits behind the point of a weight for bytes.
const PRECISION: i32 = 11;

/// Two neighbours along an axis and how much the second counts.
#[derive(Clone, Copy)]
struct Pair {
    at: [usize; 2],
    share: f32,
}

/// `INTER_LINEAR`: no antialiasing. Half of both sides is the mean of four, as OpenCV has it.
pub(super) fn linear(values: Values, from: (usize, usize), to: (usize, usize)) -> Values {
    if from.0 == 2 * to.0 && from.1 == 2 * to.1 {
        return area(values, from, to);
    }
    let columns: Vec<Pair> = (0..to.0).map(|out| column(middle(out, from.0, to.0), from.0)).collect();
    let rows: Vec<Pair> = (0..to.1).map(|out| row(middle(out, from.1, to.1), from.1)).collect();
    interpolate(values, from, &columns, &rows)
}

/// Where the middle of an output pixel lies: the pixel before it, and how far on.
fn middle(out: usize, side: usize, size: usize) -> (i64, f32) {
    let scale = 1.0 / (size as f64 / side as f64);
    let place = ((out as f64 + 0.5) * scale - 0.5) as f32;
    let floor = place.floor();
    (floor as i64, place - floor)
}

/// Beyond the outermost columns' middles those count alone.
fn column((first, share): (i64, f32), side: usize) -> Pair {
    let last = side - 1;
    match usize::try_from(first) {
        Ok(first) if first < last => Pair { at: [first, first + 1], share },
        Ok(_) => Pair { at: [last, last], share: 0.0 },
        Err(_) => Pair { at: [0, 0], share: 0.0 },
    }
}

/// Beyond the outermost rows' middles those count twice, each time with its share: among bytes that is not the same.
fn row((first, share): (i64, f32), side: usize) -> Pair {
    let last = side as i64 - 1;
    let at = [first, first + 1].map(|at| at.clamp(0, last) as usize);
    Pair { at, share }
}

fn interpolate(values: Values, (width, height): (usize, usize), columns: &[Pair], rows: &[Pair]) -> Values {
    match values {
        Values::Bytes(bytes) => Values::Bytes(interpolate_bytes(&bytes, width, columns, rows)),
        other => {
            let floats = Plane { width, height, values: other }.floats();
            let mut out = Vec::with_capacity(columns.len() * rows.len());
            let line = |row: usize| &floats[row * width..(row + 1) * width];
            for row in rows {
                let [above, below] = row.at.map(line);
                for column in columns {
                    let [left, right] = column.at;
                    let upper = above[left] * (1.0 - column.share) + above[right] * column.share;
                    let lower = below[left] * (1.0 - column.share) + below[right] * column.share;
                    out.push(upper * (1.0 - row.share) + lower * row.share);
                }
            }
            Values::Floats(out)
        }
    }
}

/// Weights of 11 bits, and sums that are shifted as OpenCV's vector code shifts them.
fn interpolate_bytes(bytes: &[u8], width: usize, columns: &[Pair], rows: &[Pair]) -> Vec<u8> {
    let weights = |share: f32| {
        let one = (1 << PRECISION) as f32;
        [((1.0 - share) * one).round_ties_even() as i32, (share * one).round_ties_even() as i32]
    };
    let columns: Vec<_> = columns.iter().map(|column| (column.at, weights(column.share))).collect();
    let across = |row: usize| -> Vec<i32> {
        let line = &bytes[row * width..(row + 1) * width];
        let value = |([left, right], [a, b]): &([usize; 2], [i32; 2])| {
            i32::from(line[*left]) * a + i32::from(line[*right]) * b
        };
        columns.iter().map(value).collect()
    };
    let mut out = Vec::with_capacity(columns.len() * rows.len());
    for row in rows {
        let [a, b] = weights(row.share);
        let [above, below] = row.at.map(across);
        for (upper, lower) in above.iter().zip(&below) {
            let sum = ((a * (upper >> 4)) >> 16) + ((b * (lower >> 4)) >> 16);
            out.push(((sum + 2) >> 2).clamp(0, 255) as u8);
        }
    }
    out
}

/// `INTER_AREA`: means of what an output pixel covers; where a side grows it interpolates.
pub(super) fn area(values: Values, (width, height): (usize, usize), (wide, high): (usize, usize)) -> Values {
    if wide > width || high > height {
        let columns: Vec<Pair> = (0..wide).map(|out| column(covering(out, width, wide), width)).collect();
        let rows: Vec<Pair> = (0..high).map(|out| row(covering(out, height, high), height)).collect();
        return interpolate(values, (width, height), &columns, &rows);
    }
    if width.is_multiple_of(wide) && height.is_multiple_of(high) {
        return blocks(values, (width, height), (wide, high));
    }
    let (columns, rows) = (shares(width, wide), shares(height, high));
    let sum = Sum {
        start: 0.0f32,
        add: |total: f32, value: f32, weight: f32| total + value * weight,
        end: |total: f32| total,
    };
    let is_bytes = matches!(values, Values::Bytes(_));
    let floats = Plane { width, height, values }.floats();
    let out = down(&across(&floats, width, &columns, &sum), wide, &rows, &sum);
    if is_bytes {
        return Values::Bytes(out.into_iter().map(|value| value.round_ties_even() as u8).collect());
    }
    Values::Floats(out)
}

/// Growing: an output pixel lies in one pixel, or over the border between two.
fn covering(out: usize, side: usize, size: usize) -> (i64, f32) {
    let inverse = size as f64 / side as f64;
    let scale = 1.0 / inverse;
    let first = (out as f64 * scale).floor();
    let share = ((out + 1) as f64 - (first + 1.0) * inverse) as f32;
    let share = if share <= 0.0 { 0.0 } else { share - share.floor() };
    (first as i64, share)
}

/// Whole pixels alone: plain means.
fn blocks(values: Values, (width, height): (usize, usize), (wide, high): (usize, usize)) -> Values {
    let (across, down) = (width / wide, height / high);
    let scale = 1.0 / (across * down) as f32;
    match values {
        Values::Bytes(bytes) => {
            let mut out = Vec::with_capacity(wide * high);
            for row in 0..high {
                for column in 0..wide {
                    let line = |y: usize| &bytes[(row * down + y) * width + column * across..][..across];
                    let sum: u32 = (0..down).flat_map(line).map(|&value| u32::from(value)).sum();
                    out.push(if (across, down) == (2, 2) {
                        ((sum + 2) >> 2) as u8
                    } else {
                        (sum as f32 * scale).round_ties_even() as u8
                    });
                }
            }
            Values::Bytes(out)
        }
        other => {
            let floats = Plane { width, height, values: other }.floats();
            let mut out = Vec::with_capacity(wide * high);
            for row in 0..high {
                for column in 0..wide {
                    let line = |y: usize| &floats[(row * down + y) * width + column * across..][..across];
                    out.push((0..down).flat_map(line).sum::<f32>() * scale);
                }
            }
            Values::Floats(out)
        }
    }
}

/// Shrinking: the share of each pixel in an output pixel; slivers of a thousandth are left out, as there.
fn shares(side: usize, size: usize) -> Vec<Run<f32>> {
    const SLIVER: f64 = 1e-3;
    let scale = 1.0 / (size as f64 / side as f64);
    let run = |out: usize| {
        let start = out as f64 * scale;
        let end = start + scale;
        let cell = scale.min(side as f64 - start);
        let last = (end.floor() as usize).min(side - 1);
        let first = (start.ceil() as usize).min(last);
        let mut weights = Vec::new();
        let mut from = first;
        if first as f64 - start > SLIVER {
            from = first - 1;
            weights.push(((first as f64 - start) / cell) as f32);
        }
        weights.extend((first..last).map(|_| (1.0 / cell) as f32));
        if end - last as f64 > SLIVER {
            weights.push(((end - last as f64).min(1.0).min(cell) / cell) as f32);
        }
        Run { first: from, weights }
    };
    (0..size).map(run).collect()
}
