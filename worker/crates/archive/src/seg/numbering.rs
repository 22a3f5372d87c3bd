//! Values of a label map as segments of an object.

use super::input::{SegInput, SegSegment};
use crate::error::{ArchiveError, Fault};

/// Segments that have voxels, numbered from 1 without gaps: an empty one makes viewers hang, and is no segment.
pub(super) struct Numbering<'a> {
    pub segments: Vec<&'a SegSegment>,
    /// Of each value of the label map.
    pub of_value: [u8; 256],
}

/// # Errors
/// `Contradiction` where voxels, slices and segments do not fit each other; `TooLarge`.
pub(super) fn numbered<'a>(input: &SegInput<'a>) -> Result<Numbering<'a>, ArchiveError> {
    let [slices, rows, columns] = input.shape;
    let voxels = rows.checked_mul(columns).and_then(|plane| plane.checked_mul(slices));
    if voxels != Some(input.labels.len()) || voxels == Some(0) || slices != input.slices.len() {
        let (voxels, given) = (input.labels.len(), input.slices.len());
        return Err(ArchiveError::contradiction(format!(
            "{voxels} voxels and {given} slices are not {slices} slices of {rows} x {columns}"
        )));
    }
    if rows > usize::from(u16::MAX) || columns > usize::from(u16::MAX) {
        return Err(ArchiveError::new(
            Fault::TooLarge,
            format!("{rows} x {columns} voxels are no DICOM plane"),
        ));
    }
    let mut there = [false; 256];
    for value in input.labels {
        there[usize::from(*value)] = true;
    }
    let mut numbering = Numbering { segments: Vec::new(), of_value: [0; 256] };
    let mut known = [false; 256];
    for segment in input.segments {
        let value = usize::from(segment.number);
        let twice = input.segments.iter().filter(|other| other.name == segment.name).count() > 1;
        if value == 0 || known[value] || twice {
            return Err(ArchiveError::contradiction(format!(
                "the segment {} ({:?}) is not its own",
                value, segment.name
            )));
        }
        known[value] = true;
        if there[value] {
            numbering.segments.push(segment);
            numbering.of_value[value] = numbering.segments.len() as u8;
        }
    }
    let unknown = (1..256).find(|value| there[*value] && !known[*value]);
    match unknown {
        Some(value) => {
            Err(ArchiveError::contradiction(format!("the label map holds {value}, which is no segment")))
        }
        None => Ok(numbering),
    }
}
