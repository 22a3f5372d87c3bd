//! From the model's grid to the source's.

use super::error::LabelError;
use super::map::LabelValues;
use crate::types::{AxisMap, Back};

/// Which source indices lie between a voxel of the model's axis and the next.
#[derive(Debug)]
pub struct Interpolated {
    /// The axis of the source.
    pub source_axis: usize,
    /// For each voxel where its part of `indices` begins; one more at the end.
    begins: Vec<u32>,
    /// Index on the source's axis and share of the next voxel, by the voxel before.
    indices: Vec<(u32, f32)>,
}

impl Interpolated {
    /// Coordinates beyond the grid have the value at its end.
    fn new(map: &AxisMap, length: usize) -> Self {
        let last = length.saturating_sub(2);
        let place = |coordinate: f64| {
            let inside = coordinate.clamp(0.0, length as f64 - 1.0);
            let before = (inside.floor() as usize).min(last);
            (before, (inside - before as f64) as f32)
        };
        let cells = length.saturating_sub(1).max(1);
        let mut begins = vec![0u32; cells + 1];
        for &coordinate in &map.coordinates {
            begins[place(coordinate).0 + 1] += 1;
        }
        for cell in 0..cells {
            begins[cell + 1] += begins[cell];
        }
        // Filled with `begins` as cursors, which then stand one part further.
        let mut indices = vec![(0, 0.0); map.coordinates.len()];
        for (index, &coordinate) in map.coordinates.iter().enumerate() {
            let (before, share) = place(coordinate);
            indices[begins[before] as usize] = (index as u32, share);
            begins[before] += 1;
        }
        begins.rotate_right(1);
        begins[0] = 0;
        Self { source_axis: map.source_axis, begins, indices }
    }

    /// Source indices between voxel `cell` and the next, each with the share of the next.
    pub fn between(&self, cell: usize) -> &[(u32, f32)] {
        &self.indices[self.begins[cell] as usize..self.begins[cell + 1] as usize]
    }

    pub fn bytes(&self) -> usize {
        self.begins.capacity() * size_of::<u32>() + self.indices.capacity() * size_of::<(u32, f32)>()
    }
}

/// The tables for interpolation.
///
/// # Errors
/// A way back that is sheared.
pub fn interpolated(back: &Back, model_shape: [usize; 3]) -> Result<[Interpolated; 3], LabelError> {
    let Back::Separable(maps) = back else { return Err(LabelError::ShearedLogits) };
    Ok(std::array::from_fn(|axis| Interpolated::new(&maps[axis], model_shape[axis])))
}

/// # Errors
/// A way back that does not fit to the two grids.
pub fn check(back: &Back, model_shape: [usize; 3], source_shape: [usize; 3]) -> Result<(), LabelError> {
    let wrong = |what: String| Err(LabelError::Back(what));
    if source_shape.contains(&0) || source_shape.iter().any(|&side| u32::try_from(side).is_err()) {
        return wrong(format!("the source has {source_shape:?} voxels"));
    }
    match back {
        Back::Affine(affine) => {
            if affine.iter().flatten().any(|number| !number.is_finite()) {
                return wrong("its affine is not finite".to_owned());
            }
        }
        Back::Separable(maps) => {
            let mut axes = [false; 3];
            for (map, &length) in maps.iter().zip(&model_shape) {
                let axis = map.source_axis;
                if axis > 2 || std::mem::replace(&mut axes[axis], true) {
                    return wrong("it does not name each axis of the source once".to_owned());
                }
                let side = source_shape[axis];
                if map.coordinates.len() != side || map.nearest.len() != side {
                    return wrong(format!("axis {axis} of the source has {side} voxels, its map others"));
                }
                if map.coordinates.iter().any(|coordinate| !coordinate.is_finite()) {
                    return wrong(format!("a coordinate for axis {axis} of the source is not finite"));
                }
                if map.nearest.iter().any(|&index| index >= length) {
                    return wrong(format!("an index for axis {axis} of the source is past the model's grid"));
                }
            }
        }
    }
    Ok(())
}

/// The label of the nearest voxel of the model's grid for each voxel of the source.
///
/// With an affine what lies outside of the model's grid has the label at its border, and halves are rounded to even, as MONAI's
/// inverse of `Spacing` does it.
pub fn nearest(
    labels: &LabelValues,
    model_shape: [usize; 3],
    back: &Back,
    source_shape: [usize; 3],
    classes: usize,
) -> LabelValues {
    let mut out = LabelValues::zeros(classes, source_shape.iter().product());
    let steps = [1, model_shape[0], model_shape[0] * model_shape[1]];
    match (labels, &mut out) {
        (LabelValues::U8(labels), LabelValues::U8(out)) => {
            fill(labels, model_shape, steps, back, source_shape, out);
        }
        (LabelValues::U16(labels), LabelValues::U16(out)) => {
            fill(labels, model_shape, steps, back, source_shape, out);
        }
        // Both are as wide as the number of classes asks.
        (LabelValues::U8(_), LabelValues::U16(_)) | (LabelValues::U16(_), LabelValues::U8(_)) => {}
    }
    out
}

fn fill<T: Copy>(
    labels: &[T],
    model_shape: [usize; 3],
    steps: [usize; 3],
    back: &Back,
    source_shape: [usize; 3],
    out: &mut [T],
) {
    let [wide, high, _] = source_shape;
    match back {
        Back::Separable(maps) => {
            // By axis of the source: which model axis it is, as steps in memory for each index.
            let mut offsets: [Vec<usize>; 3] = Default::default();
            for (map, step) in maps.iter().zip(steps) {
                offsets[map.source_axis] = map.nearest.iter().map(|index| index * step).collect();
            }
            for (line, out) in out.chunks_exact_mut(wide).enumerate() {
                let base = offsets[1][line % high] + offsets[2][line / high];
                for (out, &offset) in out.iter_mut().zip(&offsets[0]) {
                    *out = labels[base + offset];
                }
            }
        }
        Back::Affine(rows) => {
            for (line, out) in out.chunks_exact_mut(wide).enumerate() {
                let (y, z) = ((line % high) as f64, (line / high) as f64);
                let base = rows.map(|row| row[1] * y + row[2] * z + row[3]);
                for (x, out) in out.iter_mut().enumerate() {
                    let mut at = 0;
                    for axis in 0..3 {
                        let last = (model_shape[axis] - 1) as f64;
                        let place = (base[axis] + rows[axis][0] * x as f64).clamp(0.0, last);
                        at += place.round_ties_even() as usize * steps[axis];
                    }
                    *out = labels[at];
                }
            }
        }
    }
}
