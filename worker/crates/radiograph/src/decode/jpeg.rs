//! JPEG with loss: 8-bit DCT, baseline and progressive, decoded bit for bit like libjpeg-turbo, with which the training
//! data was read (imageio and Pillow bundle it). Colour gives channel 0 of RGB, as TorchXRayVision takes it. An EXIF
//! orientation is not applied, as it was not in training.
//!
//! Unlike there, an image that is not whole is refused, wherever it is cut and however it is closed; one that lacks its end
//! marker alone is read with a warning.

use nightread_dicom::codestream::jpeg::{Markers, missing_eoi};
use nightread_dicom::{Codec, CodecRequest, isolated};
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;

use super::check_inflation;
use crate::error::refuse;
use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    let mut warnings = Vec::new();
    let markers = Markers::read(bytes)?;
    gate::no_header(&mut warnings);
    gate::judge_size(markers.width, markers.height, &options.limits, &options.gate, &mut warnings)?;
    if markers.precision != 8 || markers.is_lossless() {
        return Err(refuse(
            ErrorCode::UnsupportedMedia,
            format!(
                "JPEG files are read with 8 bits and loss; this one has {} bits or no loss",
                markers.precision
            ),
        ));
    }
    if !matches!(markers.components, 1 | 3) {
        return Err(refuse(
            ErrorCode::ColourImage,
            format!("the JPEG has {} colour components; grey or RGB is read", markers.components),
        ));
    }
    let pixels = u64::from(markers.width) * u64::from(markers.height);
    check_inflation(bytes.len(), pixels, options)?;
    if markers.missing_eoi {
        warnings.push(missing_eoi());
    }
    let request = CodecRequest {
        codec: Codec::Jpeg,
        columns: markers.width,
        rows: markers.height,
        bits: 8,
        signed: false,
        working_bytes: options.limits.max_inflated_bytes,
        frame: &markers.image,
    };
    let samples = isolated(&request, options.codec.as_deref())?.samples;

    let mut facts = Facts::new(Media::Jpeg);
    facts.bits_stored = Some(8);
    facts.photometric = Some(if markers.components == 1 { "MONOCHROME2" } else { "RGB" }.to_owned());
    Radiograph::new(markers.width, markers.height, samples, u32::from(u8::MAX), facts, warnings)
}
