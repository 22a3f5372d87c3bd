//! Voxel grids in world space, and how two of them lie to each other.

use crate::affine::Affine;

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
        let corners = self.corners();
        let keeps_places = corners.iter().all(|&corner| is_close(to_other.apply(corner), corner));
        if self.dims == other.dims && keeps_places {
            return Some(GridRelation::Same);
        }
        let rounded = Affine(to_other.0.map(|row| row.map(f64::round)));
        // A signed permutation: one entry of one in every row, and invertible.
        let permutes = rounded.determinant().abs() > 0.5
            && (0..3).all(|i| (rounded.0[i][..3].iter().map(|x| x.abs()).sum::<f64>() - 1.0).abs() < 0.5);
        let fits = permutes
            && self.len() == other.len()
            && corners.iter().all(|&corner| {
                let place = rounded.apply(corner);
                place.iter().zip(other.dims).all(|(x, n)| (0.0..n as f64).contains(x))
                    && is_close(to_other.apply(corner), place)
            });
        Some(if fits { GridRelation::Reordered } else { GridRelation::Different })
    }
}

/// Whether two positions in voxels are the same place.
fn is_close(one: [f64; 3], other: [f64; 3]) -> bool {
    one.iter().zip(other).all(|(a, b)| (a - b).abs() <= SAME_PLACE)
}

#[cfg(test)]
mod tests;
