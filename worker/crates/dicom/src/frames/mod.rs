//! The frames of a file, each as stored values with their sign: for readings whose numbers are measured quantities.
//!
//! Where [`Pixels::samples`] gives the brightness of one image and refuses what is below zero, this gives numbers.

use std::ops::Range;

use dicom_encoding::transfer_syntax::Endianness;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use super::file::Pixels;
use super::fragments::{Fragments, collect, starts_an_image};
use super::frame::{Decoded, decode_frame, overshoots};
use super::native;
use super::shape::Shape;
use super::walk::PixelData;
use crate::error::refuse;
use crate::options::ReadOptions;
use crate::samples::{Samples, value_above};

/// Where the frames of a file are, none decoded yet.
#[derive(Debug)]
pub struct Frames<'a> {
    pixels: Pixels<'a>,
    shape: Shape,
    padding: Option<u16>,
    places: Places<'a>,
}

#[derive(Debug)]
enum Places<'a> {
    /// All frames one behind the other.
    Native { bytes: &'a [u8], swapped: bool, endianness: Endianness },
    /// The fragments of each frame.
    Encapsulated { fragments: Vec<&'a [u8]>, frames: Vec<Range<usize>> },
}

impl<'a> Pixels<'a> {
    /// Finds the frames: as many as the header says, one where it says nothing.
    ///
    /// # Errors
    /// `header_invalid` where header and pixel data contradict each other; `truncated`.
    pub fn frames(&self, warnings: &mut Vec<Warning>) -> Result<Frames<'a>, JobError> {
        let shape = self.shape()?;
        let file = self.file;
        self.check_agreement()?;
        let count = file.header.frames.unwrap_or(1).max(1) as usize;
        let places = match self.data {
            PixelData::Native { bytes, promised, swapped } => {
                let bytes = file.source.data.get(bytes.clone()).unwrap_or_default();
                let endianness = if file.big_endian { Endianness::Big } else { Endianness::Little };
                judge_length(bytes.len(), *promised, count, *swapped, &shape, warnings)?;
                Places::Native { bytes, swapped: *swapped, endianness }
            }
            PixelData::Encapsulated { at } => {
                let found = collect(&file.source.data, *at, warnings)?;
                let frames = split(&found, count)?;
                Places::Encapsulated { fragments: found.fragments, frames }
            }
        };
        Ok(Frames { pixels: *self, shape, padding: file.header.padding, places })
    }
}

