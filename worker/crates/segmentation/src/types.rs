//! What both halves of this crate share: a volume, and the way back from the model's grid.

/// A volume where its voxels lie: values with axis 0 fastest, and voxel -> mm in RAS+.
#[derive(Clone, Debug)]
pub struct Grid<T> {
    pub shape: [usize; 3],
    pub affine: [[f64; 4]; 3],
    pub values: Vec<T>,
}

/// Where the indices of one axis of the source lie on one axis of the model's grid.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisMap {
    /// axis of the source
    pub source_axis: usize,
    /// coordinate on the model axis, for linear interpolation
    pub coordinates: Vec<f64>,
    /// index on the model axis, for nearest
    pub nearest: Vec<usize>,
}

/// The way back from the model's grid to the source's.
#[derive(Clone, Debug)]
pub enum Back {
    /// one map for each axis of the model's grid
    Separable([AxisMap; 3]),
    /// source voxel -> model voxel, for sheared (tilted) sources; nearest only
    Affine([[f64; 4]; 3]),
}
