//! TotalSegmentator's grid (2.18, `change_spacing` by `scipy.ndimage.zoom`): the centres of the corner voxels meet.

use std::ops::Range;

use super::error::PrepareError;
use super::plan::{Plan, PlannedAxis, Route, rounded, scaled};
use super::turn::Turned;
use crate::recipe::Recipe;

pub fn plan(turned: Turned, crop: [Range<usize>; 3], recipe: &Recipe) -> Result<Plan, PrepareError> {
    let settings = recipe.settings();
    let lengths = turned.shape();
    // NIfTI headers, and with them nibabel's zooms, have single precision: it decides how halves are rounded.
    let mm = turned.affine.voxel_mm().map(|mm| f64::from(mm as f32));
    let zoom = [0, 1, 2].map(|axis| mm[axis] / settings.spacing_mm[axis]);
    let same = (0..3).all(|axis| mm[axis].total_cmp(&settings.spacing_mm[axis]).is_eq());
    let model = rounded(&turned, [0, 1, 2].map(|axis| lengths[axis] as f64 * zoom[axis]))?;
    let axes = [0, 1, 2].map(|axis| planned(lengths[axis], model[axis]));
    let steps = [0, 1, 2].map(|axis| step(lengths[axis], model[axis]).unwrap_or(1.0 / zoom[axis]));
    let affine = scaled(&turned.affine, steps, [0.0; 3]);
    let route = if same { Route::Copy } else { Route::Splines(settings.order) };
    Ok(Plan { turned, reach: crop.clone(), crop, axes, route, affine })
}

fn planned(source: usize, model: usize) -> PlannedAxis {
    let back: Vec<f64> =
        places(source, model).into_iter().map(|place| place.min((model - 1) as f64)).collect();
    // Order 0: the voxel that begins half a voxel before the place, so halves go up.
    let nearest = back.iter().map(|place| (place + 0.5).floor() as usize).collect();
    PlannedAxis { length: model, forward: places(model, source), back, nearest }
}

/// Places on a grid of `on` voxels of each of `voxels` voxels. As in scipy, the last may lie past the end by a rounding,
/// which decides what is cut off from a value there that is whole.
fn places(voxels: usize, on: usize) -> Vec<f64> {
    let step = step(on, voxels).unwrap_or(1.0);
    (0..voxels).map(|voxel| voxel as f64 * step).collect()
}

/// Voxels of a grid of `on` voxels from one of `voxels` voxels to the next; none where there is no next.
fn step(on: usize, voxels: usize) -> Option<f64> {
    (voxels > 1).then(|| (on - 1) as f64 / (voxels - 1) as f64)
}
