//! Whether coefficients of a discrete cosine transform can come from an image.
//!
//! A bit error in entropy-coded data need not stop a decoder: it may give a coefficient so great that the inverse transform
//! leaves the range in which all decoders do the same. Some wrap around, some clamp, some overflow half-way, and each then
//! shows a block of its own that nobody warns of.

use libjpeg_turbo_rs::common::quant_table::{QuantTable, ZIGZAG_ORDER};
use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;

/// What a block's sizes must sum up to before it is looked at closely: 4 times the farthest sample of 8 bits, since no
/// coefficient moves a sample by more than a quarter of its size.
const SUSPECT: u16 = 2048;

/// What blocks of one component are held against.
pub(super) struct Plausible {
    quantisers: [i16; 64],
    exact: [[f32; 8]; 8],
    basis: [[f32; 8]; 8],
    /// How many times 8 bits' is `farthest`, as a power of two.
    depth: u32,
    /// How far from mid-grey a sample may be before it is clamped. Up to here libjpeg's table clamps it (8 bits), and every
    /// coefficient fits the 16 bits of the transforms (12 bits: no coefficient is more than 8 times the farthest sample).
    farthest: f32,
}

impl Plausible {
    pub(super) fn new(table: &QuantTable, precision: u8) -> Self {
        let depth = u32::from(precision.saturating_sub(8)).min(3);
        Self {
            quantisers: table.values.map(|value| value.min(SUSPECT) as i16),
            exact: square(|v, u| f32::from(table.values[8 * v + u])),
            basis: square(cosine),
            depth,
            farthest: (512u32 << depth) as f32,
        }
    }

    /// # Errors
    /// `decode_failed` for a block, in row order, whose samples would be far outside of the range.
    pub(super) fn check(&self, block: &[i16; 64]) -> Result<(), JobError> {
        if self.is_small(block) || self.stays_in_range(block) {
            return Ok(());
        }
        Err(refuse(
            ErrorCode::DecodeFailed,
            "the JPEG is damaged: a block of its pixels has coefficients that no image has",
        ))
    }

    /// The bound that nearly every block keeps, in 16-bit arithmetic that becomes vectors.
    fn is_small(&self, block: &[i16; 64]) -> bool {
        let depth = self.depth;
        let sum = block.iter().zip(&self.quantisers).fold(0i32, |sum, (&coefficient, &quantiser)| {
            // Rounded up to whole steps of 8 bits. Either factor alone can reach the sum; all together stay below 2^28.
            let size = (coefficient.unsigned_abs().saturating_add((1 << depth) - 1) >> depth).min(SUSPECT);
            sum.wrapping_add(i32::from(size as i16).wrapping_mul(i32::from(quantiser)))
        });
        sum < i32::from(SUSPECT)
    }

    /// The inverse transform, without rounding and clamping.
    fn stays_in_range(&self, block: &[i16; 64]) -> bool {
        let basis = &self.basis;
        let columns =
            square(|y, u| sum_of_eight(|v| basis[v][y] * f32::from(block[8 * v + u]) * self.exact[v][u]));
        let samples = square(|y, x| sum_of_eight(|u| basis[u][x] * columns[y][u]));
        samples.iter().flatten().all(|sample| sample.abs() < self.farthest)
    }
}

/// What the coefficient of frequency `u` gives to the sample at `x` of eight (T.81 A.3.3).
fn cosine(u: usize, x: usize) -> f32 {
    let scale = if u == 0 { 0.125f32.sqrt() } else { 0.5 };
    scale * (((2 * x + 1) * u) as f32 * std::f32::consts::PI / 16.0).cos()
}

fn sum_of_eight(f: impl Fn(usize) -> f32) -> f32 {
    (0..8).map(f).sum()
}

fn square(f: impl Fn(usize, usize) -> f32) -> [[f32; 8]; 8] {
    std::array::from_fn(|row| std::array::from_fn(|column| f(row, column)))
}

/// A block in row order of one in zigzag order.
pub(super) fn in_rows(zigzag: &[i16; 64]) -> [i16; 64] {
    let mut block = [0; 64];
    for (&at, &coefficient) in ZIGZAG_ORDER.iter().zip(zigzag) {
        block[at] = coefficient;
    }
    block
}
