//! What a segmentation is made of.

use crate::concept::{Concept, Laterality};
use crate::source::Reference;

/// How voxels are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SegForm {
    /// One bit a voxel, one frame for each organ on each slice that has it: every archive takes it.
    #[default]
    Binary,
    /// One byte a voxel, one frame a slice, RLE: 30 times smaller, and of a SOP class that archives learn only now.
    LabelMap,
}

/// One image of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegImage {
    pub image: Reference,
    /// Which frame, from 1 on; `None` of a file with one image.
    pub frame: Option<u32>,
}

/// One slice of the label map.
#[derive(Clone, Debug, PartialEq)]
pub struct SegSlice {
    /// The image that it was made of, or the two that it lies between.
    pub images: Vec<SegImage>,
    /// ImagePositionPatient: centre of the first voxel, LPS in mm.
    pub position: [f64; 3],
}

/// One value of the label map.
#[derive(Clone, Debug, PartialEq)]
pub struct SegSegment {
    /// Its value in the label map, from 1.
    pub number: u8,
    /// As [`crate::Organ`] calls it.
    pub name: String,
    pub code: Option<Concept>,
    pub laterality: Option<Laterality>,
}

/// A label map on the grid of its source.
#[derive(Clone, Copy, Debug)]
pub struct SegInput<'a> {
    /// Slices, rows, columns; columns first. 0 is no organ.
    pub labels: &'a [u8],
    pub shape: [usize; 3],
    /// One a slice, in the order of `labels`.
    pub slices: &'a [SegSlice],
    /// ImageOrientationPatient: cosines along a row, then down a column.
    pub orientation: [f64; 6],
    /// PixelSpacing: between rows, between columns, in mm.
    pub spacing: [f64; 2],
    /// Between the centres of slices, in mm.
    pub slice_spacing: f64,
    pub segments: &'a [SegSegment],
}
