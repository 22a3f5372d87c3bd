//! MONAI's grid (1.6, `Spacing` after `Orientation`): voxels lie where the affine says. Shear is taken out of it.

use std::ops::Range;

use nightread_volume::Affine;

use super::error::PrepareError;
use super::plan::{Plan, PlannedAxis, Route, rounded};
use super::turn::Turned;
use crate::recipe::{ImageOrder, Recipe};

/// Two spacings that differ by less millimetres are one, and so are two affines; MONAI's `AFFINE_TOL`.
const AFFINE_TOLERANCE: f64 = 1e-3;

/// Voxels that places may lie beside the axes they are taken for. A step through the whole range of values from one voxel
/// to the next becomes an error of this share of the range.
const STRAIGHT: f64 = 1e-4;

pub fn plan(turned: Turned, crop: [Range<usize>; 3], recipe: &Recipe) -> Result<Plan, PrepareError> {
    let source = turned.shape();
    let from_mm = turned.affine.voxel_mm();
    let to_mm = [0, 1, 2].map(|axis| {
        let wanted = recipe.settings().spacing_mm[axis];
        let near = wanted - AFFINE_TOLERANCE <= from_mm[axis] && from_mm[axis] <= wanted + AFFINE_TOLERANCE;
        if near { from_mm[axis] } else { wanted }
    });
    let upright = upright(&turned.affine, to_mm)?;
    let (model, affine) = enclosing(&turned, &upright)?;
    let to_turned = between(&turned.affine, &affine)?;
    let to_model = between(&affine, &turned.affine)?;
    let unchanged = model == source && (close(&turned.affine, &affine) || close(&to_turned, &IDENTITY));
    let (to_turned, to_model) = if unchanged { (IDENTITY, IDENTITY) } else { (to_turned, to_model) };
    let axes = [0, 1, 2].map(|axis| {
        let back = places(&to_model, axis, source[axis], model[axis]);
        let nearest = if unchanged {
            (0..source[axis]).collect()
        } else {
            torch_nearest(&to_model, axis, source[axis], model[axis])
        };
        PlannedAxis {
            length: model[axis],
            forward: places(&to_turned, axis, model[axis], source[axis]),
            back,
            nearest,
        }
    });
    let route = if unchanged {
        Route::Copy
    } else if astray(&to_turned, model) < STRAIGHT && astray(&to_model, source) < STRAIGHT {
        Route::Splines(ImageOrder::Linear)
    } else {
        Route::Sheared(to_turned)
    };
    let affine = if unchanged { turned.affine } else { affine };
    Ok(Plan { turned, reach: crop.clone(), crop, axes, route, affine })
}

const IDENTITY: Affine = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);

/// `zoom_affine`: the rotation of the affine's QR decomposition (the Cholesky factor of its Gram matrix has a positive
/// diagonal, so this is Gram and Schmidt's), its columns of these lengths, at the origin.
fn upright(affine: &Affine, mm: [f64; 3]) -> Result<Affine, PrepareError> {
    let [first, second, third] = [0, 1, 2].map(|axis| affine.0.map(|row| row[axis]));
    let first = unit(first)?;
    let second = unit(without(second, first))?;
    let third = unit(without(without(third, first), second))?;
    let row = |world: usize| [first[world] * mm[0], second[world] * mm[1], third[world] * mm[2], 0.0];
    Ok(Affine([row(0), row(1), row(2)]))
}

/// What of `column` is not along `direction`, which has length 1.
fn without(column: [f64; 3], direction: [f64; 3]) -> [f64; 3] {
    let along = dot(column, direction);
    [0, 1, 2].map(|world| column[world] - along * direction[world])
}

