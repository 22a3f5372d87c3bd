//! A label for each voxel.

use std::ops::Range;

/// Labels, axis 0 fastest: one byte each up to 255 classes, else two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelValues {
    U8(Vec<u8>),
    U16(Vec<u16>),
}

impl LabelValues {
    pub(crate) fn zeros(classes: usize, voxels: usize) -> Self {
        match crate::window::label_bytes(classes) {
            1 => Self::U8(vec![0; voxels]),
            _ => Self::U16(vec![0; voxels]),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The label at a place in memory.
    #[inline]
    pub fn get(&self, at: usize) -> usize {
        match self {
            Self::U8(values) => usize::from(values[at]),
            Self::U16(values) => usize::from(values[at]),
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, at: usize, label: usize) {
        match self {
            Self::U8(values) => values[at] = label as u8,
            Self::U16(values) => values[at] = label as u16,
        }
    }

    /// Sets to 0 what lies outside of these ranges.
    pub(crate) fn keep_inside(&mut self, [wide, high, deep]: [usize; 3], inside: &[Range<usize>; 3]) {
        if *inside == [0..wide, 0..high, 0..deep] {
            return;
        }
        for at in 0..self.len() {
            let here = [at % wide, at / wide % high, at / wide / high];
            if !inside.iter().zip(here).all(|(range, index)| range.contains(&index)) {
                self.set(at, 0);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::U8(values) => values.capacity(),
            Self::U16(values) => 2 * values.capacity(),
        }
    }
}

/// Labels on the source's grid, in the order of the source's axes.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelMap {
    pub shape: [usize; 3],
    /// Voxel -> mm in RAS+.
    pub affine: [[f64; 4]; 3],
    pub values: LabelValues,
}
