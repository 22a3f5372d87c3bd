//! What a recipe does with a volume of a shape and a place, before any value is read.

use std::ops::Range;

use nightread_volume::Affine;

use super::error::PrepareError;
use super::turn::{MOST_VOXELS, Turned};
use crate::recipe::ImageOrder;
use crate::types::{AxisMap, Back};

/// One axis of the turned volume and of the model's grid, which run along each other.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedAxis {
    /// Voxels of the model's grid.
    pub length: usize,
    /// Where each lies on the turned (and cropped) volume, in voxels.
    pub forward: Vec<f64>,
    /// Where each voxel of the whole turned volume lies on the model's grid, and the nearest voxel there.
    pub back: Vec<f64>,
    pub nearest: Vec<usize>,
}

/// How values get from one grid to the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Both grids are one.
    Copy,
    /// Splines through all three axes.
    Splines(ImageOrder),
    /// Splines in slices across this axis, and the nearest slice along it.
    Slices(usize, ImageOrder),
    /// Linear at places of this affine (model voxel to turned voxel).
    Sheared(Affine),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub turned: Turned,
    /// What of the turned volume is taken.
    pub crop: [Range<usize>; 3],
    /// Voxels of the turned volume that a label can come to; outside of them is background.
    pub reach: [Range<usize>; 3],
    pub axes: [PlannedAxis; 3],
    pub route: Route,
    /// Model voxel (axes x, y, z) to millimetres.
    pub affine: Affine,
}

impl Plan {
    pub fn model_shape(&self) -> [usize; 3] {
        [self.axes[0].length, self.axes[1].length, self.axes[2].length]
    }

    /// Bytes that making the grid takes at its peak beside the source: the grid, what lies between two passes, buffers.
    pub fn bytes(&self) -> u64 {
        let [u, v, w] = self.model_shape().map(|length| length as u64);
        let [a, b, c] = [0, 1, 2].map(|axis| self.crop[axis].len() as u64);
        let grid = u * v * w * size_of::<f32>() as u64;
        // Coordinates, nearest indices and weights of each axis.
        let axes = 64 * (u + v + w + a + b + c);
        let passes = match self.route {
            Route::Copy | Route::Splines(ImageOrder::Linear) | Route::Sheared(_) => 0,
            Route::Splines(ImageOrder::Cubic) => {
                let between = u * v * c * size_of::<f32>() as u64;
                between + 8 * (slice_values([a, b], [u, v]) + u * (2 * c + PADDED + w))
            }
            Route::Slices(axis, _) => {
                let (from, to) = (across([a, b, c], axis), across([u, v, w], axis));
                8 * slice_values(from, to)
            }
        };
        grid + axes + passes
    }
}

/// Voxels that scipy pads before it filters, at both ends.
const PADDED: u64 = 24;

/// Values that resampling a slice holds: the slice, it padded, and its two results.
fn slice_values(from: [u64; 2], to: [u64; 2]) -> u64 {
    from[0] * (2 * from[1] + PADDED) + from[0] * to[1] + to[0] * to[1] + from[0] + PADDED
}

/// The two of three that are not at `axis`, in order.
pub fn across<T: Copy>(three: [T; 3], axis: usize) -> [T; 2] {
    match axis {
        0 => [three[1], three[2]],
        1 => [three[0], three[2]],
        _ => [three[0], three[1]],
    }
}

/// Lengths of the model's grid in voxels: Python's `round`, halves to even.
///
/// # Errors
/// No voxel would be left along an axis, or more than can be.
pub fn rounded(turned: &Turned, lengths: [f64; 3]) -> Result<[usize; 3], PrepareError> {
    let model = lengths.map(f64::round_ties_even);
    if !model.iter().all(|length| *length >= 1.0) {
        return Err(PrepareError::TooThin { shape: turned.shape(), model });
    }
    if model.iter().any(|length| *length > MOST_VOXELS as f64) {
        return Err(PrepareError::TooLong { shape: model });
    }
    Ok(model.map(|length| length as usize))
}

/// The affine of a grid whose voxels lie `steps` voxels apart on another, the first at `first`.
pub fn scaled(affine: &Affine, steps: [f64; 3], first: [f64; 3]) -> Affine {
    let mut rows = [[0.0; 4]; 3];
    for (axis, row) in rows.iter_mut().enumerate() {
        row[axis] = steps[axis];
        row[3] = first[axis];
    }
    affine.compose(&Affine(rows))
}

impl Plan {
    /// The way back to the source's axes, in the order of the model's grid.
    pub fn back(&self, grid_axes: [usize; 3]) -> Back {
        if let Route::Sheared(to_turned) = &self.route
            && let Some(to_model) = to_turned.inverse()
        {
            let rows = to_model.compose(&self.turned.source_to_turned()).0;
            return Back::Affine(grid_axes.map(|axis| rows[axis]));
        }
        Back::Separable(grid_axes.map(|axis| self.axis_map(axis)))
    }

    fn axis_map(&self, axis: usize) -> AxisMap {
        let (turned, planned) = (self.turned.axes[axis], &self.axes[axis]);
        let (mut coordinates, mut nearest) = (planned.back.clone(), planned.nearest.clone());
        if turned.flipped {
            coordinates.reverse();
            nearest.reverse();
        }
        AxisMap { source_axis: turned.source_axis, coordinates, nearest }
    }

    /// Voxels along each axis of the source that a label can come to.
    pub fn inside(&self) -> [Range<usize>; 3] {
        let mut inside = [0..0, 0..0, 0..0];
        for (axis, reach) in self.turned.axes.iter().zip(&self.reach) {
            inside[axis.source_axis] =
                if axis.flipped { axis.length - reach.end..axis.length - reach.start } else { reach.clone() };
        }
        inside
    }

    /// Takes only `kept` of the model's grid (axes x, y, z); what is nearest to the rest is background.
    pub fn keep(&mut self, kept: &[Range<usize>; 3]) {
        for ((planned, reach), kept) in self.axes.iter_mut().zip(&mut self.reach).zip(kept) {
            let first = planned.nearest.iter().position(|voxel| kept.contains(voxel)).unwrap_or(0);
            let last = planned.nearest.iter().rposition(|voxel| kept.contains(voxel));
            *reach = first..last.map_or(first, |last| last + 1);
            let end = kept.len().saturating_sub(1);
            planned.length = kept.len();
            planned.forward = planned.forward[kept.clone()].to_vec();
            for place in &mut planned.back {
                *place = (*place - kept.start as f64).clamp(0.0, end as f64);
            }
            for voxel in &mut planned.nearest {
                *voxel = voxel.saturating_sub(kept.start).min(end);
            }
        }
        let first = [0, 1, 2].map(|axis| kept[axis].start as f64);
        self.affine = scaled(&self.affine, [1.0; 3], first);
    }
}
