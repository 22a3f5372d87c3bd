//! TIFF: 8 and 16 bits, grey or RGB (channel 0), with or without alpha, uncompressed, LZW, deflate and PackBits.
//!
//! `WhiteIsZero` is inverted, from the stored maximum where that is known, because such an image is a negative. (The training
//! code's reader, tifffile, leaves it as it is; the data sets in question hold no such file.) Reduced copies and masks beside
//! the one image are passed over.

use std::io::Cursor;

use nightread_dicom::Samples;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{PhotometricInterpretation, PlanarConfiguration, Tag};
use tiff::{ColorType, TiffError, TiffFormatError};

use super::{check_inflation, doubt_range};
use crate::error::refuse;
use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    if matches!(bytes.get(..4), Some(b"II+\0" | b"MM\0+")) {
        return Err(refuse(
            ErrorCode::UnsupportedMedia,
            "BigTIFF is not read; save the image as a classic TIFF",
        ));
    }
    let most = usize::try_from(options.limits.max_inflated_bytes).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(tiff_error)?.with_limits(limits);

    let mut warnings = Vec::new();
    the_one_image(&mut decoder)?;
    let (width, height) = decoder.dimensions().map_err(tiff_error)?;
    gate::no_header(&mut warnings);
    gate::judge_size(width, height, &options.limits, &options.gate, &mut warnings)?;
    let colour = decoder.colortype().map_err(tiff_error)?;
    let (channels, bits) = match colour {
        ColorType::Gray(bits @ (8 | 16)) => (1, bits),
        // The library's word for grey with alpha.
        ColorType::Multiband { bit_depth: bits @ (8 | 16), num_samples: 2 } if has_extra(&mut decoder)? => {
            (2, bits)
        }
        ColorType::RGB(bits @ (8 | 16)) => (3, bits),
        ColorType::RGBA(bits @ (8 | 16)) => (4, bits),
        other => {
            return Err(refuse(
                ErrorCode::UnsupportedPhotometric,
                format!("the TIFF is {other:?}; grey and RGB of 8 or 16 bits are read"),
            ));
        }
    };
    let photometric: Option<u16> =
        decoder.find_tag_unsigned(Tag::PhotometricInterpretation).map_err(tiff_error)?;
    let planar: Option<u16> = decoder.find_tag_unsigned(Tag::PlanarConfiguration).map_err(tiff_error)?;
    let interleaved = channels == 1 || planar != Some(PlanarConfiguration::Planar.to_u16());
    let pixels = width as usize * height as usize;
    check_inflation(bytes.len(), pixels as u64 * channels as u64 * u64::from(bits / 8), options)?;
    pieces_are_whole(&mut decoder, if interleaved { channels } else { 1 } * usize::from(bits / 8))?;

    let step = if interleaved { channels } else { 1 };
    let read = match decoder.read_image().map_err(tiff_error)? {
        DecodingResult::U8(all) => first_channel(all, step, pixels).map(Samples::U8),
        DecodingResult::U16(all) => first_channel(all, step, pixels).map(Samples::U16),
        _ => {
            return Err(refuse(
                ErrorCode::UnsupportedPhotometric,
                "the TIFF holds signed or floating-point samples; unsigned integers are read",
            ));
        }
    };
    let mut samples = read.ok_or_else(|| {
        refuse(ErrorCode::DecodeFailed, "the TIFF gave fewer samples than its header promises")
    })?;
    let max_value = match samples {
        Samples::U8(_) => u32::from(u8::MAX),
        Samples::U16(_) => options.stored_max.unwrap_or(u32::from(u16::MAX)),
    };
    let white_is_zero = photometric == Some(PhotometricInterpretation::WhiteIsZero.to_u16());
    if white_is_zero {
        // The library inverted from the type's maximum.
        samples.invert(if bits == 8 { u8::MAX.into() } else { u16::MAX.into() });
    }
    // Before a negative is inverted: what lies above would turn black, silently.
    if options.stored_max.is_some() {
        samples.check_most(max_value)?;
    }
    doubt_range(&samples, options, &mut warnings);
    if white_is_zero {
        samples.invert(max_value);
    }
    let mut facts = Facts::new(Media::Tiff);
    facts.bits_stored = Some(u16::from(bits));
    facts.photometric = Some(
        match (channels, white_is_zero) {
            (1 | 2, true) => "MONOCHROME1",
            (1 | 2, false) => "MONOCHROME2",
            _ => "RGB",
        }
        .to_owned(),
    );
    Radiograph::new(width, height, samples, max_value, facts, warnings)
}

