//! nnU-Net's grid (2.8, `resample_data_or_seg_to_shape` by `skimage.transform.resize`): the outer faces of the corner
//! voxels meet. Where the voxels of one grid are much longer than wide, slices are resampled each for itself.

use std::ops::Range;

use super::error::PrepareError;
use super::plan::{Plan, PlannedAxis, Route, rounded, scaled};
use super::turn::Turned;
use crate::recipe::{ImageOrder, Recipe};

pub fn plan(turned: Turned, crop: [Range<usize>; 3], recipe: &Recipe) -> Result<Plan, PrepareError> {
    let settings = recipe.settings();
    let to_mm = settings.spacing_mm;
    // nnU-Net's readers take the spacing from the header, which has single precision.
    let mm = turned.affine.voxel_mm().map(|mm| f64::from(mm as f32));
    let source = [0, 1, 2].map(|axis| crop[axis].len());
    let model = rounded(&turned, [0, 1, 2].map(|axis| mm[axis] / to_mm[axis] * source[axis] as f64))?;
    let route = match coarse_axis(mm, to_mm, recipe.anisotropy()) {
        _ if source == model => Route::Copy,
        Some(axis) => Route::Slices(axis, settings.order),
        None => Route::Splines(settings.order),
    };
    let coarse_back = coarse_axis(to_mm, mm, recipe.anisotropy());
    let axes = [0, 1, 2].map(|axis| {
        let mut forward = places(model[axis], source[axis]);
        let apart = matches!(route, Route::Slices(coarse, _) if coarse == axis);
        // Cubic splines go on where the volume is padded, past its edge; the others end at it.
        if apart || settings.order == ImageOrder::Linear {
            for place in &mut forward {
                *place = within(*place, source[axis]);
            }
        }
        if apart {
            for place in &mut forward {
                *place = nearest(*place) as f64;
            }
        }
        let length = turned.axes[axis].length;
        planned_back(forward, model[axis], &crop[axis], length, coarse_back == Some(axis))
    });
    let steps = [0, 1, 2].map(|axis| source[axis] as f64 / model[axis] as f64);
    let first = [0, 1, 2].map(|axis| crop[axis].start as f64 + 0.5 * steps[axis] - 0.5);
    let affine = scaled(&turned.affine, steps, first);
    Ok(Plan { turned, reach: crop.clone(), crop, axes, route, affine })
}

/// The axis that `determine_do_sep_z_and_axis` has resampled apart: the one of greatest step, of the first spacing whose
/// greatest step is more than `threshold` times its least; none if two share the greatest.
fn coarse_axis(from_mm: [f64; 3], to_mm: [f64; 3], threshold: f64) -> Option<usize> {
    let spacing = [from_mm, to_mm].into_iter().find(|mm| greatest(*mm) / least(*mm) > threshold)?;
    let greatest = greatest(spacing);
    let mut axes = (0..3).filter(|axis| spacing[*axis].total_cmp(&greatest).is_eq());
    match (axes.next(), axes.next()) {
        (Some(axis), None) => Some(axis),
        _ => None,
    }
}

fn greatest(mm: [f64; 3]) -> f64 {
    mm.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

fn least(mm: [f64; 3]) -> f64 {
    mm.into_iter().fold(f64::INFINITY, f64::min)
}

/// Places on a grid of `on` voxels of each of `voxels` voxels that fill the same length.
fn places(voxels: usize, on: usize) -> Vec<f64> {
    let step = on as f64 / voxels as f64;
    (0..voxels).map(|voxel| (voxel as f64 + 0.5) * step - 0.5).collect()
}

fn within(place: f64, length: usize) -> f64 {
    place.clamp(0.0, (length - 1) as f64)
}

fn nearest(place: f64) -> usize {
    (place + 0.5).floor() as usize
}

/// The axis with its way back: order 1, or 0 where it is resampled apart. Voxels outside of the crop get its edge's place.
fn planned_back(
    forward: Vec<f64>,
    model: usize,
    crop: &Range<usize>,
    length: usize,
    apart: bool,
) -> PlannedAxis {
    let cropped: Vec<f64> = places(crop.len(), model).into_iter().map(|place| within(place, model)).collect();
    let local = |voxel: usize| cropped[voxel.clamp(crop.start, crop.end - 1) - crop.start];
    let nearest: Vec<usize> = (0..length).map(|voxel| nearest(local(voxel))).collect();
    let back = (0..length).map(|voxel| if apart { nearest[voxel] as f64 } else { local(voxel) }).collect();
    PlannedAxis { length: model, forward, back, nearest }
}
