//! How the axes of a volume are permuted and flipped, and where its voxels lie then.

use nightread_volume::Affine;

use super::error::PrepareError;
use crate::recipe::Orientation;

/// The voxel edges of anything that could be a CT, in millimetres.
const VOXEL_MM: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// No voxel lies farther from the scanner's origin, in millimetres; beyond, differences of places lose their digits.
const FARTHEST_MM: f64 = 1e6;

/// More voxels along one axis are no grid: products of three such lengths can be counted, and tables for each axis are small.
pub const MOST_VOXELS: usize = 65_535;

/// One axis of the turned volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedAxis {
    pub source_axis: usize,
    pub flipped: bool,
    /// Voxels along it.
    pub length: usize,
}

/// A volume with its axes permuted and flipped. Nothing is moved: values are read where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Turned {
    pub axes: [TurnedAxis; 3],
    /// Turned voxel to millimetres.
    pub affine: Affine,
}

impl Turned {
    /// # Errors
    /// The shape or the affine is no volume's.
    pub fn new(
        shape: [usize; 3],
        affine: [[f64; 4]; 3],
        orientation: Orientation,
    ) -> Result<Self, PrepareError> {
        if shape.contains(&0) {
            return Err(PrepareError::Empty { shape });
        }
        if shape.iter().any(|length| *length > MOST_VOXELS) {
            return Err(PrepareError::TooLong { shape: shape.map(|length| length as f64) });
        }
        let affine = Affine(affine);
        if !affine.0.iter().flatten().all(|mm| mm.abs() <= FARTHEST_MM) {
            return Err(PrepareError::Affine);
        }
        if let Some(mm) = affine.voxel_mm().into_iter().find(|mm| !VOXEL_MM.contains(mm)) {
            return Err(PrepareError::VoxelSize { mm });
        }
        let closest = closest_canonical(&affine)?;
        let axes = match orientation {
            Orientation::Ras => closest,
            Orientation::Source => [(0, false), (1, false), (2, false)],
        }
        .map(|(source_axis, flipped)| TurnedAxis {
            source_axis,
            flipped,
            length: shape[source_axis],
        });
        Ok(Self { axes, affine: affine.compose(&to_source(&axes)) })
    }

    pub fn shape(&self) -> [usize; 3] {
        self.axes.map(|axis| axis.length)
    }

    /// Source voxel to turned voxel.
    pub fn source_to_turned(&self) -> Affine {
        let mut rows = [[0.0; 4]; 3];
        for (row, axis) in rows.iter_mut().zip(&self.axes) {
            row[axis.source_axis] = if axis.flipped { -1.0 } else { 1.0 };
            row[3] = if axis.flipped { (axis.length - 1) as f64 } else { 0.0 };
        }
        Affine(rows)
    }
}

/// Turned voxel to source voxel.
fn to_source(axes: &[TurnedAxis; 3]) -> Affine {
    let mut rows = [[0.0; 4]; 3];
    for (at, axis) in axes.iter().enumerate() {
        let row = &mut rows[axis.source_axis];
        row[at] = if axis.flipped { -1.0 } else { 1.0 };
        row[3] = if axis.flipped { (axis.length - 1) as f64 } else { 0.0 };
    }
    Affine(rows)
}

/// The source axis that each of x, y, z runs along most, and whether backwards: `nibabel.io_orientation` (5.4), which
/// looks at the rotation nearest to the affine and assigns source axes from the plainest to the least plain.
fn closest_canonical(affine: &Affine) -> Result<[(usize, bool); 3], PrepareError> {
    let mut rotation = nearest_rotation(affine)?;
    let plainness = |axis: usize, rotation: &[[f64; 3]; 3]| -> f64 {
        rotation.iter().map(|row| row[axis].powi(2)).fold(0.0, f64::max)
    };
    let mut source_axes = [0, 1, 2];
    source_axes.sort_by(|&a, &b| plainness(b, &rotation).total_cmp(&plainness(a, &rotation)));
    let mut closest = [None; 3];
    for source_axis in source_axes {
        let mut most = 0;
        for world in 1..3 {
            if rotation[world][source_axis].abs() > rotation[most][source_axis].abs() {
                most = world;
            }
        }
        closest[most] = Some((source_axis, rotation[most][source_axis] < 0.0));
        rotation[most] = [0.0; 3];
    }
    match closest {
        [Some(x), Some(y), Some(z)] => Ok([x, y, z]),
        _ => Err(PrepareError::Affine),
    }
}

/// The orthogonal factor of the affine's polar decomposition, by Newton's iteration (Higham 1986): the average of a matrix
/// and its inverse's transpose, until it stays.
fn nearest_rotation(affine: &Affine) -> Result<[[f64; 3]; 3], PrepareError> {
    let mm = affine.voxel_mm();
    let mut matrix = affine.0.map(|row| [row[0] / mm[0], row[1] / mm[1], row[2] / mm[2], 0.0]);
    for _ in 0..60 {
        let inverse = Affine(matrix).inverse().ok_or(PrepareError::Affine)?.0;
        let mut moved: f64 = 0.0;
        for (i, row) in matrix.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().take(3).enumerate() {
                let next = f64::midpoint(*cell, inverse[j][i]);
                moved = moved.max((next - *cell).abs());
                *cell = next;
            }
        }
        if moved < 1e-15 {
            break;
        }
    }
    Ok(matrix.map(|row| [row[0], row[1], row[2]]))
}
