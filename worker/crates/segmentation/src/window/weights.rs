//! How much each voxel of a patch counts.

use super::starts::Rule;

/// The smallest weight of nnU-Net: its map has a peak of 10 in half precision, whose smallest number is 2^-24.
const NNUNET_FLOOR: f64 = 1.0 / 167_772_160.0;
/// The smallest weight of MONAI (`compute_importance_map`).
const MONAI_FLOOR: f64 = 1e-3;

/// Weights as a product of three curves, and what takes the place of products that are too small.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One curve for each axis, of the patch's length.
    curves: [Vec<f32>; 3],
    /// A product under this becomes `floor`.
    threshold: f32,
    floor: f32,
}

impl Weights {
    /// Equal weights without a sigma, else Gaussian ones with a sigma of `sigma_scale` patches.
    ///
    /// nnU-Net (`compute_gaussian`): centre at `patch / 2` rounded down, cut four sigmas away, peak 1; what half precision
    /// would round to zero becomes its smallest number. It keeps weights and sums in half precision, here they are single.
    /// MONAI: centre in the middle; nothing under 1e-3 or the smallest product, whichever is greater.
    pub fn new(rule: Rule, patch: [usize; 3], sigma_scale: Option<f64>) -> Self {
        let Some(scale) = sigma_scale else {
            return Self { curves: patch.map(|length| vec![1.0; length]), threshold: 0.0, floor: 0.0 };
        };
        match rule {
            Rule::NnUnet => {
                let curves = patch.map(|length| cut(length, scale));
                Self { curves, threshold: NNUNET_FLOOR as f32 / 2.0, floor: NNUNET_FLOOR as f32 }
            }
            Rule::Monai => {
                let curves = patch.map(|length| centred(length, scale));
                let least: f32 = curves.iter().map(|curve| curve[0]).product();
                let floor = least.max(MONAI_FLOOR as f32);
                Self { curves, threshold: floor, floor }
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
        if product < self.threshold { self.floor } else { product }
    }
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
