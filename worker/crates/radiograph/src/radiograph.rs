//! The decoded image and what its header says about it.

use nightread_dicom::Samples;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::media::Media;
use nightread_domain::warning::Warning;
use nightread_steps::HeaderWindow;
use serde::Serialize;

use crate::error::refuse;

/// The projection of a chest radiograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Postero-anterior: the usual upright chest image, and the one the PadChest models were trained on.
    Pa,
    /// Antero-posterior: bedside and supine images.
    Ap,
}

impl View {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pa => "PA",
            Self::Ap => "AP",
        }
    }
}

/// What the header says of the image; never who it shows. Texts are upper-case DICOM code strings, cut to their legal
/// characters and length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    pub media: Media,
    pub modality: Option<String>,
    pub view: Option<View>,
    pub body_part: Option<String>,
    pub photometric: Option<String>,
    /// The bits that the samples have: of a compressed image its own, where the header claims more.
    pub bits_stored: Option<u16>,
    /// Transfer syntax UID of a DICOM file.
    pub transfer_syntax: Option<String>,
    /// Age at the examination; 90 stands for 90 and older, because higher ages identify people.
    pub age_years: Option<f32>,
}

impl Facts {
    pub fn new(media: Media) -> Self {
        Self {
            media,
            modality: None,
            view: None,
            body_part: None,
            photometric: None,
            bits_stored: None,
            transfer_syntax: None,
            age_years: None,
        }
    }
}

/// One decoded image. Holds by construction: at least one pixel, `samples.len() == width * height`, and no sample
/// above `max_value`, the `maxval` of the normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Radiograph {
    width: u32,
    height: u32,
    samples: Samples,
    max_value: u32,
    facts: Facts,
    warnings: Vec<Warning>,
    window: Option<HeaderWindow>,
}

impl Radiograph {
    /// Checks what the type promises.
    ///
    /// # Errors
    /// `header_invalid` for no pixels or a zero `max_value`, `decode_failed` for a wrong number of samples,
    /// `value_out_of_range` for a sample above `max_value`.
    pub fn new(
        width: u32,
        height: u32,
        samples: Samples,
        max_value: u32,
        facts: Facts,
        warnings: Vec<Warning>,
    ) -> Result<Self, JobError> {
        if width == 0 || height == 0 || max_value == 0 {
            return Err(refuse(ErrorCode::HeaderInvalid, "the image has no pixels or no value range"));
        }
        let expected = u64::from(width) * u64::from(height);
        if samples.len() as u64 != expected {
            return Err(refuse(
                ErrorCode::DecodeFailed,
                format!("the decoder gave {} samples where the header promises {expected}", samples.len()),
            ));
        }
        samples.check_most(max_value)?;
        Ok(Self { width, height, samples, max_value, facts, warnings, window: None })
    }

    /// The same for `MONOCHROME1`: checked as it is stored, and then inverted as `max_value - v`.
    ///
    /// # Errors
    /// As [`Radiograph::new`].
    pub fn inverted(
        width: u32,
        height: u32,
        samples: Samples,
        max_value: u32,
        facts: Facts,
        warnings: Vec<Warning>,
    ) -> Result<Self, JobError> {
        let mut image = Self::new(width, height, samples, max_value, facts, warnings)?;
        image.samples.invert(max_value);
        Ok(image)
    }

    /// The image with the window that its header gives.
    #[must_use]
    pub fn with_window(self, window: Option<HeaderWindow>) -> Self {
        Self { window, ..self }
    }

    pub fn window(&self) -> Option<HeaderWindow> {
        self.window
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The value that normalises to +1024: 255, 65535, the stored maximum, or `2^BitsStored - 1`.
    pub fn max_value(&self) -> u32 {
        self.max_value
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
