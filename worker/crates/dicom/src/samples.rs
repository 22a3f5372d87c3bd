//! Samples of one grey image.

use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;

/// Samples in row order, one per pixel, brighter is larger (`MONOCHROME2`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
}

impl Samples {
    pub fn len(&self) -> usize {
        match self {
            Self::U8(samples) => samples.len(),
            Self::U16(samples) => samples.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest sample; 0 when there is none.
    pub fn max(&self) -> u32 {
        match self {
            Self::U8(samples) => samples.iter().fold(0, |most, &v| v.max(most)).into(),
            Self::U16(samples) => samples.iter().fold(0, |most, &v| v.max(most)).into(),
        }
    }

    /// Holds the samples against their declared maximum.
    ///
    /// # Errors
    /// `value_out_of_range` for a sample above `most`.
    pub fn check_most(&self, most: u32) -> Result<(), JobError> {
        let greatest = match self {
            Self::U8(_) => u32::from(u8::MAX),
            Self::U16(_) => u32::from(u16::MAX),
        };
        // Quickly answered where no sample can be above.
        let brightest = if most < greatest { self.max() } else { 0 };
        if brightest > most { Err(value_above(brightest, most)) } else { Ok(()) }
    }

    /// Whether all samples are the same. Cheap unless they are.
    pub fn is_flat(&self) -> bool {
        fn flat<T: PartialEq>(samples: &[T]) -> bool {
            samples.first().is_none_or(|first| samples.iter().all(|v| v == first))
        }
        match self {
            Self::U8(samples) => flat(samples),
            Self::U16(samples) => flat(samples),
        }
    }

    /// Whether no sample of 16 bits has its highest bit: quickly answered unless that is so.
    pub fn lies_in_lower_half(&self) -> bool {
        const AT_ONCE: usize = 4096;
        match self {
            Self::U8(_) => false,
            Self::U16(samples) => {
                samples.chunks(AT_ONCE).all(|some| some.iter().fold(0, |bits, v| bits | v) <= u16::MAX / 2)
            }
        }
    }

    /// Lowers what is above `most` to it.
    pub(crate) fn clamp(&mut self, most: u32) {
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        self.each(|v| v.min(most));
    }

    /// All bits that any sample uses.
    pub(crate) fn used_bits(&self) -> u16 {
        match self {
            Self::U8(samples) => samples.iter().fold(0u8, |bits, v| bits | v).into(),
            Self::U16(samples) => samples.iter().fold(0, |bits, v| bits | v),
        }
    }

    /// Changes every sample.
    pub(crate) fn each(&mut self, change: impl Fn(u16) -> u16) {
        match self {
            Self::U8(samples) => samples.iter_mut().for_each(|v| *v = change(u16::from(*v)) as u8),
            Self::U16(samples) => samples.iter_mut().for_each(|v| *v = change(*v)),
        }
    }

    /// Turns `MONOCHROME1` into `MONOCHROME2`: `max - v`. Every `v` must have been held against `max_value` before: what
    /// lies above it would turn black, silently.
    pub fn invert(&mut self, max_value: u32) {
        let max = u16::try_from(max_value).unwrap_or(u16::MAX);
        self.each(|v| max.saturating_sub(v));
    }
}

pub(crate) fn value_above(brightest: u32, most: u32) -> JobError {
    refuse(
        ErrorCode::ValueOutOfRange,
        format!("the image holds the value {brightest}, above its declared maximum {most}"),
    )
}
