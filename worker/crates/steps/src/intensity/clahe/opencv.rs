//! `cv2.createCLAHE(clipLimit, tileGridSize).apply` of 8-bit images, to the bit.

const BINS: usize = 256;

/// Tiles across and down, and their sides in pixels.
struct Grid {
    across: usize,
    down: usize,
    tile_width: usize,
    tile_height: usize,
}

/// `tiles`: across and down, each at least 1.
pub(crate) fn equalise(
    bytes: &[u8],
    width: usize,
    height: usize,
    clip_limit: f64,
    tiles: [usize; 2],
) -> Vec<u8> {
    let [across, down] = tiles;
    // Where one side does not divide, both are filled up: one that divides by a whole tile more.
    let (wide, high) = if width.is_multiple_of(across) && height.is_multiple_of(down) {
        (width, height)
    } else {
        (width + across - width % across, height + down - height % down)
    };
    let grid = Grid { across, down, tile_width: wide / across, tile_height: high / down };
    let tables = tables(bytes, width, height, &grid, clip_limit);
    interpolated(bytes, width, &grid, &tables)
}

/// The equalising table of each tile, row by row.
fn tables(bytes: &[u8], width: usize, height: usize, grid: &Grid, clip_limit: f64) -> Vec<[u8; BINS]> {
    let area = grid.tile_width * grid.tile_height;
    let scale = (BINS - 1) as f32 / area as f32;
    let limit = if clip_limit > 0.0 { ((clip_limit * area as f64 / BINS as f64) as i32).max(1) } else { 0 };
    let mut tables = Vec::with_capacity(grid.across * grid.down);
    for tile_y in 0..grid.down {
        for tile_x in 0..grid.across {
            let mut counts = [0i32; BINS];
            for y in tile_y * grid.tile_height..(tile_y + 1) * grid.tile_height {
                let row = mirrored(y, height) * width;
                for x in tile_x * grid.tile_width..(tile_x + 1) * grid.tile_width {
                    counts[usize::from(bytes[row + mirrored(x, width)])] += 1;
                }
            }
            if limit > 0 {
                limited(&mut counts, limit);
            }
            let mut table = [0; BINS];
            let mut sum = 0;
            for (entry, count) in table.iter_mut().zip(counts) {
                sum += count;
                *entry = (sum as f32 * scale).round_ties_even() as u8;
            }
            tables.push(table);
        }
    }
    tables
}

/// `BORDER_REFLECT_101`: beyond its last pixel the image runs backwards, without that pixel again.
fn mirrored(at: usize, side: usize) -> usize {
    if side == 1 {
        return 0;
    }
    let period = 2 * (side - 1);
    let at = at % period;
    at.min(period - at)
}

/// Cuts the counts at `limit` and spreads what was cut off evenly; the rest goes to bins at equal steps.
fn limited(counts: &mut [i32; BINS], limit: i32) {
    let bins = BINS as i32;
    let mut cut = 0;
    for count in counts.iter_mut() {
        cut += (*count - limit).max(0);
        *count = (*count).min(limit);
    }
    let each = cut / bins;
    let mut rest = cut - each * bins;
    for count in counts.iter_mut() {
        *count += each;
    }
    if rest == 0 {
        return;
    }
    let step = (bins / rest).max(1) as usize;
    for count in counts.iter_mut().step_by(step) {
        if rest == 0 {
            break;
        }
        *count += 1;
        rest -= 1;
    }
}

/// The two tiles on either side of a pixel's middle, and how much the second counts.
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

fn between(at: usize, tile: usize, tiles: usize) -> Between {
    let place = at as f32 * (1.0 / tile as f32) - 0.5;
    let floor = place.floor();
    let first = floor as isize;
    Between {
        first: first.max(0) as usize,
        second: ((first + 1).max(0) as usize).min(tiles - 1),
        share: place - floor,
    }
}

fn interpolated(bytes: &[u8], width: usize, grid: &Grid, tables: &[[u8; BINS]]) -> Vec<u8> {
    let columns: Vec<Between> = (0..width).map(|x| between(x, grid.tile_width, grid.across)).collect();
    let mut out = Vec::with_capacity(bytes.len());
    for (y, row) in bytes.chunks_exact(width).enumerate() {
        let down = between(y, grid.tile_height, grid.down);
        let (above, below) = (down.first * grid.across, down.second * grid.across);
        for (&value, column) in row.iter().zip(&columns) {
            let value = usize::from(value);
            let at = |row: usize, column: usize| f32::from(tables[row + column][value]);
            let share = column.share;
            let upper = at(above, column.first) * (1.0 - share) + at(above, column.second) * share;
            let lower = at(below, column.first) * (1.0 - share) + at(below, column.second) * share;
            let mixed = upper * (1.0 - down.share) + lower * down.share;
            out.push(mixed.round_ties_even() as u8);
        }
    }
    out
}
