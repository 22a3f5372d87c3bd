//! The volume, and what is told beside it.

use std::collections::BTreeMap;

use nightread_domain::body::Body;
use nightread_domain::warning::Warning;

use crate::error::CtWarning;

/// The least Hounsfield unit that is kept: air. What lies below stands for nothing that was measured, and rings when it is
/// resampled.
pub const LEAST_HU: i16 = -1024;

/// One blob of a study. Its bytes decide what it is; `name` is for messages alone.
#[derive(Clone, Debug)]
pub struct PartBytes {
    pub name: String,
    pub body: Body,
}

/// A CT volume in Hounsfield units.
#[derive(Clone, Debug, PartialEq)]
pub struct CtVolume {
    /// Voxels along i (along a row of the images), j (down the rows) and k (from slice to slice).
    pub shape: [usize; 3],
    /// Hounsfield units, i fastest, then j; each at least [`LEAST_HU`].
    pub values: Vec<i16>,
    /// From voxel indices to millimetres, x to the right, y to the front, z to the head (RAS+, as NIfTI has it); rows.
    pub affine: [[f64; 4]; 3],
    /// What is told of the input in documents: names have their units.
    pub facts: BTreeMap<String, serde_json::Value>,
    pub warnings: Vec<CtWarning>,
    /// What was repaired in files, once for each code.
    pub file_warnings: Vec<Warning>,
    /// Files and images that are no part of the volume.
    pub skipped: Vec<Skipped>,
    /// The slices that the volume was made of, in order of k; empty for NIfTI. Where steps were made even, or slices made
    /// up, these are the real ones.
    pub slices: Vec<SliceFacts>,
}

/// A slice as it was acquired.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceFacts {
    /// Along the normal of the slices, in millimetres from the patient system's origin.
    pub position_mm: f64,
    /// ImagePositionPatient, in DICOM's system: x to the left, y to the back, z to the head.
    pub origin_lps_mm: [f64; 3],
    pub instance_uid: Option<String>,
    /// Which of the parts it came from, from 0 on.
    pub part: usize,
    /// Which member of the archive, from 0 on.
    pub member: Option<usize>,
    /// Which frame of the file, from 0 on.
    pub frame: u32,
}

/// A file, or frames of one, that are no part of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub part: usize,
    pub member: Option<usize>,
    /// The frame, where others of its file were taken.
    pub frame: Option<u32>,
    pub why: &'static str,
}

/// What a volume will take, before its pixels are decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub voxels: u64,
    /// The most bytes in memory at a time beside the parts themselves: the volume, a second one where steps are made even,
    /// and what decodes.
    pub bytes: u64,
    /// Where the voxels will lie.
    pub place: Place,
}

/// Where the voxels of a volume lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub shape: [usize; 3],
    /// As that of [`CtVolume`].
    pub affine: [[f64; 4]; 3],
}
