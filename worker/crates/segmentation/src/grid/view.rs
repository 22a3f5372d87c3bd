//! A turned and cropped volume, read where it lies.

use std::ops::Range;

use super::turn::Turned;
use crate::types::Grid;

/// Values of a volume along the axes x, y, z of its turned self.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    values: &'a [i16],
    /// Index of the first voxel.
    first: usize,
    /// Steps from one voxel to the next.
    steps: [isize; 3],
    pub shape: [usize; 3],
}

impl<'a> View<'a> {
    /// All of the source. Its values are as many as its shape says.
    pub fn new(source: &'a Grid<i16>, turned: &Turned) -> Self {
        let [a, b, _] = source.shape;
        let strides = [1, a, a * b];
        let mut view = Self { values: &source.values, first: 0, steps: [0; 3], shape: turned.shape() };
        for (at, axis) in turned.axes.iter().enumerate() {
            let stride = strides[axis.source_axis];
            view.steps[at] = if axis.flipped { -(stride as isize) } else { stride as isize };
            if axis.flipped {
                view.first += (axis.length - 1) * stride;
            }
        }
        view
    }

    pub fn cropped(mut self, crop: &[Range<usize>; 3]) -> Self {
        self.first = self.index([crop[0].start, crop[1].start, crop[2].start]);
        self.shape = [crop[0].len(), crop[1].len(), crop[2].len()];
        self
    }

    fn index(&self, voxel: [usize; 3]) -> usize {
        let away: isize = voxel.iter().zip(self.steps).map(|(at, step)| *at as isize * step).sum();
        self.first.wrapping_add_signed(away)
    }

    pub fn at(&self, voxel: [usize; 3]) -> i16 {
        self.values[self.index(voxel)]
    }

    /// Indices of voxels along one axis, from the first on, to be added up over the axes by [`Self::value`].
    pub fn offset(&self, axis: usize, at: usize) -> isize {
        at as isize * self.steps[axis]
    }

    /// The value at the sum of offsets.
    pub fn value(&self, offset: isize) -> i16 {
        self.values[self.first.wrapping_add_signed(offset)]
    }

    /// The least box that holds every voxel that is not 0; all of the volume where there is none (nnU-Net's
    /// `crop_to_nonzero`: filled holes do not change a box).
    pub fn nonzero(&self) -> [Range<usize>; 3] {
        let mut kept = self.shape.map(|length| 0..length);
        for axis in 0..3 {
            let any = |at: usize| self.slice_has_value(axis, at, &kept);
            let Some(start) = (0..self.shape[axis]).find(|at| any(*at)) else { return kept };
            let end = (start..self.shape[axis]).rfind(|at| any(*at)).unwrap_or(start) + 1;
            kept[axis] = start..end;
        }
        kept
    }

    fn slice_has_value(&self, axis: usize, at: usize, kept: &[Range<usize>; 3]) -> bool {
        let mut ranges = kept.clone();
        ranges[axis] = at..at + 1;
        let [x, y, z] = ranges;
        z.into_iter().any(|z| y.clone().any(|y| x.clone().any(|x| self.at([x, y, z]) != 0)))
    }
}
