//! Images as JPEG, small enough for a page.

use std::io::Cursor;

use jpeg_encoder::{ColorType, Encoder, EncodingError};
use nightread_domain::{ErrorCode, JobError, Stage};
use png::{Decoder, Limits, Transformations};

/// For the eye: artefacts of the compression are not seen at the size of a page.
const QUALITY: u8 = 82;

/// A stored image is some hundred pixels wide; one of more memory is none of ours.
const MOST_BYTES: usize = 128 << 20;

/// 8-bit grey, rows first from the top.
///
/// # Errors
/// `internal` when the pixels are not width times height, or more than JPEG has room for.
pub fn grey(width: u32, height: u32, pixels: &[u8]) -> Result<Vec<u8>, JobError> {
    encode(width, height, pixels, ColorType::Luma)
}

/// A PNG as JPEG of the same size; what is clear in it is white.
///
/// # Errors
/// `decode_failed` when it is no PNG; `internal` when it cannot be encoded.
pub fn from_png(bytes: &[u8]) -> Result<Vec<u8>, JobError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MOST_BYTES });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(no_png)?;
    let size = reader.output_buffer_size().filter(|size| *size <= MOST_BYTES);
    let Some(size) = size else {
        return Err(JobError::new(Stage::Report, ErrorCode::TooManyPixels, "a stored image is too large"));
    };
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(no_png)?;
    pixels.truncate(info.buffer_size());
    let (pixels, kind) = match info.color_type {
        png::ColorType::Grayscale => (pixels, ColorType::Luma),
        png::ColorType::GrayscaleAlpha => (on_white::<2>(&pixels), ColorType::Luma),
        png::ColorType::Rgba => (on_white::<4>(&pixels), ColorType::Rgb),
        png::ColorType::Rgb | png::ColorType::Indexed => (pixels, ColorType::Rgb),
    };
    encode(info.width, info.height, &pixels, kind)
}

fn no_png(error: png::DecodingError) -> JobError {
    JobError::new(Stage::Report, ErrorCode::DecodeFailed, "a stored image is no PNG").with_source(error)
}

/// N channels, the last of which says how much of the others covers white.
fn on_white<const N: usize>(pixels: &[u8]) -> Vec<u8> {
    let mut covered = Vec::with_capacity(pixels.len() / N * (N - 1));
    for pixel in pixels.chunks_exact(N) {
        let cover = u32::from(pixel[N - 1]);
        covered.extend(
            pixel[..N - 1].iter().map(|&c| ((u32::from(c) * cover + 255 * (255 - cover)) / 255) as u8),
        );
    }
    covered
}

fn encode(width: u32, height: u32, pixels: &[u8], kind: ColorType) -> Result<Vec<u8>, JobError> {
    let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(fault("an image has more pixels than JPEG has room for"));
    };
    let channels = if kind == ColorType::Luma { 1 } else { 3 };
    if pixels.len() != usize::from(width) * usize::from(height) * channels {
        return Err(fault("the pixels of an image are not its width times its height"));
    }
    let mut bytes = Vec::new();
    let encoded = Encoder::new(&mut bytes, QUALITY).encode(pixels, width, height, kind);
    encoded.map_err(|error: EncodingError| fault("an image cannot be encoded").with_source(error))?;
    Ok(bytes)
}

fn fault(message: &str) -> JobError {
    JobError::new(Stage::Report, ErrorCode::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(kind: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(kind);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels)).expect("a PNG");
        bytes
    }

    #[test]
    fn every_kind_of_png_becomes_jpeg() {
        for (kind, pixels) in [
            (png::ColorType::Grayscale, &[0, 255][..]),
            (png::ColorType::GrayscaleAlpha, &[0, 255, 9, 0]),
            (png::ColorType::Rgb, &[0, 0, 0, 255, 255, 255]),
            (png::ColorType::Rgba, &[0, 0, 0, 255, 1, 2, 3, 0]),
        ] {
            let jpeg = from_png(&png(kind, pixels)).expect("JPEG");
            assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "{kind:?}");
        }
        assert_eq!(on_white::<2>(&[0, 255, 9, 0]), [0, 255]);
        assert_eq!(from_png(b"no PNG").expect_err("refused").code, ErrorCode::DecodeFailed);
        assert_eq!(grey(2, 2, &[0; 3]).expect_err("refused").code, ErrorCode::Internal);
        assert_eq!(grey(70_000, 1, &vec![0; 70_000]).expect_err("refused").code, ErrorCode::Internal);
    }
}