impl Frames<'_> {
    /// How many frames there are.
    pub fn count(&self) -> usize {
        match &self.places {
            Places::Native { bytes, .. } => bytes.len() / frame_bytes(&self.shape).max(1),
            Places::Encapsulated { frames, .. } => frames.len(),
        }
    }

    /// How the header says that the samples lie in their bytes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The stored values of frame `n`, from 0 on: `columns * rows` of them in row order, before any rescaling. Bits above
    /// the stored ones must repeat the sign, belong to an overlay, or make up the header's padding value, which is then
    /// given as a signed word.
    ///
    /// # Errors
    /// `header_invalid`, `truncated`, `value_out_of_range`, `inflates_too_large`, and those of the codecs.
    pub fn values(
        &self,
        n: usize,
        options: &ReadOptions<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<i32>, JobError> {
        let size = frame_bytes(&self.shape);
        if size as u64 > options.max_inflated_bytes {
            return Err(refuse(ErrorCode::InflatesTooLarge, format!("the image takes {size} bytes")));
        }
        match &self.places {
            Places::Native { bytes, swapped, endianness } => {
                let frame = n.checked_mul(size).and_then(|start| bytes.get(start..start.checked_add(size)?));
                let frame = frame.ok_or_else(|| no_frame(n))?;
                self.unpacked(&native::words(frame, *swapped, *endianness, &self.shape), warnings)
            }
            Places::Encapsulated { fragments, frames } => {
                let range = frames.get(n).cloned().ok_or_else(|| no_frame(n))?;
                let source = &self.pixels.file.source;
                match decode_frame(&fragments[range], source, &self.shape, options, warnings)? {
                    Decoded::Uncompressed(bytes) => {
                        let short = || refuse(ErrorCode::Truncated, format!("frame {} is cut short", n + 1));
                        let frame = bytes.get(..size).ok_or_else(short)?;
                        self.unpacked(&native::words(frame, false, Endianness::Little, &self.shape), warnings)
                    }
                    Decoded::Words(words) => self.unpacked(&words, warnings),
                    Decoded::Image { image, lossy } => {
                        self.of_codec(image.samples, u16::from(image.precision), lossy, warnings)
                    }
                }
            }
        }
    }

    /// Values of words that lie as the header says.
    fn unpacked(&self, words: &Samples, warnings: &mut Vec<Warning>) -> Result<Vec<i32>, JobError> {
        let shape = &self.shape;
        let layout = Layout {
            stored: shape.bits_stored,
            width: shape.bits_allocated,
            shift: shape.shift.unwrap_or(0),
            overlay: shape.overlay_bits,
            signed: shape.signed,
            padding: self.padding,
        };
        let lowest = Layout { shift: 0, ..layout };
        if layout.all_fit(words) {
            if layout.shift > 0 {
                let text =
                    format!("the stored bits lie {} bits above the lowest, as HighBit says", layout.shift);
                warnings.push(Warning::new(WarningCode::HighBitShifted, text));
            }
            return Ok(layout.values(words));
        }
        if shape.shift != Some(0) && lowest.all_fit(words) {
            let text = format!(
                "HighBit is {}, but all samples lie in the lowest {} bits; they were taken as they are",
                shape.high_bit, shape.bits_stored
            );
            warnings.push(Warning::new(WarningCode::HighBitContradicted, text));
            return Ok(lowest.values(words));
        }
        Err(refuse(
            ErrorCode::ValueOutOfRange,
            format!(
                "the pixels use bits of their words outside the {} that the header says are stored",
                shape.bits_stored
            ),
        ))
    }

    /// Values of a codec's samples: in the lowest bits, the highest of which is the sign where the header has one.
    fn of_codec(
        &self,
        mut samples: Samples,
        precision: u16,
        lossy: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<i32>, JobError> {
        let shape = &self.shape;
        if precision < shape.bits_stored {
            let text = format!(
                "the compressed image has {precision} bits where the header says {}; its own were taken",
                shape.bits_stored
            );
            warnings.push(Warning::new(WarningCode::CodestreamNarrower, text));
        }
        let layout = Layout {
            stored: shape.bits_stored.min(precision),
            width: precision.max(shape.bits_stored),
            shift: 0,
            overlay: 0,
            signed: shape.signed,
            padding: self.padding,
        };
        if !layout.all_fit(&samples) {
            let (brightest, most) = (samples.max(), shape.max_value());
            if shape.signed || !lossy || overshoots(brightest, most) {
                return Err(value_above(brightest, most));
            }
            samples.clamp(most);
        }
        Ok(layout.values(&samples))
    }
}

/// How stored values lie in words of at most 16 bits.
#[derive(Clone, Copy, Debug)]
struct Layout {
    stored: u16,
    /// Bits of a word that may repeat the sign.
    width: u16,
    shift: u16,
    overlay: u16,
    signed: bool,
    padding: Option<u16>,
}

impl Layout {
    fn field(&self) -> u16 {
        ones(self.stored)
    }

    fn sign(&self) -> u16 {
        if self.signed { 1 << (self.stored - 1) } else { 0 }
    }

    /// Whether a word holds a stored value and nothing else that matters.
    fn fits(&self, word: u16) -> bool {
        let value = word >> self.shift;
        let below = word & ones(self.shift) & !self.overlay;
        let above = value & !self.field();
        let repeats = ones(self.width.saturating_sub(self.shift)) & !self.field();
        let is_sign = value & self.sign() != 0 && above == repeats;
        below == 0 && (is_sign || above & !(self.overlay >> self.shift) == 0)
    }

    fn all_fit(&self, samples: &Samples) -> bool {
        let fits = |word: u16| self.fits(word) || Some(word) == self.padding;
        match samples {
            Samples::U8(samples) => samples.iter().all(|&byte| fits(byte.into())),
            Samples::U16(samples) => samples.iter().all(|&word| fits(word)),
        }
    }

    fn value(&self, word: u16) -> i32 {
        if !self.fits(word) {
            return i32::from(word as i16); // the padding value
        }
        let value = (word >> self.shift) & self.field();
        let sign = i32::from(self.sign());
        (i32::from(value) ^ sign) - sign
    }

    fn values(&self, samples: &Samples) -> Vec<i32> {
        match samples {
            Samples::U8(samples) => samples.iter().map(|&byte| self.value(byte.into())).collect(),
            Samples::U16(samples) => samples.iter().map(|&word| self.value(word)).collect(),
        }
    }
}

/// So many of the lowest bits.
fn ones(bits: u16) -> u16 {
    u16::MAX.checked_shr(16 - u32::from(bits.min(16))).unwrap_or(0)
}

fn frame_bytes(shape: &Shape) -> usize {
    shape.pixels() * shape.bytes_per_sample()
}

fn no_frame(n: usize) -> JobError {
    refuse(ErrorCode::HeaderInvalid, format!("the file has no frame {}", n + 1))
}

/// A file of one frame is judged as an image is; one of several holds them all and a byte of padding at most.
fn judge_length(
    held: usize,
    promised: usize,
    count: usize,
    swapped: bool,
    shape: &Shape,
    warnings: &mut Vec<Warning>,
) -> Result<(), JobError> {
    if count == 1 {
        return native::judge_length(held, promised, shape, warnings);
    }
    let said = format!(
        "{count} frames of {} x {} pixels of {} bits",
        shape.columns, shape.rows, shape.bits_allocated
    );
    let expected = frame_bytes(shape).checked_mul(count);
    if expected.is_none_or(|expected| promised < expected || promised > expected + 1) {
        let text = format!("the pixel data is {promised} bytes long; its header says {said}");
        return Err(refuse(ErrorCode::HeaderInvalid, text));
    }
    if expected.is_some_and(|expected| held < expected) {
        let text = format!("the file ends after {held} bytes of its pixel data; its header says {said}");
        return Err(refuse(ErrorCode::Truncated, text));
    }
    if swapped && shape.bits_allocated == 8 {
        return Err(refuse(ErrorCode::HeaderInvalid, format!("{said} in big-endian words are not read")));
    }
    Ok(())
}

/// Which fragments are which frame: one each, or as the offset table says, or as their codestreams begin.
fn split(found: &Fragments<'_>, count: usize) -> Result<Vec<Range<usize>>, JobError> {
    let fragments = &found.fragments;
    if fragments.is_empty() {
        return Err(refuse(ErrorCode::Truncated, "the pixel data has no fragments"));
    }
    if count == fragments.len() {
        return Ok((0..count).map(|n| n..n + 1).collect());
    }
    if count == 1 {
        // More images than the header says are one too many, wherever they came from.
        let images = 1 + fragments[1..].iter().filter(|fragment| starts_an_image(fragment)).count();
        return if images == 1 {
            Ok(std::iter::once(0..fragments.len()).collect())
        } else {
            Err(contradicted(count, images))
        };
    }
    let starts: Vec<usize> = if found.offsets.len() == count {
        // Offsets count from the first fragment's own header.
        let mut begins = Vec::with_capacity(fragments.len());
        let mut at = 0u64;
        for fragment in fragments {
            begins.push(at);
            at += 8 + fragment.len() as u64;
        }
        found.offsets.iter().filter_map(|&offset| begins.binary_search(&offset.into()).ok()).collect()
    } else {
        (0..fragments.len()).filter(|&n| starts_an_image(fragments[n])).collect()
    };
    let rises = starts.first() == Some(&0) && starts.windows(2).all(|pair| pair[0] < pair[1]);
    if starts.len() != count || !rises {
        return Err(contradicted(count, fragments.len()));
    }
    let ends = starts[1..].iter().copied().chain([fragments.len()]);
    Ok(starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect())
}

fn contradicted(count: usize, found: usize) -> JobError {
    let text = format!(
        "the header says {count} frames, but the pixel data is in {found} pieces that do not fit them"
    );
    refuse(ErrorCode::HeaderInvalid, text)
}

#[cfg(test)]
mod tests;
