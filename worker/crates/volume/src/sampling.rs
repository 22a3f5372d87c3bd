//! Sampling one grid at chosen voxels of another.

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::grid::{Grid, GridRelation};

/// One volume's way from a source grid onto chosen voxels of a target grid.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// Source index of every target voxel.
    Direct(Vec<u32>),
    /// Eight source indices with their trilinear weights for every target voxel.
    Trilinear { indices: Vec<[u32; 8]>, weights: Vec<[f32; 8]> },
}

/// A sampler with the target voxels that the source does not reach.
#[derive(Clone, Debug)]
pub struct Sampling {
    pub relation: GridRelation,
    pub sampler: Sampler,
    /// Positions in the list of target voxels (not voxel indices) that lie outside of the source.
    pub outside: Vec<usize>,
}

impl Sampling {
    /// Plans the sampling of `source` at the voxels `wanted` (linear indices) of `target`.
    ///
    /// A position up to half a voxel outside of the outermost centres takes the border's value; farther ones are
    /// listed in `outside` and sample voxel 0 with weight zero. Weights are trilinear in the source's voxel space.
    ///
    /// # Errors
    /// `grid_mismatch` when an affine is singular or the source has more than 2^32 voxels.
    pub fn plan(source: &Grid, target: &Grid, wanted: &[u32]) -> Result<Self, JobError> {
        let relation =
            target.relation(source).ok_or_else(|| refuse("the affine of a grid cannot be inverted"))?;
        if u32::try_from(source.len()).is_err() || source.is_empty() {
            return Err(refuse("the grid is empty or too large to be resampled"));
        }
        if relation == GridRelation::Same {
            return Ok(Self { relation, sampler: Sampler::Direct(wanted.to_vec()), outside: Vec::new() });
        }
        let inverse =
            source.affine.inverse().ok_or_else(|| refuse("the scan's affine cannot be inverted"))?;
        let to_source = inverse.compose(&target.affine);
        let places =
            wanted.iter().map(|&voxel| to_source.apply(target.position(voxel as usize).map(|x| x as f64)));
        let [nx, ny, _] = source.dims;
        if relation == GridRelation::Reordered {
            let direct = places.map(|place| {
                let [i, j, k] = place.map(|x| x.round() as usize);
                (i + nx * (j + ny * k)) as u32
            });
            return Ok(Self { relation, sampler: Sampler::Direct(direct.collect()), outside: Vec::new() });
        }
        let (mut indices, mut weights, mut outside) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, place) in places.enumerate() {
            if let Some((index, weight)) = corners_of(place, source.dims) {
                indices.push(index);
                weights.push(weight);
            } else {
                outside.push(nth);
                indices.push([0; 8]);
                weights.push([0.0; 8]);
            }
        }
        Ok(Self { relation, sampler: Sampler::Trilinear { indices, weights }, outside })
    }

    /// Samples a whole volume held as one slice, in the order of the wanted voxels.
    pub fn apply(&self, volume: &[f64], out: &mut [f64]) {
        match &self.sampler {
            Sampler::Direct(indices) => {
                for (out, &index) in out.iter_mut().zip(indices) {
                    *out = volume[index as usize];
                }
            }
            Sampler::Trilinear { indices, weights } => {
                for ((out, index), weight) in out.iter_mut().zip(indices).zip(weights) {
                    *out = index.iter().zip(weight).map(|(&i, &w)| volume[i as usize] * f64::from(w)).sum();
                }
            }
        }
    }
}

fn refuse(message: &str) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::GridMismatch, message)
}

/// The eight neighbours of a position and their weights; `None` when it lies outside of the grid.
fn corners_of(position: [f64; 3], dims: [usize; 3]) -> Option<([u32; 8], [f32; 8])> {
    let mut low = [0usize; 3];
    let mut share = [0.0f64; 3];
    for axis in 0..3 {
        let last = (dims[axis] - 1) as f64;
        let x = position[axis];
        if !(-0.5..=last + 0.5).contains(&x) {
            return None;
        }
        let x = x.clamp(0.0, last);
        low[axis] = (x.floor() as usize).min(dims[axis].saturating_sub(2));
        share[axis] = x - low[axis] as f64;
    }
    let weights: [f64; 8] = std::array::from_fn(|corner| {
        (0..3).map(|axis| if corner >> axis & 1 == 1 { share[axis] } else { 1.0 - share[axis] }).product()
    });
    let heaviest = (0..8).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap_or(0);
    // A neighbour without weight must not bring in its NaN.
    let indices = std::array::from_fn(|corner| {
        let corner = if weights[corner] > 0.0 { corner } else { heaviest };
        let at: [usize; 3] =
            std::array::from_fn(|axis| (low[axis] + (corner >> axis & 1)).min(dims[axis] - 1));
        (at[0] + dims[0] * (at[1] + dims[1] * at[2])) as u32
    });
    Some((indices, weights.map(|w| w as f32)))
}
