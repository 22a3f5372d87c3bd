//! What the header says of how the image is shown. The training recipe reads the stored samples and looks at none of it,
//! so the samples are kept as they are; but an image that is negative, raw or turned in the model's eyes is no longer one
//! like those it was trained on, and each such doubt is a warning of its own.

use nightread_dicom::Header;
use nightread_domain::warning::{Warning, WarningCode};

const FOR_PROCESSING: &str = "1.2.840.10008.5.1.4.1.1.1.1.1";

pub(super) fn judge(header: &Header, warnings: &mut Vec<Warning>) {
    if header.rescale_slope.is_some_and(|slope| slope < 0.0) {
        warn(
            warnings,
            WarningCode::NegativeRescaleSlope,
            "RescaleSlope is negative: the image is shown as the negative of its samples, which were read as they are",
        );
    }
    if header.modality_lut.falls() {
        warn(
            warnings,
            WarningCode::FallingModalityLut,
            "the modality LUT falls: the image is shown as the negative of its samples, which were read as they are",
        );
    }
    if header.voi_lut.falls() {
        warn(
            warnings,
            WarningCode::FallingVoiLut,
            "the VOI LUT falls: the image is shown as the negative of its samples, which were read as they are",
        );
    }
    // Under MONOCHROME1 the standard asks for INVERSE (PS3.3, C.8.11.3), and the two say the same.
    if header.presentation_lut_shape.as_deref() == Some("INVERSE")
        && header.photometric.as_deref() != Some("MONOCHROME1")
    {
        warn(
            warnings,
            WarningCode::PresentationLutInverse,
            "PresentationLUTShape is INVERSE: the image is shown as the negative of its samples, which were read as they are",
        );
    }
    if header.presentation_intent.as_deref() == Some("FOR PROCESSING")
        || header.sop_class.as_deref() == Some(FOR_PROCESSING)
    {
        warn(
            warnings,
            WarningCode::ForProcessing,
            "the image is for processing: raw detector values, which were read as if they were an image for people",
        );
    }
    if padding_is_bright(header) {
        warn(
            warnings,
            WarningCode::PaddingNotBlack,
            "the padding around the image is not black in what the model sees",
        );
    }
    if let Some(orientation) = header.patient_orientation.as_deref()
        && is_turned(orientation)
    {
        let message = format!(
            "PatientOrientation is {orientation}, not L\\F: the image is turned or mirrored, and was read as it lies"
        );
        warnings.push(Warning::new(WarningCode::ImageTurned, message));
    }
}

fn warn(warnings: &mut Vec<Warning>, code: WarningCode, message: &str) {
    warnings.push(Warning::new(code, message));
}

/// Padding that is anything but black once `MONOCHROME1` is inverted, or in the upper half of `MONOCHROME2`.
fn padding_is_bright(header: &Header) -> bool {
    let (Some(padding), Some(stored @ 1..=16)) = (header.padding, header.bits_stored) else { return false };
    if header.signed && padding & 0x8000 != 0 {
        return false; // blacker than black
    }
    let most = (1u32 << stored) - 1;
    let padding = u32::from(padding) & most;
    if header.photometric.as_deref() == Some("MONOCHROME1") { padding < most } else { padding > most / 2 }
}

/// Whether a row runs elsewhere than to the patient's left, or a column elsewhere than to the feet. What says nothing of an
/// axis does not contradict it.
fn is_turned(orientation: &str) -> bool {
    let mut axes = orientation.split('\\').map(|axis| axis.trim().chars().next());
    let (row, column) = (axes.next().flatten(), axes.next().flatten());
    row.is_some_and(|towards| towards != 'L') || column.is_some_and(|towards| towards != 'F')
}
