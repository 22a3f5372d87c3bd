//! How much each voxel of a patch counts.

use super::starts::Rule;

/// The greatest weight of nnU-Net (`value_scaling_factor`). Its map has half precision, so this decides how weights round.
const NNUNET_PEAK: f32 = 10.0;
/// The smallest weight of nnU-Net: half precision's smallest number, 2^-24.
const NNUNET_FLOOR: f32 = 1.0 / 16_777_216.0;
/// The smallest weight of MONAI (`compute_importance_map`).
const MONAI_FLOOR: f32 = 1e-3;
/// Half precision's smallest number with all eleven bits, 2^-14; smaller ones are multiples of 2^-24.
const LEAST_NORMAL: f32 = 1.0 / 16_384.0;

/// Weights as a product of three curves, and what takes the place of products that are too small.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One curve for each axis, of the patch's length.
    curves: [Vec<f32>; 3],
    /// What the product is multiplied with.
    peak: f32,
    /// Whether weights are rounded to half precision.
    halved: bool,
    /// A weight under this becomes `floor`.
    threshold: f32,
    floor: f32,
}

impl Weights {
    /// Equal weights without a sigma, else Gaussian ones with a sigma of `sigma_scale` patches.
    ///
    /// nnU-Net (`compute_gaussian`): centre at `patch / 2` rounded down, cut four sigmas away, peak 10, rounded to half
    /// precision; what that makes zero becomes its smallest number. Near the corners of patches the rounding is a good part of
    /// a weight, and decides labels where nothing but corners meet. nnU-Net's sums have half precision too; here they are single.
    /// MONAI: centre in the middle; nothing under 1e-3 or the smallest product, whichever is greater.
    pub fn new(rule: Rule, patch: [usize; 3], sigma_scale: Option<f64>) -> Self {
        let Some(scale) = sigma_scale else {
            let curves = patch.map(|length| vec![1.0; length]);
            return Self { curves, peak: 1.0, halved: false, threshold: 0.0, floor: 0.0 };
        };
        match rule {
            Rule::NnUnet => {
                let curves = patch.map(|length| cut(length, scale));
                Self { curves, peak: NNUNET_PEAK, halved: true, threshold: NNUNET_FLOOR, floor: NNUNET_FLOOR }
            }
            Rule::Monai => {
                let curves = patch.map(|length| centred(length, scale));
                let least: f32 = curves.iter().map(|curve| curve[0]).product();
                let floor = least.max(MONAI_FLOOR);
                Self { curves, peak: 1.0, halved: false, threshold: floor, floor }
            }
        }
    }

    /// The factor of a voxel along one axis.
    pub fn along(&self, axis: usize) -> &[f32] {
        &self.curves[axis]
    }

    /// The weight whose three factors have this product.
    #[inline(always)]
    #[allow(clippy::inline_always)] // in the innermost loop of all
    pub fn of(&self, product: f32) -> f32 {
        let exact = product * self.peak;
        let weight = if self.halved { half(exact) } else { exact };
        if weight < self.threshold { self.floor } else { weight }
    }
}

/// The nearest number of half precision, halves to even, of what is neither negative nor over 65,504: without a branch, so
/// that compilers make vectors of it.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn half(value: f32) -> f32 {
    // Thirteen bits fewer; a carry into the exponent is what rounding up is.
    let bits = value.to_bits();
    let normal = f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff);
    // Around 0.75 single precision has steps of 2^-24.
    let small = (value + 0.75) - 0.75;
    if value < LEAST_NORMAL { small } else { normal }
}

/// SciPy's `gaussian_filter` of a single one at `length / 2`, scaled to a peak of one.
fn cut(length: usize, scale: f64) -> Vec<f32> {
    let sigma = length as f64 * scale;
    let radius = (4.0 * sigma + 0.5).floor();
    let at = |i: usize| {
        let away = i as f64 - (length / 2) as f64;
        if away.abs() > radius { 0.0 } else { (-0.5 * (away / sigma).powi(2)).exp() as f32 }
    };
    (0..length).map(at).collect()
}

fn centred(length: usize, scale: f64) -> Vec<f32> {
    let sigma = length as f64 * scale;
    let middle = (length as f64 - 1.0) / 2.0;
    (0..length).map(|i| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::half;

    /// Each number of half precision from 0 to 16 is itself, what lies between two becomes the nearer one, and the middle the
    /// one whose last bit is 0.
    #[test]
    fn halves_are_those_of_ieee_754() {
        let number = |bits: u32| {
            let (exponent, fraction) = (bits >> 10, (bits & 0x3ff) as f32);
            if exponent == 0 {
                fraction * 2f32.powi(-24)
            } else {
                (1024.0 + fraction) * 2f32.powi(exponent as i32 - 25)
            }
        };
        for bits in 0..0x4c00 {
            let (low, high) = (number(bits), number(bits + 1));
            let middle = f32::midpoint(low, high);
            let even = if bits % 2 == 0 { low } else { high };
            let found = [low, middle, middle.next_down(), middle.next_up()].map(half);
            assert_eq!(found.map(f32::to_bits), [low, even, low, high].map(f32::to_bits), "{bits}");
        }
    }
}