/// More directories than the pyramid of any one image has.
const MAX_DIRECTORIES: usize = 32;

/// Moves to the only directory that holds an image in full.
fn the_one_image(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<(), JobError> {
    if !decoder.more_images() {
        return Ok(());
    }
    let mut full = None;
    for index in 0.. {
        // Bit 0 of NewSubfileType is a reduced copy, bit 2 a mask (TIFF 6, section 8); 2 in its forerunner a reduced copy.
        let kind: Option<u32> = decoder.find_tag_unsigned(Tag::NewSubfileType).map_err(tiff_error)?;
        let old: Option<u32> = decoder.find_tag_unsigned(Tag::Unknown(255)).map_err(tiff_error)?;
        if kind.unwrap_or(0) & 0b101 == 0 && old != Some(2) && full.replace(index).is_some() {
            return Err(several());
        }
        if !decoder.more_images() {
            break;
        }
        if index >= MAX_DIRECTORIES {
            return Err(several());
        }
        decoder.next_image().map_err(tiff_error)?;
    }
    decoder.seek_to_image(full.unwrap_or(0)).map_err(tiff_error)
}

fn several() -> JobError {
    refuse(ErrorCode::MultiFrame, "the TIFF holds several images; one was expected")
}

/// Holds the lengths of uncompressed strips and tiles against their size: the library reads on into the next one.
fn pieces_are_whole(decoder: &mut Decoder<Cursor<&[u8]>>, pixel_bytes: usize) -> Result<(), JobError> {
    let compression: Option<u16> = decoder.find_tag_unsigned(Tag::Compression).map_err(tiff_error)?;
    if compression.unwrap_or(1) != 1 {
        return Ok(());
    }
    let tiled = decoder.get_chunk_type() == ChunkType::Tile;
    let tag = if tiled { Tag::TileByteCounts } else { Tag::StripByteCounts };
    let lengths: Vec<u64> = decoder.find_tag_unsigned_vec(tag).map_err(tiff_error)?.unwrap_or_default();
    for (index, length) in (0..).zip(lengths) {
        let (width, height) =
            if tiled { decoder.chunk_dimensions() } else { decoder.chunk_data_dimensions(index) };
        let needed = u64::from(width) * u64::from(height);
        if length < needed.saturating_mul(pixel_bytes as u64) {
            return Err(refuse(ErrorCode::Truncated, "a strip or tile of the TIFF is shorter than its size"));
        }
    }
    Ok(())
}

/// Whether the second channel is said to be no colour.
fn has_extra(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<bool, JobError> {
    Ok(decoder.find_tag(Tag::ExtraSamples).map_err(tiff_error)?.is_some())
}

/// Keeps channel 0; `None` when there are too few samples. A single channel is passed through without a copy.
fn first_channel<T: Copy>(mut all: Vec<T>, step: usize, pixels: usize) -> Option<Vec<T>> {
    if step == 1 {
        all.truncate(pixels);
        return (all.len() == pixels).then_some(all);
    }
    let channel: Vec<T> = all.into_iter().step_by(step).take(pixels).collect();
    (channel.len() == pixels).then_some(channel)
}

fn tiff_error(error: TiffError) -> JobError {
    let code = match &error {
        TiffError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => ErrorCode::Truncated,
        TiffError::LimitsExceeded | TiffError::IntSizeError => ErrorCode::InflatesTooLarge,
        TiffError::UnsupportedError(_) => ErrorCode::UnsupportedMedia,
        TiffError::FormatError(
            TiffFormatError::InconsistentSizesEncountered | TiffFormatError::StripTileTagConflict,
        ) => {
            let message = "the TIFF's strips or tiles do not fit the size that it gives";
            return refuse(ErrorCode::HeaderInvalid, message).with_source(error);
        }
        _ => ErrorCode::DecodeFailed,
    };
    refuse(code, format!("the TIFF cannot be decoded: {error}")).with_source(error)
}
