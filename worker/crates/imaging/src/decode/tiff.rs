//! TIFF: 8 and 16 bits, grey or RGB (channel 0), uncompressed, LZW, deflate and PackBits.
//!
//! `WhiteIsZero` is inverted, because such a picture is a negative. (The training code's reader, tifffile, leaves it as
//! it is; the data sets in question hold no such file.)

use std::io::Cursor;

use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{PhotometricInterpretation, PlanarConfiguration, Tag};
use tiff::{ColorType, TiffError};

use super::check_inflation;
use crate::error::refuse;
use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph, Samples};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    if matches!(bytes.get(..4), Some(b"II+\0" | b"MM\0+")) {
        return Err(refuse(
            ErrorCode::UnsupportedMedia,
            "BigTIFF is not read; save the picture as a classic TIFF",
        ));
    }
    let most = usize::try_from(options.limits.max_inflated_bytes).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(tiff_error)?.with_limits(limits);

    let mut warnings = Vec::new();
    let (width, height) = decoder.dimensions().map_err(tiff_error)?;
    gate::no_header(&mut warnings);
    gate::judge_size(width, height, &options.limits, &options.gate, &mut warnings)?;
    if decoder.more_images() {
        return Err(refuse(ErrorCode::MultiFrame, "the TIFF holds several pictures; one was expected"));
    }
    let colour = decoder.colortype().map_err(tiff_error)?;
    let (channels, bits) = match colour {
        ColorType::Gray(bits @ (8 | 16)) => (1, bits),
        ColorType::GrayA(bits @ (8 | 16)) => (2, bits),
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

    let step = if interleaved { channels } else { 1 };
    let short = || refuse(ErrorCode::DecodeFailed, "the TIFF gave fewer samples than its header promises");
    let samples = match decoder.read_image().map_err(tiff_error)? {
        DecodingResult::U8(all) => Samples::U8(first_channel(all, step, pixels).ok_or_else(short)?),
        DecodingResult::U16(all) => Samples::U16(first_channel(all, step, pixels).ok_or_else(short)?),
        _ => {
            return Err(refuse(
                ErrorCode::UnsupportedPhotometric,
                "the TIFF holds signed or floating-point samples; unsigned integers are read",
            ));
        }
    };
    let max_value = match samples {
        Samples::U8(_) => u32::from(u8::MAX),
        Samples::U16(_) => options.stored_max.unwrap_or(u32::from(u16::MAX)),
    };
    let white_is_zero = photometric == Some(PhotometricInterpretation::WhiteIsZero.to_u16());
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
        _ => ErrorCode::DecodeFailed,
    };
    refuse(code, format!("the TIFF cannot be decoded: {error}")).with_source(error)
}
