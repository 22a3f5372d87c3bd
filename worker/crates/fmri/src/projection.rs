//! The classifier's input: three orthogonal sum-projections of a component map.

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_volume::{Affine, Grid};

/// The standard grid of 45x54x45 voxels of 4 mm in MNI152 space that the classifier's input is made on.
pub const MNI_4MM: Grid = Grid {
    dims: [45, 54, 45],
    affine: Affine([[-4.0, 0.0, 0.0, 90.0], [0.0, 4.0, 0.0, -126.0], [0.0, 0.0, 4.0, -72.0]]),
};

/// Side of the cube that is projected, in voxels of 4 mm.
pub const SIDE: usize = 45;

/// Values of one input, (3, 45, 45).
pub const INPUT_LEN: usize = 3 * SIDE * SIDE;

/// How maps become inputs; the model's manifest says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProjectionOptions {
    /// First kept voxel along y, of a grid longer than 45 there.
    pub crop_offset_y: usize,
    /// After the joint min-max to 0..1: `(x * scale - mean[c]) / std[c]`.
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self { crop_offset_y: 4, scale: 1.0, mean: [0.0; 3], std: [1.0; 3] }
    }
}

/// Where a voxel of an axis of `length` falls in the cube: cropped or zero-padded around the middle, or cropped at
/// `offset` when one is given.
fn window(length: usize, offset: Option<usize>) -> impl Fn(usize) -> Option<usize> {
    let crop = offset.unwrap_or(length.saturating_sub(SIDE) / 2);
    let pad = SIDE.saturating_sub(length) / 2;
    move |i| (i + pad).checked_sub(crop).filter(|&x| x < SIDE)
}

