//! The network's input: one patch of the model's grid.

use super::error::WindowError;
use super::plan::{Padding, Plan};
use crate::types::Grid;

/// Takes patches out of a grid.
#[derive(Clone, Copy, Debug)]
pub struct Patches;

impl Patches {
    /// Writes patch `index` of `plan` into `out`, axis 0 fastest; `out` has the patch's number of voxels.
    ///
    /// # Errors
    /// Another grid than planned, an index past the last patch, or `out` of another length.
    pub fn extract(grid: &Grid<f32>, plan: &Plan, index: usize, out: &mut [f32]) -> Result<(), WindowError> {
        let voxels = grid.shape.iter().product::<usize>();
        if grid.shape != plan.shape || grid.values.len() != voxels {
            return Err(WindowError::OtherGrid { planned: plan.shape, given: grid.shape });
        }
        if index >= plan.len() {
            return Err(WindowError::NoSuchPatch { index, patches: plan.len() });
        }
        let start = plan.start(plan.turn(index));
        let patch = plan.window.patch;
        let expected = patch.iter().product();
        if out.len() != expected {
            return Err(WindowError::PatchLength { expected, given: out.len() });
        }
        let [wide, high, _] = plan.shape;
        for (line, out) in out.chunks_exact_mut(patch[0]).enumerate() {
            let (y, z) = (line % patch[1], line / patch[1]);
            let (Some((y, y_on)), Some((z, z_on))) = (on(plan, 1, start, y), on(plan, 2, start, z)) else {
                continue;
            };
            if let Padding::Value(value) = plan.window.padding
                && !(y_on && z_on)
            {
                out.fill(value);
                continue;
            }
            let source = &grid.values[(z * high + y) * wide..][..wide];
            let axis = &plan.axes[0];
            let (before, inside) = out.split_at_mut(axis.skipped);
            let (inside, after) = inside.split_at_mut(axis.extent);
            inside.copy_from_slice(&source[start[0]..start[0] + axis.extent]);
            let (low, high) = match plan.window.padding {
                Padding::Edge => (source[0], source[wide - 1]),
                Padding::Value(value) => (value, value),
            };
            before.fill(low);
            after.fill(high);
        }
        Ok(())
    }
}

/// The grid's index nearest to place `at` of a patch along an axis, and whether the place is on the grid.
fn on(plan: &Plan, axis: usize, start: [usize; 3], at: usize) -> Option<(usize, bool)> {
    let planned = &plan.axes[axis];
    let place = start[axis] + at;
    let last = plan.shape[axis].checked_sub(1)?;
    let index = place.saturating_sub(planned.skipped).min(last);
    Some((index, place == index + planned.skipped))
}
