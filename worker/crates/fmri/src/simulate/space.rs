//! Space: Gaussian smoothing, smooth deformations, and the baseline image.

use nightread_volume::Grid;
use std::f64::consts::TAU;

use super::BASELINE;
use crate::random::Random;

/// A separable Gaussian on a grid.
pub(super) struct Blur {
    dims: [usize; 3],
    /// Half kernels by axis: centre first.
    kernels: [Vec<f32>; 3],
}

impl Blur {
    /// `fwhm_mm`: full width at half maximum.
    pub fn new(grid: &Grid, fwhm_mm: f64) -> Self {
        let kernels = grid.affine.voxel_mm().map(|size| {
            let sigma = fwhm_mm / 2.354_82 / size;
            let radius = (3.0 * sigma).ceil() as usize;
            // At the centre 1, even where sigma is 0.
            let weights: Vec<f64> = (0..=radius)
                .map(|n| if n == 0 { 1.0 } else { (-0.5 * (n as f64 / sigma).powi(2)).exp() })
                .collect();
            let sum: f64 = 2.0 * weights.iter().sum::<f64>() - 1.0;
            weights.iter().map(|weight| (weight / sum) as f32).collect()
        });
        Self { dims: grid.dims, kernels }
    }

    /// By how much white noise has to be stronger to keep its standard deviation.
    pub fn noise_gain(&self) -> f64 {
        let powers = self.kernels.iter().map(|kernel| {
            2.0 * kernel.iter().map(|x| f64::from(x * x)).sum::<f64>() - f64::from(kernel[0]).powi(2)
        });
        powers.product::<f64>().sqrt().recip()
    }

    /// Smooths a volume in place; outside of the grid there is nothing.
    pub fn apply(&self, volume: &mut [f32]) {
        let [nx, ny, nz] = self.dims;
        let strides = [1, nx, nx * ny];
        let mut scratch = vec![0f32; volume.len()];
        for (axis, kernel) in self.kernels.iter().enumerate().filter(|(_, kernel)| kernel.len() > 1) {
            let (stride, length) = (strides[axis], self.dims[axis]);
            // Whole planes move by a step along the axis, so that the inner loop runs over neighbours in memory.
            let block = stride * length;
            scratch.fill(0.0);
            for (source, target) in volume.chunks(block).zip(scratch.chunks_mut(block)) {
                for (n, &weight) in kernel.iter().enumerate().take(length) {
                    let shift = n * stride;
                    for (out, x) in target[shift..].iter_mut().zip(source) {
                        *out += weight * x;
                    }
                    if n > 0 {
                        for (out, x) in target.iter_mut().zip(&source[shift..]) {
                            *out += weight * x;
                        }
                    }
                }
            }
            volume.copy_from_slice(&scratch);
            debug_assert_eq!(block * (nx * ny * nz / block), volume.len());
        }
    }
}

/// A sum of plane waves over world space.
pub(super) struct Waves(Vec<([f64; 3], f64, f64)>);

impl Waves {
    /// Wavelengths of 70 to 200 mm; standard deviation one.
    pub fn new(random: &mut Random) -> Self {
        const COUNT: usize = 5;
        let waves = (0..COUNT).map(|_| {
            let direction = [random.normal(), random.normal(), random.normal()];
            let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-9);
            let rate = TAU / random.between(70.0, 200.0) / norm;
            (direction.map(|x| x * rate), random.between(0.0, TAU), (2.0 / COUNT as f64).sqrt())
        });
        Self(waves.collect())
    }

    pub fn at(&self, [x, y, z]: [f64; 3]) -> f64 {
        self.0.iter().map(|([a, b, c], phase, size)| size * (a * x + b * y + c * z + phase).sin()).sum()
    }
}

/// A smooth displacement, one of its own for every subject.
pub(super) struct Deformation {
    waves: [Waves; 3],
    shift: [f64; 3],
    size_mm: f64,
}

impl Deformation {
    /// `size_mm`: standard deviation of the displacement along every axis.
    pub fn new(random: &mut Random, size_mm: f64) -> Self {
        let waves = [Waves::new(random), Waves::new(random), Waves::new(random)];
        let shift = [0.0; 3].map(|_: f64| 0.5 * size_mm * random.normal());
        Self { waves, shift, size_mm }
    }

    pub fn apply(&self, place: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| place[axis] + self.shift[axis] + self.size_mm * self.waves[axis].at(place))
    }
}

/// A network in one subject: moved, smoothed, and stronger here than there. In the mask's order.
pub(super) fn subject_map(
    map: &[f32],
    grid: &Grid,
    mask: &[u32],
    deformation: &Deformation,
    blur: &Blur,
    random: &mut Random,
) -> Vec<f32> {
    let waves = Waves::new(random);
    let mut smooth = map.to_vec();
    blur.apply(&mut smooth);
    let Some(inverse) = grid.affine.inverse() else { return vec![0.0; mask.len()] };
    mask.iter()
        .map(|&v| {
            let place = grid.world(v as usize);
            let value = trilinear(&smooth, grid.dims, inverse.apply(deformation.apply(place)));
            value * (0.35 * waves.at(place)).exp() as f32
        })
        .collect()
}

fn trilinear(volume: &[f32], dims: [usize; 3], at: [f64; 3]) -> f32 {
    let mut low = [0usize; 3];
    let mut share = [0f64; 3];
    for axis in 0..3 {
        let x = at[axis].clamp(0.0, (dims[axis] - 1) as f64);
        low[axis] = (x as usize).min(dims[axis].saturating_sub(2));
        share[axis] = x - low[axis] as f64;
    }
    let mut sum = 0.0;
    for corner in 0..8usize {
        let (mut index, mut stride, mut weight) = (0, 1, 1.0);
        for axis in 0..3 {
            let high = corner >> axis & 1;
            index += (low[axis] + high).min(dims[axis] - 1) * stride;
            stride *= dims[axis];
            weight *= if high == 1 { share[axis] } else { 1.0 - share[axis] };
        }
        sum += weight * f64::from(volume[index]);
    }
    sum as f32
}

/// Scales a map so that its greatest absolute value is `peak`.
pub(super) fn scaled(mut map: Vec<f32>, peak: f64) -> Vec<f32> {
    let greatest = map.iter().fold(0f32, |best, x| best.max(x.abs()));
    if greatest > 0.0 {
        let factor = (peak / f64::from(greatest)) as f32;
        for x in &mut map {
            *x *= factor;
        }
    }
    map
}

/// The mean image: brighter and darker by a smooth field, fading towards the brain's border.
pub(super) fn baseline(grid: &Grid, mask: &[u32], random: &mut Random) -> Vec<f32> {
    let waves = Waves::new(random);
    let mut edge = vec![0f32; grid.len()];
    for &v in mask {
        edge[v as usize] = 1.0;
    }
    Blur::new(grid, 6.0).apply(&mut edge);
    mask.iter()
        .map(|&v| {
            let field = (0.15 * waves.at(grid.world(v as usize))).exp();
            (BASELINE * field * f64::from(0.3 + 0.7 * edge[v as usize])) as f32
        })
        .collect()
}
