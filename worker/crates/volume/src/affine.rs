//! Affines from voxels to world space.

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
        (0..3).map(|j| axis_code([self.0[0][j], self.0[1][j], self.0[2][j]])).collect()
    }

    /// Lengths of the voxel edges, in millimetres.
    pub fn voxel_mm(&self) -> [f64; 3] {
        std::array::from_fn(|j| (self.0[0][j].powi(2) + self.0[1][j].powi(2) + self.0[2][j].powi(2)).sqrt())
    }
}

/// The letter of the direction of the world that a column of an affine runs along most.
fn axis_code(column: [f64; 3]) -> &'static str {
    let most = (0..3).max_by(|&a, &b| column[a].abs().total_cmp(&column[b].abs())).unwrap_or(0);
    [["L", "R"], ["P", "A"], ["I", "S"]][most][usize::from(column[most] > 0.0)]
}