fn unit(column: [f64; 3]) -> Result<[f64; 3], PrepareError> {
    let length = dot(column, column).sqrt();
    if length < 1e-9 {
        return Err(PrepareError::Affine);
    }
    Ok(column.map(|part| part / length))
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// `compute_shape_offset`: how many voxels of the upright grid hold the corners of the volume, and the grid's affine, which
/// begins at the least corner, or, where no corner is the least along all axes, has the volume's middle.
fn enclosing(turned: &Turned, upright: &Affine) -> Result<([usize; 3], Affine), PrepareError> {
    let shape = turned.shape().map(|length| length as f64);
    let to_upright = upright.inverse().ok_or(PrepareError::Affine)?.compose(&turned.affine);
    let corners: Vec<[f64; 3]> = (0..8)
        .map(|corner| [4, 2, 1].map(|bit| usize::from(corner & bit != 0)))
        .map(|end| [0, 1, 2].map(|axis| end[axis] as f64 * (shape[axis] - 1.0)))
        .collect();
    let placed: Vec<[f64; 3]> = corners.iter().map(|corner| to_upright.apply(*corner)).collect();
    let ends = |axis: usize, start: f64, pick: fn(f64, f64) -> f64| {
        placed.iter().map(|corner| corner[axis]).fold(start, pick)
    };
    let least = [0, 1, 2].map(|axis| ends(axis, f64::INFINITY, f64::min));
    let model =
        rounded(turned, [0, 1, 2].map(|axis| ends(axis, f64::NEG_INFINITY, f64::max) - least[axis] + 1.0))?;
    // `numpy.allclose` to 0 has an absolute tolerance of 1e-8 alone.
    let first = placed.iter().position(|corner| (0..3).all(|axis| corner[axis] - least[axis] <= 1e-8));
    let origin = if let Some(first) = first {
        turned.affine.apply(corners[first])
    } else {
        let middle = turned.affine.apply(shape.map(|length| length / 2.0));
        let half = upright.apply(model.map(|length| length as f64 / 2.0));
        [middle[0] - half[0], middle[1] - half[1], middle[2] - half[2]]
    };
    let mut rows = upright.0;
    for (row, origin) in rows.iter_mut().zip(origin) {
        row[3] = origin;
    }
    Ok((model, Affine(rows)))
}

/// `numpy.linalg.solve(from, to)`: voxel of `to` to voxel of `from`, by elimination with partial pivoting as LAPACK does it.
/// Steps that are quotients stay exact ones, which the inverse's product would not.
fn between(from: &Affine, to: &Affine) -> Result<Affine, PrepareError> {
    let mut rows = [0, 1, 2].map(|row| {
        let (from, to) = (from.0[row], to.0[row]);
        [from[0], from[1], from[2], to[0], to[1], to[2], to[3] - from[3]]
    });
    for pivot in 0..3 {
        let mut most = pivot;
        for row in pivot + 1..3 {
            if rows[row][pivot].abs() > rows[most][pivot].abs() {
                most = row;
            }
        }
        rows.swap(pivot, most);
        let whole = rows[pivot];
        if whole[pivot].abs() < 1e-12 {
            return Err(PrepareError::Affine);
        }
        for row in &mut rows[pivot + 1..] {
            let share = row[pivot] / whole[pivot];
            for (cell, above) in row.iter_mut().zip(whole) {
                *cell -= share * above;
            }
        }
    }
    for pivot in (0..3).rev() {
        let diagonal = rows[pivot][pivot];
        let whole = rows[pivot].map(|cell| cell / diagonal);
        rows[pivot] = whole;
        for row in &mut rows[..pivot] {
            let share = row[pivot];
            for (cell, below) in row.iter_mut().zip(whole) {
                *cell -= share * below;
            }
        }
    }
    Ok(Affine(rows.map(|row| [row[3], row[4], row[5], row[6]])))
}

/// The voxel that torch's `grid_sample` (2.15, `nearest`, `border`, not aligned to corners) takes for each of `voxels`
/// voxels, of an axis of `on` voxels.
///
/// Where the model's step is an even multiple of the source's, half of all voxels lie half-way between two, and the way
/// through places from -1 to 1 decides by its rounding which of them is taken: planes in no order. So each operation is the
/// one of MONAI's `to_norm_affine` and torch's `affine_grid` and `grid_sample`, with the fused multiplication of `linspace`.
fn torch_nearest(affine: &Affine, axis: usize, voxels: usize, on: usize) -> Vec<usize> {
    let (on, count) = (on as f64, voxels as f64);
    let (step, first) = (affine.0[axis][axis], affine.0[axis][3]);
    let to_unit = 2.0 / on;
    let (step, first) = (to_unit * step, to_unit * first + (1.0 / on - 1.0));
    let from_unit = 2.0 / count;
    let wide = 1.0 / from_unit;
    // LAPACK's inverse multiplies by the diagonal's.
    let shift = -((1.0 / count - 1.0) * wide);
    let (step, first) = (step * wide, step * shift + first);
    (0..voxels)
        .map(|voxel| {
            let unit = even_from_minus_one(voxel, voxels) * (count - 1.0) / count;
            let place = ((unit * step + first + 1.0) * on - 1.0) / 2.0;
            place.clamp(0.0, on - 1.0).round_ties_even() as usize
        })
        .collect()
}

/// `torch.linspace(-1, 1, count)`, which counts from the nearer end; 0 where there is one.
fn even_from_minus_one(at: usize, count: usize) -> f64 {
    if count < 2 {
        return 0.0;
    }
    let step = 2.0 / (count - 1) as f64;
    if at < count / 2 { step.mul_add(at as f64, -1.0) } else { (-step).mul_add((count - 1 - at) as f64, 1.0) }
}

/// `numpy.allclose` with MONAI's absolute tolerance.
fn close(a: &Affine, b: &Affine) -> bool {
    a.0.iter()
        .flatten()
        .zip(b.0.iter().flatten())
        .all(|(a, b)| (a - b).abs() <= AFFINE_TOLERANCE + 1e-5 * b.abs())
}

/// Places of `voxels` voxels on the other grid of `on` voxels, along one axis of both; those past its ends at them.
fn places(affine: &Affine, axis: usize, voxels: usize, on: usize) -> Vec<f64> {
    let row = affine.0[axis];
    (0..voxels).map(|voxel| (row[axis] * voxel as f64 + row[3]).clamp(0.0, (on - 1) as f64)).collect()
}

/// How far places on the other grid can lie from where each axis for itself has them, in voxels.
fn astray(affine: &Affine, shape: [usize; 3]) -> f64 {
    let beside = |axis: usize| -> f64 {
        let others = (0..3).filter(|other| *other != axis);
        others.map(|other| affine.0[axis][other].abs() * (shape[other] - 1) as f64).sum()
    };
    (0..3).map(beside).fold(0.0, f64::max)
}
