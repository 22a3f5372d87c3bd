//! PNG of every depth and colour type, read row by row.
//!
//! No gamma, no ICC profile: samples are what the file stores. Depths of 1, 2 and 4 bits are expanded to the 8-bit
//! range, palettes to colours; of colour and alpha, channel 0 is kept, as TorchXRayVision does. On purpose unlike the
//! training code's reader (Pillow): 16-bit RGB and 16-bit grey with alpha keep their 16 bits, where Pillow drops the
//! lower eight.

use std::io::Cursor;

use nightread_dicom::Samples;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;
use nightread_domain::warning::{Warning, WarningCode};
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Reader, Transformations};

use super::{check_inflation, doubt_range};
use crate::error::refuse;
use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    let Some(end) = lacks_end(bytes) else { return read(bytes, Vec::new(), options) };
    let doubt = Warning::new(
        WarningCode::MissingEndMarker,
        "the PNG's pixels are whole, but its end marker is missing",
    );
    read(&[&bytes[..end], &IEND].concat(), vec![doubt], options).map_err(|error| match error.code {
        // Its chunks are whole, but not all that it needs are there.
        ErrorCode::DecodeFailed => refuse(ErrorCode::Truncated, "the PNG ends before its image does"),
        _ => error,
    })
}

/// The end marker of every PNG.
const IEND: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xAE, 0x42, 0x60, 0x82];

/// Where the last whole chunk of pixels ends, if nothing but a part of the end marker, or zeros, follows.
fn lacks_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 8;
    let mut pixels = false;
    loop {
        let rest = bytes.get(at..)?;
        if IEND.starts_with(rest) && rest.len() < IEND.len() || rest.iter().all(|&byte| byte == 0) {
            return pixels.then_some(at);
        }
        let (length, kind) = (rest.first_chunk::<4>()?, rest.get(4..8)?);
        pixels |= kind == b"IDAT";
        if kind == b"IEND" {
            return None;
        }
        at = at.checked_add(u32::from_be_bytes(*length) as usize)?.checked_add(12)?;
    }
}

fn read(bytes: &[u8], mut warnings: Vec<Warning>, options: &DecodeOptions) -> Result<Radiograph, JobError> {
    let most = usize::try_from(options.limits.max_inflated_bytes).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: most });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);

    let info = decoder.read_header_info().map_err(png_error)?;
    let (width, height) = (info.width, info.height);
    let stored_bits = info.bit_depth as u16;
    gate::no_header(&mut warnings);
    gate::judge_size(width, height, &options.limits, &options.gate, &mut warnings)?;
    let stored_row = info.raw_row_length() as u64 - 1;
    check_inflation(bytes.len(), stored_row * u64::from(height), options)?;

    let mut reader = decoder.read_info().map_err(png_error)?;
    // An animation of one image is an image, if that is the one all readers show.
    if let Some(animation) = reader.info().animation_control
        && (animation.num_frames != 1 || reader.info().frame_control.is_none())
    {
        return Err(refuse(ErrorCode::MultiFrame, "the PNG is an animation; one image was expected"));
    }
    if let Some(palette) = &reader.info().palette {
        let colours = palette.len() / 3;
        let indexed = reader.info().color_type == ColorType::Indexed;
        let alphas = reader.info().trns.as_ref().map_or(0, |trns| trns.len());
        // The library's palette expansion panics on what is not whole colours.
        if palette.len() % 3 != 0 || !(1..=256).contains(&colours) || (indexed && alphas > colours) {
            return Err(refuse(ErrorCode::DecodeFailed, "the PNG's palette is not made of whole colours"));
        }
    }
    let (colour, depth) = reader.output_color_type();
    let row = reader
        .output_line_size(width)
        .ok_or_else(|| refuse(ErrorCode::TooManyPixels, "a row of the image is too long"))?;
    check_inflation(usize::MAX, row as u64 * u64::from(height), options)?;

    let pixels = width as usize * height as usize;
    let step = colour.samples();
    let samples = if depth == BitDepth::Sixteen {
        let mut samples = Vec::with_capacity(pixels);
        let big_endian = |word: &[u8; 2]| u16::from_be_bytes(*word);
        each_row(&mut reader, row, |row| {
            let words = row.as_chunks().0.iter();
            match step {
                // Not `step_by(1)`: with a step that is not known the compiler swaps word by word, five times as slowly.
                1 => samples.extend(words.map(big_endian)),
                _ => samples.extend(words.step_by(step).map(big_endian)),
            }
        })?;
        Samples::U16(samples)
    } else {
        let mut samples = Vec::with_capacity(pixels);
        each_row(&mut reader, row, |row| match step {
            1 => samples.extend_from_slice(row),
            _ => samples.extend(row.iter().step_by(step)),
        })?;
        Samples::U8(samples)
    };
    let max_value = match samples {
        Samples::U8(_) => u32::from(u8::MAX),
        Samples::U16(_) => options.stored_max.unwrap_or(u32::from(u16::MAX)),
    };
    doubt_range(&samples, options, &mut warnings);
    let mut facts = Facts::new(Media::Png);
    facts.bits_stored = Some(stored_bits);
    facts.photometric = Some(
        match colour {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => "MONOCHROME2",
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => "RGB",
        }
        .to_owned(),
    );
    Radiograph::new(width, height, samples, max_value, facts, warnings)
}

/// Hands every expanded row to `take`, from the top. An interlaced image is assembled first.
fn each_row(
    reader: &mut Reader<Cursor<&[u8]>>,
    row: usize,
    mut take: impl FnMut(&[u8]),
) -> Result<(), JobError> {
    if reader.info().interlaced {
        let size = reader
            .output_buffer_size()
            .ok_or_else(|| refuse(ErrorCode::TooManyPixels, "the image is too large for this machine"))?;
        let mut frame = vec![0; size];
        reader.next_frame(&mut frame).map_err(png_error)?;
        frame.chunks_exact(row).for_each(take);
        return Ok(());
    }
    let mut line = vec![0; row];
    while reader.read_row(&mut line).map_err(png_error)?.is_some() {
        take(&line);
    }
    Ok(())
}

fn png_error(error: DecodingError) -> JobError {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            refuse(ErrorCode::Truncated, "the PNG ends before its image does").with_source(error)
        }
        DecodingError::LimitsExceeded => {
            refuse(ErrorCode::InflatesTooLarge, "the PNG needs more memory than its limit")
        }
        other => refuse(ErrorCode::DecodeFailed, format!("the PNG is malformed: {other}")).with_source(other),
    }
}
