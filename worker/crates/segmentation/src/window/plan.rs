//! The patches of one grid.

use std::ops::Range;

use super::error::WindowError;
use super::starts::{Rule, starts};
use super::weights::Weights;

/// What is put around a grid that is smaller than the patch; half of it (rounded down) before, the rest after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding {
    /// The nearest voxel's value: norms inside of the network take their statistics from the patch.
    Edge,
    /// One value, as nnU-Net and MONAI do (0 for both).
    Value(f32),
}

/// A sliding window, as a model's manifest describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Voxels along each axis of the model's grid, axis 0 fastest.
    pub patch: [usize; 3],
    /// Step from one patch to the next in patches: over 0, at most 1. For MONAI's rule 1.0 - overlap.
    pub step: f64,
    /// Sigma of the Gaussian weights in patches, or `None` for equal weights.
    pub gaussian: Option<f64>,
    pub rule: Rule,
    pub padding: Padding,
}

/// Patches along one axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Where patches begin on the grid, ascending.
    pub starts: Vec<usize>,
    /// Voxels of a patch that lie on the grid.
    pub extent: usize,
    /// Voxels of a patch before the grid begins.
    pub skipped: usize,
}

/// When a patch's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub sweep: usize,
    pub row: usize,
    /// Which of the starts along the axes of sweeps, rows, and within a row.
    starts: [usize; 3],
    pub begins_row: bool,
    pub ends_row: bool,
}

/// The patches of one grid.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) shape: [usize; 3],
    pub(crate) window: Window,
    pub(crate) axes: [Axis; 3],
    /// The axis of sweeps, that of rows, and the one within a row: the longest first.
    pub(crate) roles: [usize; 3],
    /// Which starts along the first of them are swept together: one each, but for the last two where that takes less memory.
    pub(crate) sweeps: Vec<Range<usize>>,
    pub(crate) weights: Weights,
}

impl Plan {
    /// # Errors
    /// A grid, patch, step or sigma that makes no sense, in words.
    pub fn new(model_shape: [usize; 3], window: Window) -> Result<Self, WindowError> {
        if model_shape.contains(&0) {
            return Err(WindowError::EmptyGrid);
        }
        if window.patch.contains(&0) {
            return Err(WindowError::EmptyPatch);
        }
        if !(window.step > 0.0 && window.step <= 1.0) {
            return Err(WindowError::Step(window.step));
        }
        if let Some(sigma) = window.gaussian
            && !(sigma.is_finite() && sigma > 0.0)
        {
            return Err(WindowError::Sigma(sigma));
        }
        let axes = std::array::from_fn(|axis| {
            let (length, patch) = (model_shape[axis], window.patch[axis]);
            let padded = length.max(patch);
            Axis {
                starts: starts(window.rule, padded, patch, window.step),
                extent: patch.min(length),
                skipped: (padded - length) / 2,
            }
        });
        let mut roles = [2, 1, 0];
        // Stable: of equal axes the slowest in memory comes first.
        roles.sort_by_key(|&axis| std::cmp::Reverse(model_shape[axis]));
        let weights = Weights::new(window.rule, window.patch, window.gaussian);
        let count = axes[roles[0]].starts.len();
        let sweeps = (0..count).map(|start| start..start + 1).collect();
        Ok(Self { shape: model_shape, window, axes, roles, sweeps, weights }.with_least_memory())
    }

    /// The model's grid.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    pub fn window(&self) -> &Window {
        &self.window
    }

    /// How many patches there are.
    pub fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.starts.len()).product()
    }

    /// Never: a grid has at least one patch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where each patch begins on the grid, in the order in which [`crate::labels::Accumulator`] takes them. A patch that
    /// is longer than the grid begins at 0 and is padded.
    pub fn patches(&self) -> impl Iterator<Item = [usize; 3]> + '_ {
        (0..self.len()).map(|index| self.start(self.turn(index)))
    }

    /// Where the patch of a turn begins on the grid.
    pub(crate) fn start(&self, turn: Turn) -> [usize; 3] {
        let mut start = [0; 3];
        for (place, &axis) in turn.starts.iter().zip(&self.roles) {
            start[axis] = self.axes[axis].starts[*place];
        }
        start
    }

    /// When patch `index` comes.
    pub(crate) fn turn(&self, index: usize) -> Turn {
        let [_, rows, places] = self.roles.map(|axis| self.axes[axis].starts.len());
        let sweep = self.sweeps.partition_point(|sweep| sweep.end <= index / (rows * places));
        let Range { start: first, end } = self.sweeps[sweep];
        let in_sweep = index - first * rows * places;
        let patches_of_row = (end - first) * places;
        let (row, in_row) = (in_sweep / patches_of_row, in_sweep % patches_of_row);
        Turn {
            sweep,
            row,
            starts: [first + in_row / places, row, in_row % places],
            begins_row: in_row == 0,
            ends_row: in_row + 1 == patches_of_row,
        }
    }

    /// The planes that the patches of a sweep reach.
    pub(crate) fn reached(&self, sweep: usize) -> Range<usize> {
        let along = &self.axes[self.roles[0]];
        let Range { start, end } = self.sweeps[sweep];
        along.starts[start]..along.starts[end - 1] + along.extent
    }

    /// Sums of the weights of all patches on a line along axis 0 that begins at `at`.
    pub(crate) fn weight_sums(&self, at: [usize; 3], sums: &mut [f32]) {
        sums.fill(0.0);
        let [fast, middle, slow] = &self.axes;
        let curves: [&[f32]; 3] = std::array::from_fn(|axis| self.weights.along(axis));
        for &z in covering(slow, at[2]) {
            for &y in covering(middle, at[1]) {
                let outer = curves[2][at[2] - z + slow.skipped] * curves[1][at[1] - y + middle.skipped];
                for &x in &fast.starts {
                    let (first, last) = (x.max(at[0]), (x + fast.extent).min(at[0] + sums.len()));
                    if first >= last {
                        continue;
                    }
                    let curve = &curves[0][first - x + fast.skipped..last - x + fast.skipped];
                    for (sum, &factor) in sums[first - at[0]..last - at[0]].iter_mut().zip(curve) {
                        *sum += self.weights.of(outer * factor);
                    }
                }
            }
        }
    }
}

/// Starts of the patches that reach `at`.
fn covering(axis: &Axis, at: usize) -> &[usize] {
    let first = axis.starts.partition_point(|&start| start + axis.extent <= at);
    let last = axis.starts.partition_point(|&start| start <= at);
    &axis.starts[first..last]
}
