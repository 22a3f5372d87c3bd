//! DICOM radiographs: CR, DX and their kin, one grey frame.
//!
//! The samples are what TorchXRayVision's `read_xray_dcm` sees: the stored values, no rescale slope, no window;
//! `MONOCHROME1` inverted as `max - v` with `max = 2^BitsStored - 1`.
//!
//! On purpose unlike it: bits that an old overlay claims are taken away, where pydicom leaves them in; bits outside
//! `BitsStored` that nothing claims are refused, as are negative samples, which it would normalise below -1024, and a file
//! that holds several frames. What the header says of the display (a falling LUT, `INVERSE`, an orientation) changes no
//! sample, as it did not in training, but is a warning.

use nightread_dicom::{File, Header, ReadOptions};
use nightread_domain::error::JobError;
use nightread_domain::media::Media;
use nightread_steps::{HeaderWindow, WindowFunction};

use crate::gate;
use crate::options::DecodeOptions;
use crate::radiograph::{Facts, Radiograph};

/// The gate judges the header before a pixel is unpacked.
pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Radiograph, JobError> {
    let reading = ReadOptions {
        max_inflated_bytes: options.limits.max_inflated_bytes,
        codec: options.codec.as_deref(),
    };
    let mut warnings = Vec::new();
    let file = File::open(bytes, &reading, &mut warnings)?;
    let header = file.header();

    let mut facts = Facts::new(Media::Dicom);
    facts.modality.clone_from(&header.modality);
    facts.body_part = header.body_part.as_deref().map(gate::shown);
    facts.photometric.clone_from(&header.photometric);
    facts.age_years = header.age_years;
    facts.transfer_syntax = Some(file.transfer_syntax().to_owned());
    gate::judge_dicom(header, &options.gate, &mut facts, &mut warnings)?;

    let pixels = file.pixels()?;
    let is_negative = gate::judge_pixels(header)?;
    let mut shape = pixels.shape()?;
    gate::judge_size(shape.columns, shape.rows, &options.limits, &options.gate, &mut warnings)?;

    let samples = pixels.samples(&mut shape, &reading, &mut warnings)?;
    // Not before: a codestream may have fewer bits than the header says.
    facts.bits_stored = Some(shape.bits_stored);
    let (width, height, max_value) = (shape.columns, shape.rows, shape.max_value());
    let image = if is_negative {
        Radiograph::inverted(width, height, samples, max_value, facts, warnings)
    } else {
        Radiograph::new(width, height, samples, max_value, facts, warnings)
    };
    Ok(image?.with_window(window(header, is_negative)))
}

/// The header's first window; `None` where it is not whole, of a function of its own, or of values that a table or a rescale
/// makes which nobody can read.
fn window(header: &Header, inverted: bool) -> Option<HeaderWindow> {
    if header.modality_lut.is_there() {
        return None;
    }
    let function = match header.window.function.as_deref() {
        None | Some("LINEAR") => WindowFunction::Linear,
        Some("LINEAR_EXACT") => WindowFunction::LinearExact,
        Some("SIGMOID") => WindowFunction::Sigmoid,
        Some(_) => return None,
    };
    Some(HeaderWindow {
        centre: header.window.centre?,
        width: header.window.width?,
        function,
        // A slope of 0 would make one value of all.
        slope: header.window.slope.or(1.0).filter(|slope| *slope != 0.0)?,
        intercept: header.window.intercept.or(0.0)?,
        inverted,
    })
}
