//! Values between voxels, linearly.
//!
//! The eight products and their sum have the order of scipy's `zoom` (order 1), and so its rounding: TotalSegmentator cuts
//! what comes out to whole numbers, where the last bit of a double can be a whole unit.

use nightread_volume::Affine;

use super::target::Target;
use super::values::Values;
use super::view::View;

/// The two voxels around a place on one axis, and how much each counts.
#[derive(Clone, Copy, Debug)]
struct Between {
    offsets: [isize; 2],
    weights: [f64; 2],
}

impl Between {
    /// `place` lies on the axis.
    fn new(view: &View<'_>, axis: usize, place: f64) -> Self {
        let last = view.shape[axis] - 1;
        let low = (place.floor() as usize).min(last);
        let high = (low + 1).min(last);
        let weight = place - low as f64;
        Self { offsets: [view.offset(axis, low), view.offset(axis, high)], weights: [1.0 - weight, weight] }
    }
}

fn blend(view: &View<'_>, values: &Values, [x, y, z]: [&Between; 3]) -> f64 {
    let mut sum = 0.0;
    for (dx, wx) in x.offsets.iter().zip(x.weights) {
        for (dy, wy) in y.offsets.iter().zip(y.weights) {
            for (dz, wz) in z.offsets.iter().zip(z.weights) {
                sum += values.before(view.value(dx + dy + dz)) * wx * wy * wz;
            }
        }
    }
    sum
}

/// Fills `target` at `places` along x, y, z, which lie on the volume.
pub fn along_axes(view: &View<'_>, values: &Values, places: [&[f64]; 3], target: &mut Target) {
    let between: [Vec<Between>; 3] =
        [0, 1, 2].map(|axis| places[axis].iter().map(|place| Between::new(view, axis, *place)).collect());
    let [fast, middle, slow] = target.grid_axes;
    let mut at = [&between[0][0], &between[1][0], &between[2][0]];
    let mut out = target.values.iter_mut();
    for c in &between[slow] {
        at[slow] = c;
        for b in &between[middle] {
            at[middle] = b;
            for (a, out) in between[fast].iter().zip(&mut out) {
                at[fast] = a;
                *out = values.after(blend(view, values, at));
            }
        }
    }
}

/// Fills `target` at places of an affine from its voxels (x, y, z) to the volume's; those past its ends at them.
pub fn sheared(view: &View<'_>, values: &Values, to_turned: &Affine, target: &mut Target) {
    let [fast, middle, slow] = target.grid_axes;
    let mut voxel = [0.0; 3];
    let mut out = target.values.iter_mut();
    for c in 0..target.shape[slow] {
        voxel[slow] = c as f64;
        for b in 0..target.shape[middle] {
            voxel[middle] = b as f64;
            for (a, out) in (0..target.shape[fast]).zip(&mut out) {
                voxel[fast] = a as f64;
                let place = to_turned.apply(voxel);
                let [x, y, z] = [0, 1, 2].map(|axis| {
                    let end = (view.shape[axis] - 1) as f64;
                    Between::new(view, axis, place[axis].clamp(0.0, end))
                });
                *out = values.after(blend(view, values, [&x, &y, &z]));
            }
        }
    }
}
