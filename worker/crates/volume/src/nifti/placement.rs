//! Where a volume lies in the world: method 3 (sform), else method 2 (qform), else nowhere (`nifti1.h`).

use nightread_domain::{JobError, Warning, WarningCode};

use super::orientation::Orientation;
use super::raw::{Raw, invalid};
use crate::affine::Affine;
use crate::grid::Grid;

/// Places of voxels that differ by more than this share of a voxel are two places: qform holds a rotation in single
/// precision and cannot hold a shear.
const APART: f64 = 0.5;

/// The affine: sform, else qform, else voxel sizes alone. Warns when both forms are there and contradict each other.
pub(super) fn placement(
    raw: &Raw,
    dims: [usize; 3],
    warnings: &mut Vec<Warning>,
) -> Result<(Affine, Orientation), JobError> {
    let (affine, orientation) = if raw.sform_code > 0 {
        warnings.extend(contradiction(raw, dims));
        (Affine(raw.srow), Orientation::Sform(raw.sform_code))
    } else if raw.qform_code > 0 {
        (from_quaternion(raw)?, Orientation::Qform(raw.qform_code))
    } else {
        let [x, y, z] = [1, 2, 3].map(|axis| voxel_size(raw.pixdim[axis]));
        let rows = [[x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0]];
        (Affine(rows), Orientation::Unknown)
    };
    if affine.inverse().is_none() {
        return Err(invalid("the header's affine is singular or not a number"));
    }
    Ok((affine, orientation))
}

/// In millimetres; 1 where the header gives none.
fn voxel_size(pixdim: f64) -> f64 {
    let size = pixdim.abs();
    if size.is_finite() && size > 0.0 { size } else { 1.0 }
}

/// sform and qform may well name two spaces (MNI and the scanner), but not two directions of one axis, and not two
/// places in one space.
fn contradiction(raw: &Raw, dims: [usize; 3]) -> Option<Warning> {
    if raw.qform_code <= 0 {
        return None;
    }
    let (sform, qform) = (Affine(raw.srow), from_quaternion(raw).ok()?);
    let (inverse, (s, q)) = (sform.inverse()?, (sform.axis_codes(), qform.axis_codes()));
    let words = if s != q {
        format!("the header's qform says axes {q}, its sform {s}")
    } else if raw.qform_code == raw.sform_code {
        let to_sform = inverse.compose(&qform);
        let grid = Grid { dims, affine: sform };
        let farthest = grid.corners().into_iter().flat_map(|corner| {
            let moved = to_sform.apply(corner);
            (0..3).map(move |axis| (moved[axis] - corner[axis]).abs())
        });
        let farthest = farthest.fold(0.0, f64::max);
        if farthest <= APART {
            return None;
        }
        format!("the header's qform and sform have one code and lie up to {farthest:.1} voxels apart")
    } else {
        return None;
    };
    Some(Warning::new(WarningCode::QformDisagrees, format!("{words}; the sform was taken")))
}

/// Method 2 of `nifti1.h`: rotation from the unit quaternion (a, b, c, d), columns scaled by the voxel sizes,
/// the third also by `qfac`, then the offset.
fn from_quaternion(raw: &Raw) -> Result<Affine, JobError> {
    let [b, c, d, x, y, z] = raw.quaternion;
    let rest = 1.0 - (b * b + c * c + d * d);
    // Single precision leaves the square sum a little over one; farther off it is no rotation.
    if rest.is_nan() || rest < -1e-5 {
        return Err(invalid("the header's quaternion is not a rotation"));
    }
    let a = rest.max(0.0).sqrt();
    let qfac = if raw.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let s = [raw.pixdim[1], raw.pixdim[2], raw.pixdim[3] * qfac];
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let offset = [x, y, z];
    Ok(Affine(std::array::from_fn(|r| {
        [rotation[r][0] * s[0], rotation[r][1] * s[1], rotation[r][2] * s[2], offset[r]]
    })))
}
