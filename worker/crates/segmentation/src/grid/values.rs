//! What is done to single values on their way through an interpolation.

use super::intensity::scaled;
use crate::recipe::Intensity;

/// Each recipe's own steps around its interpolation.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// Normalised before (nnU-Net), in single precision.
    pub normalised: Option<Intensity>,
    /// Kept within the values that were interpolated (`skimage.transform.resize`).
    pub clipped: bool,
    /// Cut to whole numbers after (TotalSegmentator's `int32`), towards 0.
    pub whole: bool,
}

impl Values {
    pub fn before(&self, value: i16) -> f64 {
        match &self.normalised {
            Some(intensity) => f64::from(scaled(intensity, f32::from(value))),
            None => f64::from(value),
        }
    }

    pub fn after(&self, value: f64) -> f32 {
        if self.whole { value.trunc() as f32 } else { value as f32 }
    }
}
