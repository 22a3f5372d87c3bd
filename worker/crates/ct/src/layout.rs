//! Where the voxels of a series lie and what its slices are called, without their pixels: for whoever writes about it.

use bytes::Bytes;
use nightread_dicom::IsolatedCodec;

use crate::decode::Decoding;
use crate::error::{CtCode, CtError};
use crate::files::Study;
use crate::limits::CtLimits;
use crate::read::{Stacked, stacked};
use crate::slice::Slice;
use crate::stack::Grid;
use crate::volume::PartBytes;

/// Of two slices that a layer lies between, one this near is the layer: the share of the step between them.
const SAME_LAYER: f64 = 1e-6;

/// What a slice is called in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceName {
    pub sop_class: Option<String>,
    /// SOPInstanceUID.
    pub instance_uid: Option<String>,
    /// Which frame, from 1 on as DICOM counts them; `None` of a file with one image.
    pub frame: Option<u32>,
}

/// The voxels of one index k.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Centre of the first voxel in DICOM's system (x to the left, y to the back, z to the head), in millimetres. Of a layer that
    /// is a slice its ImagePositionPatient.
    pub origin_lps_mm: [f64; 3],
    /// The slice that it is, or the two that it was made of.
    pub slices: Vec<SliceName>,
}

/// The grid of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// As those of [`crate::CtVolume`].
    pub shape: [usize; 3],
    pub affine: [[f64; 4]; 3],
    /// ImageOrientationPatient of the slices: cosines along a row, then down a column.
    pub orientation: [f64; 6],
    /// PixelSpacing: between rows, between columns, in millimetres.
    pub spacing_mm: [f64; 2],
    /// From one layer to the next along the normal, in millimetres.
    pub step_mm: f64,
    /// In order of k.
    pub layers: Vec<Layer>,
    /// Every slice that the volume is made of, along the normal.
    pub slices: Vec<SliceName>,
    /// The whole file of the first slice, whose header speaks for the series.
    pub first: Bytes,
}

/// Reads the headers of a study as [`crate::from_parts`] does, and comes to the same slices at the same places; `None` for a NIfTI
/// file, which has none. Pixels are decoded only of slices that lie at one place.
///
/// # Errors
/// As [`crate::from_parts`], as far as headers tell.
pub fn layout(
    parts: &[PartBytes],
    limits: &CtLimits,
    codec: &dyn IsolatedCodec,
) -> Result<Option<Layout>, CtError> {
    let files = match Study::open(parts, limits)? {
        Study::Nifti(_) => return Ok(None),
        Study::Files(files) => files,
    };
    let stacked = stacked(&Decoding { files: &files, limits, codec })?;
    let (shape, affine) = (stacked.shape(), stacked.affine());
    let layers = layers(&stacked);
    let Stacked { slices, stack, .. } = stacked;
    let first = &slices[0];
    let mut found = None;
    files.each(&|id| id == first.file, &mut |_, bytes| {
        found = Some(bytes);
        Ok(())
    })?;
    let gone = || CtError::new(CtCode::Unreadable, "a file of the study is not there a second time");
    let extent = stack.places[stack.places.len() - 1] - stack.places[0];
    Ok(Some(Layout {
        shape,
        affine,
        orientation: first.orientation.unwrap_or_default(),
        spacing_mm: first.spacing.unwrap_or_default(),
        step_mm: extent / (stack.len() - 1) as f64,
        layers,
        slices: slices.iter().map(name).collect(),
        first: found.ok_or_else(gone)?,
    }))
}

fn name(slice: &Slice) -> SliceName {
    SliceName {
        sop_class: slice.of.sop_class.clone(),
        instance_uid: slice.of.instance_uid.clone(),
        frame: (slice.of.frames > 1).then_some(slice.frame + 1),
    }
}

fn layers(stacked: &Stacked) -> Vec<Layer> {
    let Stacked { slices, stack, .. } = stacked;
    let of = |slice: &Slice| Layer {
        origin_lps_mm: slice.position.unwrap_or_default(),
        slices: vec![name(slice)],
    };
    let made = match &stack.grid {
        Grid::AsAcquired => return slices.iter().map(of).collect(),
        Grid::Even(made) => made,
    };
    let origin = slices[0].position.unwrap_or_default();
    let between = |(nth, &(below, share)): (usize, &(usize, f64))| {
        let (lower, upper) = (&slices[below], &slices[below + 1]);
        if share < SAME_LAYER {
            of(lower)
        } else if share > 1.0 - SAME_LAYER {
            of(upper)
        } else {
            Layer {
                origin_lps_mm: [0, 1, 2].map(|axis| origin[axis] + nth as f64 * stack.step[axis]),
                slices: vec![name(lower), name(upper)],
            }
        }
    };
    made.iter().enumerate().map(between).collect()
}
