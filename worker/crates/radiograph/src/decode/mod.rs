//! From bytes to a [`Radiograph`]: headers first, refusals before allocations, pixels last.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nightread_dicom::Samples;
use nightread_domain::Task;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;
use nightread_domain::warning::{Warning, WarningCode};

use crate::error::refuse;
use crate::options::DecodeOptions;
use crate::radiograph::Radiograph;
use crate::sniff::{foreign, is_dicomdir, sniff};

mod dicom;
mod jpeg;
mod png;
mod tiff;

/// Decodes one PNG, JPEG, TIFF or DICOM image and judges it by `options.gate`.
///
/// # Errors
/// `blob_empty`, `not_an_image`, `unsupported_media`, and the refusals of the gate and the decoders; see
/// [`ErrorCode`]. A decoder that panics on hostile bytes is `decode_failed`, never a panic of the caller.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    if bytes.is_empty() {
        return Err(refuse(ErrorCode::BlobEmpty, "the blob is empty"));
    }
    let Some(media) = sniff(bytes) else {
        return Err(match foreign(bytes) {
            Some(what) => refuse(ErrorCode::UnsupportedMedia, format!("the blob is {what}")),
            None => refuse(ErrorCode::NotAnImage, "the bytes are neither PNG, JPEG, TIFF nor DICOM"),
        });
    };
    if !Task::Radiograph.reads(media) {
        let what = match media {
            Media::Nifti | Media::NiftiGz => "a brain scan, not a radiograph",
            Media::Zip | Media::Tar | Media::TarGz => "an archive; send the files inside one by one",
            _ => "a CT volume, not a radiograph",
        };
        return Err(refuse(ErrorCode::UnsupportedMedia, format!("the blob is {what}")));
    }
    if media == Media::Dicom && is_dicomdir(bytes) {
        return Err(refuse(
            ErrorCode::UnsupportedMedia,
            "the blob is a DICOMDIR, the index of other files; send those",
        ));
    }
    // The libraries below are fuzzed, but not ours: what they miss must end this job, not the worker.
    let image = catch_unwind(AssertUnwindSafe(|| match media {
        Media::Png => png::decode(bytes, options),
        Media::Jpeg => jpeg::decode(bytes, options),
        Media::Tiff => tiff::decode(bytes, options),
        // The others were refused.
        _ => dicom::decode(bytes, options),
    }))
    .unwrap_or_else(|_| Err(refuse(ErrorCode::DecodeFailed, "the decoder gave up on malformed bytes")))?;
    if image.samples().is_flat() {
        return Err(refuse(ErrorCode::BlankImage, "all pixels have one value: the image shows nothing"));
    }
    Ok(image)
}

/// Warns of a 16-bit PNG or TIFF whose brightest sample is below half of the range that it is normalised by. Nothing in the
/// file says what its true maximum is.
fn doubt_range(samples: &Samples, options: &DecodeOptions, warnings: &mut Vec<Warning>) {
    if options.stored_max.is_none() && samples.lies_in_lower_half() {
        let brightest = samples.max();
        warnings.push(Warning::new(
            WarningCode::PartOfRange,
            format!("the greatest stored value is {brightest} of 65535; was the true maximum set?"),
        ));
    }
}

/// Refuses output that cannot come from so few bytes, before memory is reserved for it. Deflate, the tightest packing
/// among the formats here, reaches 1032 : 1.
pub(crate) fn check_inflation(
    compressed: usize,
    inflated: u64,
    options: &DecodeOptions,
) -> Result<(), JobError> {
    const MOST: u64 = 1032;
    if inflated > options.limits.max_inflated_bytes {
        return Err(refuse(
            ErrorCode::InflatesTooLarge,
            format!(
                "the image inflates to {inflated} bytes; the limit is {}",
                options.limits.max_inflated_bytes
            ),
        ));
    }
    if inflated > (compressed as u64).saturating_mul(MOST) {
        return Err(refuse(
            ErrorCode::Truncated,
            format!("{compressed} bytes cannot hold the {inflated} bytes of pixels the header promises"),
        ));
    }
    Ok(())
}
