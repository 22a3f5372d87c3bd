//! Labels of linearly interpolated logits, without interpolating most of them.
//!
//! A cell is the space between eight voxels of the model's grid. Interpolated logits are means of the eight with weights
//! that are not negative, so where all eight have the same label it is the label of everything between them. Where they
//! differ, a class that is less than some other at all eight is less everywhere between, so only the rest is interpolated.

use super::back::Interpolated;
use super::map::LabelValues;
use super::ring::{Block, Ring};

/// Interpolates in cells.
#[derive(Debug)]
pub struct Cells {
    axes: [Interpolated; 3],
    model_shape: [usize; 3],
    source_steps: [usize; 3],
    /// Logits of the eight voxels for each class.
    corners: Vec<[f32; 8]>,
    /// Classes that may be the greatest somewhere in the cell.
    candidates: Vec<u32>,
}

impl Cells {
    pub fn new(
        axes: [Interpolated; 3],
        model_shape: [usize; 3],
        source_shape: [usize; 3],
        classes: usize,
    ) -> Self {
        let steps = [1, source_shape[0], source_shape[0] * source_shape[1]];
        let source_steps = std::array::from_fn(|axis| steps[axes[axis].source_axis]);
        Self {
            axes,
            model_shape,
            source_steps,
            corners: vec![[0.0; 8]; classes],
            candidates: vec![0; classes],
        }
    }

    pub fn bytes(&self) -> usize {
        self.axes.iter().map(Interpolated::bytes).sum::<usize>()
            + self.corners.capacity() * size_of::<[f32; 8]>()
            + self.candidates.capacity() * size_of::<u32>()
    }

    /// Writes the labels of all source voxels in a block of cells, whose voxels all are in the ring as means.
    pub fn label(&mut self, cells: &Block, ring: &Ring, labels: &LabelValues, out: &mut LabelValues) {
        for z in cells[2].clone() {
            for y in cells[1].clone() {
                if self.axes[2].between(z).is_empty() || self.axes[1].between(y).is_empty() {
                    continue;
                }
                for x in cells[0].clone() {
                    if !self.axes[0].between(x).is_empty() {
                        self.label_one([x, y, z], ring, labels, out);
                    }
                }
            }
        }
    }

    fn label_one(&mut self, cell: [usize; 3], ring: &Ring, labels: &LabelValues, out: &mut LabelValues) {
        let corners = self.corner_voxels(cell);
        let [wide, high, _] = self.model_shape;
        let known = corners.map(|[x, y, z]| labels.get((z * high + y) * wide + x));
        if known[1..].iter().all(|&label| label == known[0]) {
            self.each_source_voxel(cell, |at, _| out.set(at, known[0]));
            return;
        }
        for (place, &corner) in corners.iter().enumerate() {
            for (logits, logit) in self.corners.iter_mut().zip(ring.voxel(corner)) {
                logits[place] = logit;
            }
        }
        let count = self.choose(known);
        let candidates = &self.candidates[..count];
        let logits = &self.corners;
        self.each_source_voxel(cell, |at, share| {
            let (mut best, mut label) = (f32::NEG_INFINITY, 0);
            for &candidate in candidates {
                let value = trilinear(&logits[candidate as usize], share);
                if value > best {
                    (best, label) = (value, candidate);
                }
            }
            out.set(at, label as usize);
        });
    }

    /// The eight voxels, those further along axis 0 in odd places.
    fn corner_voxels(&self, cell: [usize; 3]) -> [[usize; 3]; 8] {
        std::array::from_fn(|place| {
            std::array::from_fn(|axis| (cell[axis] + (place >> axis & 1)).min(self.model_shape[axis] - 1))
        })
    }

    /// Finds the classes that are not less than one of `winners` at all eight voxels; returns how many.
    fn choose(&mut self, winners: [usize; 8]) -> usize {
        let mut count = 0;
        for (class, logits) in self.corners.iter().enumerate() {
            let less_than = |winner: usize| {
                let other = &self.corners[winner];
                logits.iter().zip(other).all(|(logit, other)| logit < other)
            };
            if winners.contains(&class) || !winners.iter().any(|&winner| less_than(winner)) {
                self.candidates[count] = class as u32;
                count += 1;
            }
        }
        count
    }

    /// Calls `visit` with the place in memory of each source voxel in a cell, and its shares of the further voxels.
    fn each_source_voxel(&self, cell: [usize; 3], mut visit: impl FnMut(usize, [f32; 3])) {
        let [fast, middle, slow] = &self.axes;
        let [x_step, y_step, z_step] = self.source_steps;
        for &(z, z_share) in slow.between(cell[2]) {
            for &(y, y_share) in middle.between(cell[1]) {
                let base = z as usize * z_step + y as usize * y_step;
                for &(x, x_share) in fast.between(cell[0]) {
                    visit(base + x as usize * x_step, [x_share, y_share, z_share]);
                }
            }
        }
    }
}

fn trilinear(corners: &[f32; 8], [x, y, z]: [f32; 3]) -> f32 {
    let between = |a: f32, b: f32, share: f32| a * (1.0 - share) + b * share;
    let line = |first: usize| between(corners[first], corners[first + 1], x);
    let near = between(line(0), line(2), y);
    let far = between(line(4), line(6), y);
    between(near, far, z)
}
