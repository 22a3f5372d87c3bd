//! Samples as words and bytes: native pixel data unpacked, and the stored bits taken out of their words. RLE comes this way
//! too, because it packs the words as they are.
//!
//! The header may contradict the words it describes. Where the words leave one reading only, it is taken with a warning;
//! where they leave none, the image is refused. No bit is dropped that no overlay claims.

use dicom_encoding::transfer_syntax::Endianness;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use super::shape::Shape;
use crate::error::refuse;
use crate::options::ReadOptions;
use crate::samples::Samples;

/// Unpacks uncompressed pixels. `promised` is the length that the element claims: `bytes` are what of it the file holds.
pub(super) fn unpack(
    bytes: &[u8],
    promised: usize,
    swapped: bool,
    endianness: Endianness,
    shape: &Shape,
    options: &ReadOptions<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Samples, JobError> {
    let expected = shape.pixels() * shape.bytes_per_sample();
    if expected as u64 > options.max_inflated_bytes {
        return Err(refuse(ErrorCode::InflatesTooLarge, format!("the image takes {expected} bytes")));
    }
    judge_length(bytes.len(), promised, shape, warnings)?;
    stored_bits(words(bytes, swapped, endianness, shape), shape, warnings)
}

/// The words of one frame as they lie in `bytes`, which hold them all.
pub(super) fn words(bytes: &[u8], swapped: bool, endianness: Endianness, shape: &Shape) -> Samples {
    let expected = shape.pixels() * shape.bytes_per_sample();
    if shape.bits_allocated == 8 {
        // The last word of an odd image holds its last pixel and a byte of padding, in either order.
        let mut samples = bytes[..expected.next_multiple_of(2).min(bytes.len())].to_vec();
        if swapped {
            samples.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        samples.truncate(expected);
        Samples::U8(samples)
    } else {
        let pairs = bytes[..expected].as_chunks().0.iter();
        Samples::U16(match endianness {
            Endianness::Little => pairs.map(|pair| u16::from_le_bytes(*pair)).collect(),
            Endianness::Big => pairs.map(|pair| u16::from_be_bytes(*pair)).collect(),
        })
    }
}

/// One byte too many pads the element to an even length. A row too many, or more, or whole columns too many are the shape of
/// another image.
pub(super) fn judge_length(
    held: usize,
    promised: usize,
    shape: &Shape,
    warnings: &mut Vec<Warning>,
) -> Result<(), JobError> {
    let expected = shape.pixels() * shape.bytes_per_sample();
    let row = shape.columns as usize * shape.bytes_per_sample();
    let said = format!(
        "{} x {} pixels of {} bits, which are {expected} bytes",
        shape.columns, shape.rows, shape.bits_allocated
    );
    if held < expected && held < promised {
        return Err(refuse(
            ErrorCode::Truncated,
            format!("the file ends after {held} bytes of its pixel data; its header says {said}"),
        ));
    }
    if promised < expected {
        return Err(refuse(
            ErrorCode::HeaderInvalid,
            format!("the pixel data is {promised} bytes long; its header says {said}"),
        ));
    }
    let excess = promised - expected;
    // A column more in every row is an image that would be read askew.
    let column = shape.rows as usize * shape.bytes_per_sample();
    if excess >= row || excess >= column && excess % column <= 1 {
        return Err(refuse(
            ErrorCode::HeaderInvalid,
            format!("the pixel data is {promised} bytes long; its header says {said}: another image's shape"),
        ));
    }
    if excess > 1 {
        warnings.push(Warning::new(
            WarningCode::ExcessPixelData,
            format!("the pixel data is {excess} bytes longer than its image; they were left out"),
        ));
    }
    Ok(())
}

/// Takes the stored bits out of their words.
pub(super) fn stored_bits(
    mut samples: Samples,
    shape: &Shape,
    warnings: &mut Vec<Warning>,
) -> Result<Samples, JobError> {
    let used = samples.used_bits();
    let field = shape.max_value() as u16;
    // They must all be the samples'.
    let unclaimed = used & !shape.overlay_bits;
    let shift = match shape.shift {
        Some(0) if unclaimed & !field == 0 => 0,
        Some(shift) if shift > 0 && unclaimed & !(field << shift) == 0 => {
            warnings.push(Warning::new(
                WarningCode::HighBitShifted,
                format!(
                    "the stored bits lie {shift} bits above the lowest, as HighBit says; they were moved down"
                ),
            ));
            shift
        }
        // HighBit may be careless; the samples are not.
        Some(1..) | None if unclaimed & !field == 0 => {
            warnings.push(Warning::new(
                WarningCode::HighBitContradicted,
                format!(
                    "HighBit is {}, but all samples lie in the lowest {} bits; they were taken as they are",
                    shape.high_bit, shape.bits_stored
                ),
            ));
            0
        }
        claimed => return Err(beyond(used, claimed, shape)),
    };
    check_sign(&samples, shape.signed, shape.bits_stored, shift)?;
    if used & !(field << shift) != 0 {
        warnings.push(Warning::new(
            WarningCode::OverlayRemoved,
            "an overlay lies in the bits around the samples; it was taken away",
        ));
    }
    if shift != 0 || used & !field != 0 {
        samples.each(|word| (word >> shift) & field);
    }
    Ok(samples)
}

fn beyond(used: u16, claimed: Option<u16>, shape: &Shape) -> JobError {
    // A negative sample sets every bit above its sign.
    if shape.signed && used >> (shape.bits_allocated - 1) & 1 == 1 {
        return negative();
    }
    let field = (shape.max_value() as u16) << claimed.unwrap_or(0);
    let above = used & !field & !shape.overlay_bits;
    refuse(
        ErrorCode::ValueOutOfRange,
        format!(
            "the pixels use bit {} of their words, outside the {} bits that the header says are stored below bit {}; no \
             overlay is declared there",
            above.checked_ilog2().unwrap_or(0),
            shape.bits_stored,
            u32::from(shape.high_bit) + 1
        ),
    )
}

/// Refuses negative samples of a signed image, whose sign is the highest of `bits` above `shift`.
pub(super) fn check_sign(samples: &Samples, signed: bool, bits: u16, shift: u16) -> Result<(), JobError> {
    let sign = 1u16 << (bits - 1 + shift);
    if signed && samples.used_bits() & sign != 0 {
        return Err(negative());
    }
    Ok(())
}

fn negative() -> JobError {
    refuse(ErrorCode::ValueOutOfRange, "the image holds negative values; samples from zero up are read")
}
