//! JPEG with loss: 8-bit DCT, baseline and progressive, decoded bit for bit like libjpeg-turbo, with which the training
//! data was read (imageio and Pillow bundle it). Colour gives channel 0 of RGB, as TorchXRayVision takes it. An EXIF
//! orientation is not applied, as it was not in training.
//!
//! A file that ends inside its picture is `truncated`. A scan cut short but closed by an end marker is filled up with
//! grey, silently, as libjpeg-turbo does it: neither tells such a picture from a grey one.

use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;

use super::check_inflation;
use crate::error::refuse;
use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph, Samples};

/// A progressive picture has about ten scans; each costs a pass over all its pixels.
const MAX_SCANS: usize = 64;

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    let mut warnings = Vec::new();
    let decoder = open(bytes, options)?;
    let header = decoder.header();
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    gate::no_header(&mut warnings);
    gate::judge_size(width, height, &options.limits, &options.gate, &mut warnings)?;
    if header.precision != 8 || header.is_lossless {
        return Err(refuse(
            ErrorCode::UnsupportedMedia,
            format!(
                "JPEG files are read with 8 bits and loss; this one has {} bits or no loss",
                header.precision
            ),
        ));
    }
    let components = header.components.len();
    let samples = channel_0(decoder, bytes.len(), options)?;

    let mut facts = Facts::new(Media::Jpeg);
    facts.bits_stored = Some(8);
    facts.photometric = Some(if components == 1 { "MONOCHROME2" } else { "RGB" }.to_owned());
    Radiograph::new(width, height, Samples::U8(samples), u32::from(u8::MAX), facts, warnings)
}

/// Reads the markers up to the picture data; allocates nothing of the picture's size.
pub(super) fn open<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Decoder<'a>, JobError> {
    let limits = DecodeLimits {
        max_pixels: options.limits.max_pixels,
        max_scans: MAX_SCANS,
        max_memory: Some(options.limits.max_inflated_bytes),
        ..DecodeLimits::default()
    };
    Decoder::new_with_limits(bytes, limits).map_err(jpeg_error)
}

/// Decodes an 8-bit DCT picture to one sample a pixel.
pub(super) fn channel_0(
    mut decoder: Decoder<'_>,
    compressed: usize,
    options: &DecodeOptions,
) -> Result<Vec<u8>, JobError> {
    let header = decoder.header();
    let pixels = u64::from(header.width) * u64::from(header.height);
    let components = header.components.len();
    check_inflation(compressed, pixels, options)?;
    let format = match components {
        1 => PixelFormat::Grayscale,
        3 => PixelFormat::Rgb,
        other => {
            return Err(refuse(
                ErrorCode::ColourImage,
                format!("the JPEG has {other} colour components; grey or RGB is read"),
            ));
        }
    };
    decoder.set_output_format(format);
    let image = decoder.decode_image().map_err(jpeg_error)?;
    if (image.width as u64) * (image.height as u64) != pixels {
        return Err(refuse(ErrorCode::DecodeFailed, "the JPEG decoder gave another size than the header"));
    }
    Ok(match format {
        PixelFormat::Grayscale => image.data,
        _ => image.data.into_iter().step_by(3).collect(),
    })
}

pub(super) fn jpeg_error(error: JpegError) -> JobError {
    let code = match error {
        JpegError::UnexpectedEof => ErrorCode::Truncated,
        JpegError::LimitExceeded { .. } => ErrorCode::InflatesTooLarge,
        JpegError::Unsupported(_) => ErrorCode::UnsupportedMedia,
        _ => ErrorCode::DecodeFailed,
    };
    refuse(code, format!("the JPEG cannot be decoded: {error}")).with_source(error)
}

/// Decodes a 12-bit extended sequential picture of one component; its size must have been judged before.
pub(super) fn extended_12(bytes: &[u8], pixels: usize) -> Result<Vec<u16>, JobError> {
    let image = libjpeg_turbo_rs::decompress_12bit(bytes).map_err(jpeg_error)?;
    if image.num_components != 1 || image.data.len() != pixels {
        return Err(refuse(ErrorCode::DecodeFailed, "the JPEG decoder gave another size than the header"));
    }
    Ok(image.data.into_iter().map(|value| value.clamp(0, 4095) as u16).collect())
}