/// Projects one map, given at the voxels `mask` (linear indices) of a grid of `dims`.
///
/// With V the map cropped or padded to 45^3: channel 0 is sum_z V at [x, y], channel 1 sum_x V at [y, z], channel 2
/// sum_y V at [x, z]; then one min-max over all three to 0..1, and the manifest's affine. Sums are in double
/// precision; values that are not finite count as zero. `None` when the projections are constant: such a map says
/// nothing and is not to be classified.
///
/// # Errors
/// `grid_mismatch` when the crop offset leaves fewer than 45 voxels along y.
pub fn project(
    dims: [usize; 3],
    mask: &[u32],
    values: &[f32],
    options: &ProjectionOptions,
) -> Result<Option<Vec<f32>>, JobError> {
    let [nx, ny, nz] = dims;
    if ny >= SIDE && options.crop_offset_y + SIDE > ny {
        let message = format!("a crop at {} leaves fewer than {SIDE} of {ny} voxels", options.crop_offset_y);
        return Err(JobError::new(Stage::Preprocess, ErrorCode::GridMismatch, message));
    }
    let (wx, wy, wz) =
        (window(nx, None), window(ny, (ny >= SIDE).then_some(options.crop_offset_y)), window(nz, None));
    let mut sums = vec![0f64; INPUT_LEN];
    let (xy, rest) = sums.split_at_mut(SIDE * SIDE);
    let (yz, xz) = rest.split_at_mut(SIDE * SIDE);
    for (&voxel, &value) in mask.iter().zip(values) {
        let voxel = voxel as usize;
        let (i, j, k) = (wx(voxel % nx), wy(voxel / nx % ny), wz(voxel / nx / ny));
        if let (Some(i), Some(j), Some(k), true) = (i, j, k, value.is_finite()) {
            let value = f64::from(value);
            xy[i * SIDE + j] += value;
            yz[j * SIDE + k] += value;
            xz[i * SIDE + k] += value;
        }
    }
    let low = sums.iter().copied().fold(f64::INFINITY, f64::min);
    let high = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high <= low || !(high - low).is_finite() {
        return Ok(None);
    }
    let out = sums.iter().enumerate().map(|(n, x)| {
        let channel = n / (SIDE * SIDE);
        (((x - low) / (high - low)) as f32 * options.scale - options.mean[channel]) / options.std[channel]
    });
    Ok(Some(out.collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;
    use proptest::prelude::*;

    fn row_sum(plane: &[f32], row: usize) -> f64 {
        plane[row * 45..(row + 1) * 45].iter().map(|&x| f64::from(x)).sum()
    }

    fn column_sum(plane: &[f32], column: usize) -> f64 {
        plane.iter().skip(column).step_by(45).map(|&x| f64::from(x)).sum()
    }

    fn all(dims: [usize; 3]) -> Vec<u32> {
        (0..dims.iter().product::<usize>() as u32).collect()
    }

    #[test]
    fn one_voxel_lands_in_all_three_planes() {
        let dims = [45, 54, 45];
        let (i, j, k) = (10usize, 20usize, 30usize);
        let voxel = (i + 45 * (j + 54 * k)) as u32;
        let out = project(dims, &[voxel], &[-2.0], &ProjectionOptions::default()).unwrap().unwrap();
        let j = j - 4;
        // A negative voxel is the joint minimum; everything else is the maximum.
        let dark: Vec<usize> = (0..INPUT_LEN).filter(|&n| out[n] == 0.0).collect();
        assert_eq!(dark, [i * 45 + j, 2025 + j * 45 + k, 4050 + i * 45 + k]);
        assert!(out.iter().all(|&x| x == 0.0 || x == 1.0));
        // A voxel outside of the crop is not seen at all.
        assert!(project(dims, &[0], &[5.0], &ProjectionOptions::default()).unwrap().is_none());
    }

    #[test]
    fn constant_maps_say_nothing() {
        let options = ProjectionOptions::default();
        assert!(project([45, 54, 45], &[], &[], &options).unwrap().is_none());
        assert!(
            project([45, 54, 45], &all([45, 54, 45]), &vec![0.0; 45 * 54 * 45], &options).unwrap().is_none()
        );
        assert!(project([45, 54, 45], &[5000], &[f32::NAN], &options).unwrap().is_none());
        let late = ProjectionOptions { crop_offset_y: 10, ..options };
        assert_eq!(project([45, 54, 45], &[0], &[1.0], &late).unwrap_err().code, ErrorCode::GridMismatch);
    }

    #[test]
    fn short_axes_are_padded_and_long_ones_cropped_around_the_middle() {
        let (short, long) = (window(41, None), window(53, None));
        assert_eq!((short(0), short(40)), (Some(2), Some(42)));
        assert_eq!((long(3), long(4), long(48), long(49)), (None, Some(0), Some(44), None));
    }

    proptest! {
        /// The three planes share their marginals, whatever the map; the affine is applied per channel.
        #[test]
        fn marginals_agree(values in prop::collection::vec(-5f32..5.0, 6 * 7 * 8)) {
            let dims = [6, 7, 8];
            let options = ProjectionOptions::default();
            let Some(out) = project(dims, &all(dims), &values, &options).unwrap() else { return Ok(()) };
            prop_assert!(out.iter().all(|x| (0.0..=1.0).contains(x)));
            let planes: Vec<&[f32]> = out.chunks(2025).collect();
            for n in 0..45 {
                prop_assert!((row_sum(planes[0], n) - row_sum(planes[2], n)).abs() < 1e-3);
                prop_assert!((column_sum(planes[0], n) - row_sum(planes[1], n)).abs() < 1e-3);
                prop_assert!((column_sum(planes[1], n) - column_sum(planes[2], n)).abs() < 1e-3);
            }
            let turned = ProjectionOptions { scale: 2.0, mean: [0.1, 0.2, 0.3], std: [1.0, 2.0, 4.0], ..options };
            let other = project(dims, &all(dims), &values, &turned).unwrap().unwrap();
            for n in 0..INPUT_LEN {
                let c = n / 2025;
                let want = (out[n] * 2.0 - [0.1, 0.2, 0.3][c]) / [1.0, 2.0, 4.0][c];
                prop_assert!((other[n] - want).abs() < 1e-6);
            }
        }
    }
}
