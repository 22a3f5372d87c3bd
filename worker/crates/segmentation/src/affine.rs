//! What is read from the affine of a grid.

/// Volume of a voxel in cubic millimetres: the determinant of the linear part, without its sign.
pub fn voxel_mm3(affine: &[[f64; 4]; 3]) -> f64 {
    let [a, b, c] = affine;
    let minor = |i: usize, j: usize| b[i] * c[j] - b[j] * c[i];
    (a[0] * minor(1, 2) - a[1] * minor(0, 2) + a[2] * minor(0, 1)).abs()
}

/// World position of a voxel position, in mm.
pub fn world(affine: &[[f64; 4]; 3], at: [f64; 3]) -> [f64; 3] {
    affine.map(|row| row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3])
}
