//! RLE Lossless (PS3.5 annex G): one PackBits segment for each byte of a sample, the high byte first.
//!
//! Written here because the registry's own adapter panics on segments that end early.

use nightread_domain::error::{ErrorCode, JobError};

use super::shape::Shape;
use crate::error::refuse;
use crate::samples::Samples;

/// The header is 16 little-endian words: the number of segments and their offsets.
const HEADER: usize = 64;

/// Decodes one frame of one grey sample a pixel.
pub(super) fn decode(frame: &[u8], shape: &Shape) -> Result<Samples, JobError> {
    let pixels = shape.pixels();
    let segments = shape.bytes_per_sample();
    if frame.len() < HEADER {
        return Err(refuse(ErrorCode::Truncated, "the RLE header is cut off"));
    }
    if word(frame, 0) != segments {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!("the RLE frame has {} segments where {segments} were expected", word(frame, 0)),
        ));
    }
    if segments == 1 {
        let mut bytes = Vec::with_capacity(pixels.min(frame.len().saturating_mul(64)));
        unpack(segment(frame, 0, segments)?, pixels, |run| bytes.extend(run))?;
        return Ok(Samples::U8(bytes));
    }
    let mut words = Vec::with_capacity(pixels.min(frame.len().saturating_mul(64)));
    unpack(segment(frame, 0, segments)?, pixels, |run| words.extend(run.map(|byte| u16::from(byte) << 8)))?;
    let mut high = words.iter_mut();
    unpack(segment(frame, 1, segments)?, pixels, |run| {
        // By the run, not by `zip`: that would take a word too many at each run's end.
        for byte in run {
            if let Some(word) = high.next() {
                *word |= u16::from(byte);
            }
        }
    })?;
    Ok(Samples::U16(words))
}

/// Number `k` of the 16 words of the header, which is there.
fn word(frame: &[u8], k: usize) -> usize {
    let at = &frame[4 * k..4 * k + 4];
    u32::from_le_bytes([at[0], at[1], at[2], at[3]]) as usize
}

/// Segment `k` of so many.
fn segment(frame: &[u8], k: usize, segments: usize) -> Result<&[u8], JobError> {
    let start = word(frame, k + 1);
    let end = if k + 1 < segments { word(frame, k + 2) } else { frame.len() };
    frame
        .get(start..end)
        .filter(|_| start >= HEADER)
        .ok_or_else(|| refuse(ErrorCode::DecodeFailed, "an RLE segment lies outside its frame"))
}

fn cut_short() -> JobError {
    refuse(ErrorCode::Truncated, "an RLE segment ends before its image does")
}

/// PackBits: `n` in 0..=127 copies the next `n + 1` bytes, 129..=255 repeats the next byte `257 - n` times, 128 does
/// nothing. Gives exactly `pixels` bytes; what a run holds beyond them is padding.
fn unpack(
    segment: &[u8],
    pixels: usize,
    mut take: impl FnMut(&mut dyn Iterator<Item = u8>),
) -> Result<(), JobError> {
    let mut rest = segment;
    let mut left = pixels;
    while left > 0 {
        let (&control, after) = rest.split_first().ok_or_else(cut_short)?;
        rest = after;
        match control {
            0..=127 => {
                let run = rest.get(..usize::from(control) + 1).ok_or_else(cut_short)?;
                rest = &rest[run.len()..];
                let used = run.len().min(left);
                take(&mut run[..used].iter().copied());
                left -= used;
            }
            128 => {}
            129..=255 => {
                let (&byte, after) = rest.split_first().ok_or_else(cut_short)?;
                rest = after;
                let used = (257 - usize::from(control)).min(left);
                take(&mut std::iter::repeat_n(byte, used));
                left -= used;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_packbits_specification() {
        let packed =
            [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA];
        let plain = [
            0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22, 0xAA, 0xAA,
            0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        ];
        let mut out = Vec::new();
        unpack(&packed, plain.len(), |run| out.extend(run)).unwrap();
        assert_eq!(out, plain);
        assert_eq!(unpack(&packed, plain.len() + 1, |_| {}).unwrap_err().code, ErrorCode::Truncated);
    }
}
