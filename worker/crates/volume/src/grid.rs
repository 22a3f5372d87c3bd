//! Voxel grids in world space: affines, how two grids relate, and sampling one on the other.

use nightread_domain::{ErrorCode, JobError, Stage};

/// A 3x4 affine from voxel indices (i, j, k) to world millimetres, rows first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [[f64; 4]; 3]);

impl Affine {
    /// World position of a voxel position, in millimetres.
    pub fn apply(&self, p: [f64; 3]) -> [f64; 3] {
        self.0.map(|row| row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3])
    }

    /// Determinant of the linear part: the signed voxel volume in cubic millimetres.
    pub fn determinant(&self) -> f64 {
        let m = &self.0;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }

    /// The inverse, from world millimetres to voxel positions; `None` when the affine is singular or not finite.
    pub fn inverse(&self) -> Option<Self> {
        let m = &self.0;
        let det = self.determinant();
        if !det.is_finite() || det.abs() < 1e-12 || m.iter().flatten().any(|x| !x.is_finite()) {
            return None;
        }
        let mut out = [[0.0; 4]; 3];
        for (i, row) in out.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().take(3).enumerate() {
                // Cofactor of (j, i), with indices taken cyclically so that its sign is built in.
                let (a, b) = ((j + 1) % 3, (j + 2) % 3);
                let (c, d) = ((i + 1) % 3, (i + 2) % 3);
                *cell = (m[a][c] * m[b][d] - m[a][d] * m[b][c]) / det;
            }
            row[3] = -(row[0] * m[0][3] + row[1] * m[1][3] + row[2] * m[2][3]);
        }
        Some(Self(out))
    }

    /// `self` after `first`.
    #[must_use]
    pub fn compose(&self, first: &Self) -> Self {
        let (a, b) = (&self.0, &first.0);
        let mut out = [[0.0; 4]; 3];
        for (i, row) in out.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                *cell = a[i][0] * b[0][j]
                    + a[i][1] * b[1][j]
                    + a[i][2] * b[2][j]
                    + if j == 3 { a[i][3] } else { 0.0 };
            }
        }
        Self(out)
    }

    /// The direction of the world that each voxel axis runs along most: `RAS` when the first runs to the right.
    pub fn axis_codes(&self) -> String {
        let along = |j: usize| {
            let column = [self.0[0][j], self.0[1][j], self.0[2][j]];
            let most = (0..3).max_by(|&a, &b| column[a].abs().total_cmp(&column[b].abs())).unwrap_or(0);
            [["L", "R"], ["P", "A"], ["I", "S"]][most][usize::from(column[most] > 0.0)]
        };
        (0..3).map(along).collect()
    }

    /// Lengths of the voxel edges, in millimetres.
    pub fn voxel_mm(&self) -> [f64; 3] {
        std::array::from_fn(|j| (self.0[0][j].powi(2) + self.0[1][j].powi(2) + self.0[2][j].powi(2)).sqrt())
    }
}

/// A regular grid of voxels in world space; voxel (i, j, k) has index `i + nx * (j + ny * k)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    pub dims: [usize; 3],
    pub affine: Affine,
}

/// How one grid lies to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridRelation {
    /// Same dimensions, same affine.
    Same,
    /// The same voxel centres stored in another order (flipped or permuted axes): reordering is exact.
    Reordered,
    /// Other voxel centres: interpolation is needed.
    Different,
}

/// Voxel centres within this share of a voxel are the same place: headers hold single-precision affines.
const SAME_PLACE: f64 = 0.01;

impl Grid {
    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Voxel indices (i, j, k) of a linear index.
    pub fn position(&self, index: usize) -> [usize; 3] {
        let [nx, ny, _] = self.dims;
        [index % nx, index / nx % ny, index / nx / ny]
    }

    /// World position of a voxel's centre, in millimetres.
    pub fn world(&self, index: usize) -> [f64; 3] {
        self.affine.apply(self.position(index).map(|x| x as f64))
    }

