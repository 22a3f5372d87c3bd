//! JPEG without loss (process 14, any predictor), 2 to 16 bits, one component: what old archives hold.

use jpeg_decoder::{CodingProcess, Decoder, Error, PixelFormat};
use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;

/// Decodes one frame whose size must be `columns` x `rows`.
pub(super) fn decode(frame: &[u8], columns: u32, rows: u32) -> Result<Vec<u16>, JobError> {
    let mut decoder = Decoder::new(frame);
    decoder.read_info().map_err(jpeg_error)?;
    let info =
        decoder.info().ok_or_else(|| refuse(ErrorCode::DecodeFailed, "the JPEG has no frame header"))?;
    if (u32::from(info.width), u32::from(info.height)) != (columns, rows) {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!(
                "the compressed picture is {} x {} pixels, its header says {columns} x {rows}",
                info.width, info.height
            ),
        ));
    }
    if info.coding_process != CodingProcess::Lossless {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            "the JPEG has loss although its transfer syntax denies it",
        ));
    }
    let pixels = columns as usize * rows as usize;
    let words: Vec<u16> = match info.pixel_format {
        PixelFormat::L8 => decoder.decode().map_err(jpeg_error)?.into_iter().map(u16::from).collect(),
        PixelFormat::L16 => {
            let bytes = decoder.decode().map_err(jpeg_error)?;
            bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
        }
        _ => {
            return Err(refuse(ErrorCode::ColourImage, "the JPEG inside is in colour; radiographs are grey"));
        }
    };
    if words.len() != pixels {
        return Err(refuse(ErrorCode::DecodeFailed, "the JPEG decoder gave another size than the header"));
    }
    Ok(words)
}

fn jpeg_error(error: Error) -> JobError {
    let code = match &error {
        Error::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => ErrorCode::Truncated,
        Error::Unsupported(_) => ErrorCode::UnsupportedMedia,
        _ => ErrorCode::DecodeFailed,
    };
    refuse(code, format!("the lossless JPEG cannot be decoded: {error}")).with_source(error)
}
