//! Images on their way: one grey plane, of integers as they were stored, of bytes, or of floats.

use crate::step::WindowFunction;

/// Samples as they were stored, row by row.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'s> {
    U8(&'s [u8]),
    U16(&'s [u16]),
}

/// The window that a header gives: of `v * slope + intercept`, before `MONOCHROME1` is inverted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeaderWindow {
    pub centre: f64,
    pub width: f64,
    pub function: WindowFunction,
    pub slope: f64,
    pub intercept: f64,
    /// Whether the samples are inverted already, as `max_value - v`.
    pub inverted: bool,
}

/// One image. `samples` has `width * height` values, none above `max_value`, which is at least 1.
#[derive(Clone, Copy, Debug)]
pub struct StoredImage<'s> {
    pub samples: Samples<'s>,
    pub width: usize,
    pub height: usize,
    pub max_value: u32,
    pub window: Option<HeaderWindow>,
}

/// The values of a plane, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Stored(Vec<u16>),
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plane {
    pub width: usize,
    pub height: usize,
    pub values: Values,
}

impl Plane {
    pub fn of(source: &StoredImage<'_>) -> Self {
        let values = match source.samples {
            Samples::U8(samples) => samples.iter().map(|&v| u16::from(v)).collect(),
            Samples::U16(samples) => samples.to_vec(),
        };
        Self { width: source.width, height: source.height, values: Values::Stored(values) }
    }

    /// The values as floats; integers up to 65535 are exact.
    pub fn floats(self) -> Vec<f32> {
        match self.values {
            Values::Stored(values) => values.into_iter().map(f32::from).collect(),
            Values::Bytes(values) => values.into_iter().map(f32::from).collect(),
            Values::Floats(values) => values,
        }
    }
}