    /// World position of the middle of the grid.
    pub fn centre(&self) -> [f64; 3] {
        self.affine.apply(self.dims.map(|n| (n.max(1) - 1) as f64 / 2.0))
    }

    /// "45x54x45 voxels of 4.00x4.00x4.00 mm".
    pub fn words(&self) -> String {
        let ([x, y, z], [a, b, c]) = (self.dims, self.affine.voxel_mm());
        format!("{x}x{y}x{z} voxels of {a:.2}x{b:.2}x{c:.2} mm")
    }

    /// The eight outermost voxel centres, as voxel positions.
    pub(crate) fn corners(&self) -> [[f64; 3]; 8] {
        std::array::from_fn(|c| {
            std::array::from_fn(
                |axis| if c >> axis & 1 == 1 { (self.dims[axis].max(1) - 1) as f64 } else { 0.0 },
            )
        })
    }

    /// How `other` lies to this grid. `None` when an affine cannot be inverted.
    pub fn relation(&self, other: &Self) -> Option<GridRelation> {
        let to_other = other.affine.inverse()?.compose(&self.affine);
        let close = |f: &dyn Fn([f64; 3]) -> [f64; 3]| {
            self.corners().iter().all(|&corner| {
                let (is, want) = (to_other.apply(corner), f(corner));
                is.iter().zip(want).all(|(a, b)| (a - b).abs() <= SAME_PLACE)
            })
        };
        if self.dims == other.dims && close(&|p| p) {
            return Some(GridRelation::Same);
        }
        let rounded = Affine(to_other.0.map(|row| row.map(f64::round)));
        // A signed permutation: one entry of one in every row, and invertible.
        let permutes = rounded.determinant().abs() > 0.5
            && (0..3).all(|i| (rounded.0[i][..3].iter().map(|x| x.abs()).sum::<f64>() - 1.0).abs() < 0.5);
        let fits = permutes
            && self.len() == other.len()
            && self.corners().iter().all(|&corner| {
                rounded.apply(corner).iter().zip(other.dims).all(|(x, n)| (0.0..n as f64).contains(x))
            });
        Some(if fits && close(&|p| rounded.apply(p)) {
            GridRelation::Reordered
        } else {
            GridRelation::Different
        })
    }
}

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
        let refuse = |message: &str| JobError::new(Stage::Preprocess, ErrorCode::GridMismatch, message);
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
        let place = |voxel: u32| to_source.apply(target.position(voxel as usize).map(|x| x as f64));
        let [nx, ny, _] = source.dims;
        if relation == GridRelation::Reordered {
            let direct = wanted.iter().map(|&voxel| {
                let [i, j, k] = place(voxel).map(|x| x.round() as usize);
                (i + nx * (j + ny * k)) as u32
            });
            return Ok(Self { relation, sampler: Sampler::Direct(direct.collect()), outside: Vec::new() });
        }
        let (mut indices, mut weights, mut outside) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, &voxel) in wanted.iter().enumerate() {
            if let Some((index, weight)) = corners_of(place(voxel), source.dims) {
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
    let index = |c: usize| {
        let at: [usize; 3] = std::array::from_fn(|axis| (low[axis] + (c >> axis & 1)).min(dims[axis] - 1));
        (at[0] + dims[0] * (at[1] + dims[1] * at[2])) as u32
    };
    let weight = |c: usize| -> f64 {
        (0..3).map(|axis| if c >> axis & 1 == 1 { share[axis] } else { 1.0 - share[axis] }).product()
    };
    let weights: [f64; 8] = std::array::from_fn(weight);
    let heaviest = (0..8).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap_or(0);
    // A neighbour without weight must not bring in its NaN.
    let indices = std::array::from_fn(|c| index(if weights[c] > 0.0 { c } else { heaviest }));
    Some((indices, weights.map(|w| w as f32)))
}

#[cfg(test)]
#[path = "grid_tests.rs"]
mod tests;
