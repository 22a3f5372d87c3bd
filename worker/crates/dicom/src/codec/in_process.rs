//! The codecs themselves. They run in the child; in this process only where bytes are the caller's own.

use charls::CharLS;
use jpeg2k::{DecodeParameters, Image};
use libjpeg_turbo_rs::decode::marker::{JpegMetadata, MarkerReader};
use libjpeg_turbo_rs::precision;
use nightread_domain::error::{ErrorCode, JobError};

use super::jpeg::{self, jpeg_error, malformed};
use super::promises::{check, one_component};
use super::{Codec, CodecImage, CodecRequest, IsolatedCodec};
use crate::error::refuse;
use crate::samples::Samples;

/// Decodes in this process, for the child's body, for fuzzing and for benches: nothing is isolated.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl IsolatedCodec for InProcess {
    fn decode(&self, request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
        match request.codec {
            Codec::Jpeg => jpeg::decode(request),
            Codec::JpegLossless => jpeg_lossless(request),
            Codec::JpegLs => jpeg_ls(request),
            Codec::Jpeg2000 => jpeg_2000(request),
        }
    }
}

/// The library drops the bits of a sample above the precision. No whole image has any (T.81 H.1.2.1), so that they are the
/// only sign of an error in the data, which runs on to the end of its rows: the image is decoded as one of 16 bits, which
/// has its values about another middle.
fn jpeg_lossless(request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
    let JpegMetadata { frame: header, scan, .. } =
        MarkerReader::new(request.frame).read_markers().map_err(jpeg_error)?;
    one_component(header.components.len())?;
    let precision = check(request, (header.width.into(), header.height.into()), header.precision.into())?;
    if precision < 2 || scan.succ_low >= precision {
        return Err(malformed("its precision and its point transform do not fit"));
    }
    let mut frame = request.frame.to_vec();
    *precision_of(&mut frame).ok_or_else(|| malformed("it has no frame header"))? = 16;
    let mut samples = precision::decompress_lossless_arbitrary(&frame).map_err(jpeg_error)?.data;
    let middle = (1u16 << 15) - (1 << (precision - 1));
    let mut bits = 0;
    for sample in &mut samples {
        *sample = sample.wrapping_sub(middle);
        bits |= *sample;
    }
    if bits > u16::MAX >> (16 - precision) {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!("the JPEG is damaged: it holds values of more than its {precision} bits"),
        ));
    }
    Ok(CodecImage { precision, samples: packed(samples, precision) })
}

/// Where the first frame header of a lossless JPEG gives its precision.
fn precision_of(frame: &mut [u8]) -> Option<&mut u8> {
    let mut at = 2;
    loop {
        match *frame.get(at..at + 2)? {
            [0xFF, 0xFF] => at += 1,
            [0xFF, 0xC3] => return frame.get_mut(at + 4),
            [0xFF, _] => {
                at += 2 + usize::from(u16::from_be_bytes([*frame.get(at + 2)?, *frame.get(at + 3)?]));
            }
            _ => return None,
        }
    }
}

/// Samples of so many bits.
fn packed(samples: Vec<u16>, precision: u8) -> Samples {
    if precision > 8 {
        return Samples::U16(samples);
    }
    Samples::U8(samples.into_iter().map(|sample| sample as u8).collect())
}

fn jpeg_ls(request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
    let info = CharLS::default().get_frame_info(request.frame).map_err(jpeg_ls_error)?;
    one_component(usize::try_from(info.component_count).unwrap_or(0))?;
    let bits = u32::try_from(info.bits_per_sample).unwrap_or(0);
    let precision = check(request, (info.width, info.height), bits)?;
    // A fresh instance: the decoder that read the header above cannot start over.
    let data = CharLS::default().decode(request.frame).map_err(jpeg_ls_error)?;
    let samples = if precision > 8 {
        Samples::U16(data.as_chunks().0.iter().map(|pair| u16::from_ne_bytes(*pair)).collect())
    } else {
        Samples::U8(data)
    };
    Ok(CodecImage { precision, samples })
}

fn jpeg_ls_error(error: charls::Error) -> JobError {
    let message = format!("the JPEG-LS image cannot be decoded: {error}");
    refuse(ErrorCode::DecodeFailed, message).with_source(error)
}

/// OpenJPEG gives what the training code's reader gives, in lossy images too; `hayro-jpeg2000`, which is safe Rust and
/// up to a third faster, differs there by one in one to two samples of a hundred.
fn jpeg_2000(request: &CodecRequest<'_>) -> Result<CodecImage, JobError> {
    // Strict: a truncated codestream is an error, not an image with holes.
    let parameters = DecodeParameters::new().strict(true);
    let image = Image::from_bytes_with(request.frame, parameters).map_err(|error| {
        let message = format!("the JPEG 2000 image cannot be decoded: {error}");
        refuse(ErrorCode::DecodeFailed, message).with_source(error)
    })?;
    let [component] = image.components() else {
        one_component(image.components().len())?;
        return Err(refuse(ErrorCode::DecodeFailed, "the JPEG 2000 image has no components"));
    };
    let precision = check(request, (component.width(), component.height()), component.precision())?;
    let most = (1i32 << precision) - 1;
    let values = component.data();
    if request.signed && component.is_signed() {
        let samples = values.iter().map(|&value| (value & most) as u16).collect();
        return Ok(CodecImage { precision, samples: packed(samples, precision) });
    }
    if values.iter().any(|&value| value < 0) {
        return Err(refuse(
            ErrorCode::ValueOutOfRange,
            "the image holds negative values; samples from zero up are read",
        ));
    }
    Ok(CodecImage {
        precision,
        samples: packed(values.iter().map(|&value| value.min(most) as u16).collect(), precision),
    })
}
