//! One frame of pixels: native bytes unpacked here, compressed ones handed to the codec of their transfer syntax. Every
//! codec's own header is held against the DICOM header before the codec may allocate.

use std::borrow::Cow;

use dicom_dictionary_std::uids;
use dicom_encoding::transfer_syntax::Endianness;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::Warning;

use super::source::Source;
use super::{Shape, native, rle};
use crate::codec::{Codec, CodecImage, CodecRequest};
use crate::decode::{j2k, jpeg, jpeg_lossless};
use crate::error::refuse;
use crate::options::DecodeOptions;
use crate::radiograph::Samples;

/// Compressed pixels; the fragments together are the frame.
pub(super) fn encapsulated(
    fragments: &[&[u8]],
    source: &Source<'_>,
    shape: &mut Shape,
    options: &DecodeOptions,
    warnings: &mut Vec<Warning>,
) -> Result<Samples, JobError> {
    let frame: Cow<'_, [u8]> = match fragments {
        [] => return Err(refuse(ErrorCode::Truncated, "the pixel data has no fragments")),
        [one] => Cow::Borrowed(one),
        several => Cow::Owned(several.concat()),
    };
    let inflated = shape.pixels() * shape.bytes_per_sample();
    if inflated as u64 > options.limits.max_inflated_bytes {
        return Err(refuse(ErrorCode::InflatesTooLarge, format!("the picture takes {inflated} bytes")));
    }
    match source.syntax.uid() {
        uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => {
            native::unpack(&frame, frame.len(), false, Endianness::Little, shape, options, warnings)
        }
        uids::RLE_LOSSLESS => native::stored_bits(rle::decode(&frame, shape)?, shape, warnings),
        uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT => dct(&frame, shape, options),
        uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1 => {
            let words = jpeg_lossless::decode(&frame, shape.columns, shape.rows)?;
            fit(words, shape.bits_stored, shape)
        }
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => {
            let codestream = j2k::check(&frame, shape.columns, shape.rows)?;
            isolated(codestream, Codec::Jpeg2000, shape, options)
        }
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => isolated(&frame, Codec::JpegLs, shape, options),
        other => Err(refuse(
            ErrorCode::UnsupportedTransferSyntax,
            format!("pictures in the transfer syntax {} ({other}) are not read", source.syntax.name()),
        )),
    }
}

fn dct(frame: &[u8], shape: &Shape, options: &DecodeOptions) -> Result<Samples, JobError> {
    let decoder = jpeg::open(frame, options)?;
    let header = decoder.header();
    same_size((u32::from(header.width), u32::from(header.height)), shape)?;
    if header.components.len() != 1 {
        return Err(refuse(ErrorCode::ColourImage, "the JPEG inside is in colour; radiographs are grey"));
    }
    match header.precision {
        8 => {
            let words = jpeg::channel_0(decoder, frame.len(), options)?;
            fit(words.into_iter().map(u16::from).collect(), 8, shape)
        }
        12 => fit(jpeg::extended_12(frame, shape.pixels())?, 12, shape),
        other => {
            Err(refuse(ErrorCode::UnsupportedMedia, format!("a JPEG of {other} bits with loss is not read")))
        }
    }
}

fn isolated(frame: &[u8], codec: Codec, shape: &Shape, options: &DecodeOptions) -> Result<Samples, JobError> {
    let Some(runner) = &options.codec else {
        return Err(refuse(
            ErrorCode::UnsupportedTransferSyntax,
            format!("pictures in {} need the isolated codec, which is switched off", codec.as_str()),
        ));
    };
    let request =
        CodecRequest { codec, columns: shape.columns, rows: shape.rows, frame, bits: shape.bits_allocated };
    let CodecImage { precision, data } = runner.decode(&request)?;
    let words: Vec<u16> = if precision > 8 {
        data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
    } else {
        data.into_iter().map(u16::from).collect()
    };
    if words.len() != shape.pixels() {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!("the codec gave {} samples where {} were expected", words.len(), shape.pixels()),
        ));
    }
    fit(words, precision.into(), shape)
}

fn same_size(inside: (u32, u32), shape: &Shape) -> Result<(), JobError> {
    if inside == (shape.columns, shape.rows) {
        return Ok(());
    }
    Err(refuse(
        ErrorCode::DecodeFailed,
        format!(
            "the compressed picture is {} x {} pixels, its header says {} x {}",
            inside.0, inside.1, shape.columns, shape.rows
        ),
    ))
}

/// Decoded words: codecs give values in the lowest `precision` bits, whatever `HighBit` says of the words they were made
/// from. Where the header calls them signed, the highest of those bits is the sign.
fn fit(words: Vec<u16>, precision: u16, shape: &Shape) -> Result<Samples, JobError> {
    let samples = Samples::U16(words);
    native::check_sign(&samples, shape.signed, precision.clamp(1, 16), 0)?;
    Ok(samples)
}
