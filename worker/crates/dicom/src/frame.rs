//! One frame of pixels: native bytes unpacked here, compressed ones handed to the codec of their transfer syntax. Every
//! codec's own header is held against the DICOM header before the codec may allocate.

use std::borrow::Cow;

use dicom_dictionary_std::uids;
use dicom_encoding::transfer_syntax::Endianness;
use memchr::memmem;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use super::shape::Shape;
use super::source::EncodedDataSet;
use super::{native, rle};
use crate::codec::{Codec, CodecImage, CodecRequest, isolated};
use crate::codestream::jpeg::{Markers, missing_eoi as missing_eoi_warning};
use crate::codestream::{jpeg_2000, jpeg_ls};
use crate::error::refuse;
use crate::options::ReadOptions;
use crate::samples::{Samples, value_above};

/// A frame as its codec gives it, before the header says which bits count.
pub(super) enum Decoded<'a> {
    /// Bytes of uncompressed words.
    Uncompressed(Cow<'a, [u8]>),
    /// Words as they were before they were packed.
    Words(Samples),
    Image {
        image: CodecImage,
        lossy: bool,
    },
}

/// Compressed pixels; the fragments together are the frame. Where the codestream has fewer bits than the header says,
/// `shape` is made to agree with it, with a warning.
pub(super) fn encapsulated(
    fragments: &[&[u8]],
    source: &EncodedDataSet<'_>,
    shape: &mut Shape,
    options: &ReadOptions<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Samples, JobError> {
    match decode_frame(fragments, source, shape, options, warnings)? {
        Decoded::Uncompressed(frame) => {
            native::unpack(&frame, frame.len(), false, Endianness::Little, shape, options, warnings)
        }
        Decoded::Words(words) => native::stored_bits(words, shape, warnings),
        Decoded::Image { image, lossy } => fit(image, lossy, shape, warnings),
    }
}

/// Decodes the fragments of one frame by the codec of its transfer syntax.
pub(super) fn decode_frame<'a>(
    fragments: &[&'a [u8]],
    source: &EncodedDataSet<'_>,
    shape: &Shape,
    options: &ReadOptions<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Decoded<'a>, JobError> {
    let frame: Cow<'a, [u8]> = match fragments {
        [] => return Err(refuse(ErrorCode::Truncated, "the pixel data has no fragments")),
        [one] => Cow::Borrowed(one),
        several => Cow::Owned(several.concat()),
    };
    let inflated = shape.pixels() * shape.bytes_per_sample();
    if inflated as u64 > options.max_inflated_bytes {
        return Err(refuse(ErrorCode::InflatesTooLarge, format!("the image takes {inflated} bytes")));
    }
    let lossy;
    let (codec, (frame, missing_eoi)) = match source.syntax.uid() {
        uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => return Ok(Decoded::Uncompressed(frame)),
        uids::RLE_LOSSLESS => return rle::decode(&frame, shape).map(Decoded::Words),
        uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT => {
            lossy = true;
            (Codec::Jpeg, jpeg(&frame, lossy, shape)?)
        }
        uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1 => {
            lossy = false;
            (Codec::JpegLossless, jpeg(&frame, lossy, shape)?)
        }
        syntax @ (uids::JPEG2000_LOSSLESS | uids::JPEG2000) => {
            lossy = syntax == uids::JPEG2000;
            (Codec::Jpeg2000, jpeg_2000::check(&frame, shape.columns, shape.rows)?)
        }
        syntax @ (uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS) => {
            lossy = syntax == uids::JPEGLS_NEAR_LOSSLESS;
            (Codec::JpegLs, jpeg_ls::check(&frame)?)
        }
        other => {
            return Err(refuse(
                ErrorCode::UnsupportedTransferSyntax,
                format!("images in the transfer syntax {} ({other}) are not read", source.syntax.name()),
            ));
        }
    };
    if missing_eoi {
        warnings.push(missing_eoi_warning());
    }
    let request = CodecRequest {
        codec,
        columns: shape.columns,
        rows: shape.rows,
        bits: shape.bits_allocated,
        signed: shape.signed,
        working_bytes: options.max_inflated_bytes,
        frame: &frame,
    };
    isolated(&request, options.codec).map(|image| Decoded::Image { image, lossy })
}

/// Holds the markers of a JPEG against the header; gives the image, and whether its end marker was missing.
fn jpeg<'a>(frame: &'a [u8], lossy: bool, shape: &Shape) -> Result<(Cow<'a, [u8]>, bool), JobError> {
    let markers = Markers::read(frame)?;
    if memmem::find(markers.rest, &[0xFF, 0xD8, 0xFF]).is_some() {
        return Err(refuse(ErrorCode::MultiFrame, "the pixel data holds another image after the first"));
    }
    if (markers.width, markers.height) != (shape.columns, shape.rows) {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!(
                "the compressed image is {} x {} pixels, its header says {} x {}",
                markers.width, markers.height, shape.columns, shape.rows
            ),
        ));
    }
    if markers.components != 1 {
        return Err(refuse(ErrorCode::ColourImage, "the JPEG inside is in colour; grey is read"));
    }
    match (lossy, markers.process, markers.precision) {
        (false, 3, _) | (true, 0 | 1 | 2 | 9 | 10, 8) | (true, 0 | 1, 12) => {}
        (false, ..) => {
            return Err(refuse(
                ErrorCode::DecodeFailed,
                "the JPEG has loss although its transfer syntax denies it",
            ));
        }
        (true, process, precision) => {
            return Err(refuse(
                ErrorCode::UnsupportedMedia,
                format!(
                    "a JPEG of process SOF{process} with {precision} bits is not read in this transfer syntax"
                ),
            ));
        }
    }
    Ok((markers.image, markers.missing_eoi))
}

/// How far above its stored bits a lossy codec may ring, as a share of their range. What lies higher is not ringing: the
/// header denies bits that the image has.
const OVERSHOOT: u32 = 2;

/// Whether a lossy codec's greatest sample is too far above the stored bits.
pub(super) fn overshoots(brightest: u32, most: u32) -> bool {
    brightest > most + most / OVERSHOOT
}

/// Decoded samples: codecs give values in the lowest bits, whatever `HighBit` says of the words they were made from. Where
/// the header calls them signed, the highest bit of the codestream is the sign.
fn fit(
    image: CodecImage,
    lossy: bool,
    shape: &mut Shape,
    warnings: &mut Vec<Warning>,
) -> Result<Samples, JobError> {
    let precision = u16::from(image.precision);
    let mut samples = image.samples;
    native::check_sign(&samples, shape.signed, precision.clamp(1, 16), 0)?;
    if precision < shape.bits_stored {
        warnings.push(Warning::new(
            WarningCode::CodestreamNarrower,
            format!(
                "the compressed image has {precision} bits where the header says {}; its own were taken",
                shape.bits_stored
            ),
        ));
        shape.bits_stored = precision;
    }
    let (brightest, most) = (samples.max(), shape.max_value());
    if brightest > most {
        if !lossy || overshoots(brightest, most) {
            return Err(value_above(brightest, most));
        }
        samples.clamp(most);
    }
    Ok(samples)
}
