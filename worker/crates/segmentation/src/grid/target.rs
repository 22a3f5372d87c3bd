//! The model's grid while it is filled: axes x, y, z of the turned volume, in the memory order of the network.

use std::ops::Range;

/// Where values along x, y, z are put.
#[derive(Debug)]
pub struct Target {
    pub values: Vec<f32>,
    /// Voxels along x, y, z.
    pub shape: [usize; 3],
    /// Axes x, y, z (0, 1, 2), fastest first.
    pub grid_axes: [usize; 3],
}

impl Target {
    pub fn new(shape: [usize; 3], grid_axes: [usize; 3]) -> Self {
        Self { values: vec![0.0; shape.iter().product()], shape, grid_axes }
    }

    /// Steps in memory along x, y, z.
    pub fn strides(&self) -> [usize; 3] {
        let mut strides = [0; 3];
        let mut step = 1;
        for axis in self.grid_axes {
            strides[axis] = step;
            step *= self.shape[axis];
        }
        strides
    }

    /// The least box that holds every voxel that is not 0; all where there is none.
    pub fn nonzero(&self) -> [Range<usize>; 3] {
        let lengths = self.grid_axes.map(|axis| self.shape[axis]);
        let mut ends = [[usize::MAX, 0]; 3];
        for (line, values) in self.values.chunks_exact(lengths[0]).enumerate() {
            let Some(first) = values.iter().position(|value| *value != 0.0) else { continue };
            let last = values.iter().rposition(|value| *value != 0.0).unwrap_or(first);
            for (end, [from, to]) in
                ends.iter_mut().zip([[first, last], [line % lengths[1]; 2], [line / lengths[1]; 2]])
            {
                *end = [end[0].min(from), end[1].max(to)];
            }
        }
        let mut kept = self.shape.map(|length| 0..length);
        if ends[0][0] != usize::MAX {
            for (axis, [first, last]) in self.grid_axes.into_iter().zip(ends) {
                kept[axis] = first..last + 1;
            }
        }
        kept
    }

    /// Takes away all but a box, in place.
    pub fn keep(&mut self, kept: &[Range<usize>; 3]) {
        let lengths = self.grid_axes.map(|axis| self.shape[axis]);
        let [x, y, z] = self.grid_axes.map(|axis| kept[axis].clone());
        let mut to = 0;
        for plane in z {
            for line in y.clone() {
                let from = (plane * lengths[1] + line) * lengths[0];
                self.values.copy_within(from + x.start..from + x.end, to);
                to += x.len();
            }
        }
        self.values.truncate(to);
        self.shape = [kept[0].len(), kept[1].len(), kept[2].len()];
    }
}
