//! Frames with voxels, and the voxels.

use dicom_dictionary_std::{tags, uids};

use super::input::{SegForm, SegInput};
use super::numbering::Numbering;
use crate::data::Data;
use crate::error::{ArchiveError, Fault};
use crate::object::PLAIN;
use crate::rle;

/// One frame: whose voxels, and on which slice. Positions are counted among the slices that have frames.
#[derive(Debug)]
pub(super) struct Made {
    /// 0 where the frame holds every segment.
    pub segment: u8,
    pub slice: usize,
    pub position: u32,
}

/// Only frames with voxels, by segment and then by slice.
pub(super) fn frames(input: &SegInput<'_>, form: SegForm, numbering: &Numbering<'_>) -> Vec<Made> {
    let plane = input.shape[1] * input.shape[2];
    let mut on_slice = vec![[false; 256]; input.shape[0]];
    for (there, labels) in on_slice.iter_mut().zip(input.labels.chunks(plane)) {
        for value in labels {
            there[usize::from(numbering.of_value[usize::from(*value)])] = true;
        }
    }
    let is_used = |there: &[bool; 256]| there[1..].contains(&true);
    let mut position = vec![0_u32; on_slice.len()];
    let mut count = 0;
    for (there, position) in on_slice.iter().zip(&mut position) {
        count += u32::from(is_used(there));
        *position = count;
    }
    let segments: Vec<u8> = match form {
        SegForm::Binary => (1..=numbering.segments.len() as u8).collect(),
        SegForm::LabelMap => vec![0],
    };
    let mut made = Vec::new();
    for segment in segments {
        for (slice, there) in on_slice.iter().enumerate() {
            if if segment == 0 { is_used(there) } else { there[usize::from(segment)] } {
                made.push(Made { segment, slice, position: position[slice] });
            }
        }
    }
    made
}

/// Writes the voxels; the transfer syntax that they are in.
///
/// # Errors
/// `TooLarge`.
pub(super) fn pixels(
    data: &mut Data,
    form: SegForm,
    input: &SegInput<'_>,
    numbering: &Numbering<'_>,
    frames: &[Made],
) -> Result<&'static str, ArchiveError> {
    let [_, rows, columns] = input.shape;
    let plane = rows * columns;
    let labels = |made: &Made| input.labels.iter().skip(made.slice * plane).take(plane);
    let number = |value: &u8| numbering.of_value[usize::from(*value)];
    let too_large = || {
        let text =
            format!("{} frames of {rows} x {columns} are more than an object has room for", frames.len());
        ArchiveError::new(Fault::TooLarge, text)
    };
    match form {
        SegForm::Binary => {
            let bits = plane.checked_mul(frames.len()).filter(|bits| bits / 8 < u32::MAX as usize - 2);
            let bits = bits.ok_or_else(too_large)?;
            // Frames follow each other bit by bit, the first in the lowest (PS3.5, 8.2 and D.3).
            let mut bytes = vec![0_u8; bits.div_ceil(8)];
            for (nth, made) in frames.iter().enumerate() {
                for (pixel, value) in labels(made).enumerate() {
                    if number(value) == made.segment {
                        let bit = nth * plane + pixel;
                        bytes[bit / 8] |= 1 << (bit % 8);
                    }
                }
            }
            data.bytes(tags::PIXEL_DATA, bytes);
            Ok(PLAIN)
        }
        SegForm::LabelMap => {
            let packed = frames.iter().map(|made| {
                let renumbered: Vec<u8> = labels(made).map(number).collect();
                rle::frame(&renumbered, columns)
            });
            let packed: Vec<Vec<u8>> = packed.collect();
            if packed.iter().map(|frame| frame.len() + 8).sum::<usize>() > u32::MAX as usize {
                return Err(too_large());
            }
            data.fragments(tags::PIXEL_DATA, packed);
            Ok(uids::RLE_LOSSLESS)
        }
    }
}
