//! `skimage.exposure.equalize_adapthist`, version 0.19 and later, of floats in [0, 1].

use super::super::scale::extremes;

/// Grey levels that the algorithm works in.
const GREYS: usize = 1 << 14;

/// Whether an image of these sides has room for the kernel (height, width).
pub(crate) fn fits(width: usize, height: usize, kernel: Option<[usize; 2]>) -> bool {
    kernel.is_none_or(|[rows, columns]| rows <= height && columns <= width)
}

/// An axis of the image: `kernel` pixels a tile, mirrored pixels before it and after it.
#[derive(Clone, Copy)]
struct Axis {
    side: usize,
    kernel: usize,
    before: usize,
    /// Tiles of the padded axis; one less have a histogram.
    tiles: usize,
}

impl Axis {
    fn new(side: usize, kernel: Option<usize>) -> Self {
        let kernel = kernel.unwrap_or(side / 8).max(1);
        let before = kernel / 2;
        let after = (kernel - side % kernel) % kernel + kernel.div_ceil(2);
        Self { side, kernel, before, tiles: (side + before + after) / kernel }
    }

    /// The pixel at `at` of the padded axis: the image mirrored about its outermost pixels, as often as it takes.
    fn source(self, at: usize) -> usize {
        if self.side == 1 {
            return 0;
        }
        let period = 2 * (self.side - 1);
        let at = (at as isize - self.before as isize).rem_euclid(period as isize) as usize;
        at.min(period - at)
    }

    /// Which of the histograms stands at `tile`: the outermost stand twice.
    fn histogram(self, tile: usize) -> usize {
        tile.saturating_sub(1).min(self.tiles - 2)
    }
}

/// `None` for an image of one value.
pub(crate) fn equalise(
    values: &[f32],
    width: usize,
    height: usize,
    (clip_limit, bins): (f64, usize),
    kernel: Option<[usize; 2]>,
) -> Option<Vec<f32>> {
    let greys = greys(values)?;
    let per_bin = 1 + GREYS / bins;
    let binned: Vec<u16> = greys.iter().map(|&grey| grey / per_bin as u16).collect();
    let rows = Axis::new(height, kernel.map(|[rows, _]| rows));
    let columns = Axis::new(width, kernel.map(|[_, columns]| columns));
    let maps = maps(&binned, rows, columns, clip_limit, bins);
    let mut out = Vec::with_capacity(values.len());
    for y in 0..height {
        let (top, down) = ((y + rows.before) / rows.kernel, share(y, rows));
        for x in 0..width {
            let (left, across) = ((x + columns.before) / columns.kernel, share(x, columns));
            let bin = usize::from(binned[y * width + x]);
            let mut sum = 0.0f32;
            for (dy, weight_y) in [(0, 1.0 - down), (1, down)] {
                for (dx, weight_x) in [(0, 1.0 - across), (1, across)] {
                    let tile = rows.histogram(top + dy) * (columns.tiles - 1) + columns.histogram(left + dx);
                    // The product of the weights first, as NumPy takes it.
                    sum += (f64::from(maps[tile * bins + bin]) * (weight_x * weight_y)) as f32;
                }
            }
            // Whole grey levels again.
            out.push(sum.trunc());
        }
    }
    let (least, most) = extremes(&out);
    if least >= most {
        return None;
    }
    for value in &mut out {
        *value = (*value - least) / (most - least);
    }
    Some(out)
}

/// 16 bits, then 0 to 16383 from the least to the greatest.
fn greys(values: &[f32]) -> Option<Vec<u16>> {
    let words: Vec<u16> = values.iter().map(|v| (v * 65535.0).round_ties_even() as u16).collect();
    let (least, most) = (*words.iter().min()?, *words.iter().max()?);
    if least == most {
        return None;
    }
    let width = f64::from(most - least);
    let scaled = words.iter().map(|&word| {
        let share = f64::from(word - least) / width;
        (share * (GREYS - 1) as f64).round_ties_even() as u16
    });
    Some(scaled.collect())
}

/// How far into its tile a pixel lies.
fn share(at: usize, axis: Axis) -> f64 {
    ((at + axis.before) % axis.kernel) as f64 / axis.kernel as f64
}

/// The equalising table of each tile that has a histogram, row by row, `bins` entries each.
fn maps(binned: &[u16], rows: Axis, columns: Axis, clip_limit: f64, bins: usize) -> Vec<u16> {
    let area = rows.kernel * columns.kernel;
    let limit = if clip_limit > 0.0 { (clip_limit * area as f64).max(1.0) as i64 } else { area as i64 };
    let scale = (GREYS - 1) as f64 / area as f64;
    let mut maps = Vec::new();
    for tile_y in 0..rows.tiles - 1 {
        for tile_x in 0..columns.tiles - 1 {
            let mut counts = vec![0i64; bins];
            for y in 0..rows.kernel {
                let row = rows.source(rows.before + tile_y * rows.kernel + y) * columns.side;
                for x in 0..columns.kernel {
                    let column = columns.source(columns.before + tile_x * columns.kernel + x);
                    counts[usize::from(binned[row + column])] += 1;
                }
            }
            limited(&mut counts, limit);
            let mut sum = 0;
            maps.extend(counts.iter().map(|count| {
                sum += count;
                (sum as f64 * scale).min((GREYS - 1) as f64) as u16
            }));
        }
    }
    maps
}

/// scikit-image's `clip_histogram`.
fn limited(counts: &mut [i64], limit: i64) {
    let size = counts.len() as i64;
    let mut excess: i64 = counts.iter().map(|count| (count - limit).max(0)).sum();
    for count in counts.iter_mut() {
        *count = (*count).min(limit);
    }
    let each = excess / size;
    let upper = limit - each;
    for count in counts.iter_mut().filter(|count| **count < upper) {
        excess -= each;
        *count += each;
    }
    for count in counts.iter_mut().filter(|count| (upper..limit).contains(*count)) {
        excess -= limit - *count;
        *count = limit;
    }
    while excess > 0 {
        let before = excess;
        for first in 0..counts.len() {
            let under = counts.iter().filter(|count| **count < limit).count() as i64;
            let step = (under / excess).max(1) as usize;
            for count in counts.iter_mut().skip(first).step_by(step).filter(|count| **count < limit) {
                *count += 1;
                excess -= 1;
            }
            if excess <= 0 {
                break;
            }
        }
        if before == excess {
            break;
        }
    }
}
