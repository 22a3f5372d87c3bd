//! The steps, one after another, over one image.

use std::fmt;

use crate::channels;
use crate::field::Field;
use crate::geometry::{crop, crop_offset, pad_square, resize};
use crate::intensity::{
    Flat, clahe, clip, extremes, min_max, percentile, rescale, to_bytes, window, z_score,
};
use crate::plan::{Plan, proportional};
use crate::plane::{Plane, StoredImage, Values};
use crate::step::{Clahe, Sides, Step, Window, WindowFunction};

/// Pixels that an image may have between two steps: a long strip whose shorter side is to become large has more.
const MOST_PIXELS: usize = 1 << 26;

/// One image as the network takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedImage {
    /// Of the plan's item shape, row-major.
    pub tensor: Vec<f32>,
    /// Least and greatest value before the channels' statistics.
    pub seen: [f32; 2],
}

/// Why an image cannot be prepared. Each is the image's own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The step (its name) scales by the image's own values, and they are one.
    Flat(&'static str),
    /// The header has no window that can be used.
    NoWindow,
    /// The step would make so many pixels.
    TooLarge { step: &'static str, width: usize, height: usize },
    /// The kernel or the tiles are larger than the image.
    TooSmall { step: &'static str, width: usize, height: usize },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat(step) => write!(f, "{step} scales by what the image has, and all of it has one value"),
            Self::NoWindow => f.write_str(
                "the model reads through the window of the header, and there is none: it takes a centre, a width, and a rescale \
                 slope and intercept that are numbers, if there are any, the slope not 0",
            ),
            Self::TooLarge { step, width, height } => {
                write!(f, "{step} would make an image of {width} x {height} pixels, more than {MOST_PIXELS}")
            }
            Self::TooSmall { step, width, height } => {
                write!(f, "{step} needs more than {width} x {height} pixels")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Plan {
    /// One image to one item of the network's input.
    ///
    /// # Errors
    /// What about this image a step cannot work with.
    pub fn prepare(&self, source: &StoredImage<'_>) -> Result<PreparedImage, Refusal> {
        let mut plane = Plane::of(source);
        for (step, range) in self.steps().iter().zip(self.ranges()) {
            plane = match step {
                Step::CropCentre { .. } | Step::PadSquare { .. } | Step::Resize { .. } => moved(plane, step)?,
                Step::Channels(_) => plane,
                step => changed(plane, step, *range, source)?,
            };
        }
        let values = plane.floats();
        let (least, most) = extremes(&values);
        let tensor = match self.channels() {
            Some(channels) => channels::spread(&values, channels),
            None => values,
        };
        Ok(PreparedImage { tensor, seen: [least, most] })
    }

    /// What of an image of these sides the network sees.
    pub fn field(&self, width: usize, height: usize) -> Field {
        let mut field = Field { x: 0.0, y: 0.0, width: width as f64, height: height as f64 };
        let (mut wide, mut high) = (width, height);
        for step in self.steps() {
            let (x, y, new_wide, new_high) = match step {
                Step::CropCentre { .. } => cropped(step, wide, high),
                Step::PadSquare { .. } => {
                    let side = wide.max(high);
                    (-(((side - wide) / 2) as f64), -(((side - high) / 2) as f64), side, side)
                }
                Step::Resize { sides, .. } => {
                    (wide, high) = resized(*sides, wide, high);
                    continue;
                }
                _ => continue,
            };
            let (across, down) = (field.width / wide as f64, field.height / high as f64);
            field = Field {
                x: field.x + x * across,
                y: field.y + y * down,
                width: new_wide as f64 * across,
                height: new_high as f64 * down,
            };
            (wide, high) = (new_wide, new_high);
        }
        field
    }
}

/// The first pixel of a crop, its width and its height.
fn cropped(step: &Step, width: usize, height: usize) -> (f64, f64, usize, usize) {
    let Step::CropCentre { library, size } = step else { return (0.0, 0.0, width, height) };
    let [high, wide] = size.unwrap_or([width.min(height); 2]);
    let (x, y) = (crop_offset(width, wide, *library), crop_offset(height, high, *library));
    (x as f64, y as f64, wide, high)
}

/// Width and height after a resize.
fn resized(sides: Sides, width: usize, height: usize) -> (usize, usize) {
    let (size, rounding, this_is_height) = match sides {
        Sides::Exact { height, width } => return (width, height),
        Sides::Short { size, rounding } => (size, rounding, height <= width),
        Sides::Long { size, rounding } => (size, rounding, height >= width),
    };
    if this_is_height {
        (proportional(size, height, width, rounding), size)
    } else {
        (size, proportional(size, width, height, rounding))
    }
}

/// A step that moves pixels.
fn moved(plane: Plane, step: &Step) -> Result<Plane, Refusal> {
    let (width, height) = (plane.width, plane.height);
    match step {
        Step::CropCentre { .. } => {
            let (x, y, wide, high) = cropped(step, width, height);
            Ok(crop(&plane, x as usize, y as usize, wide, high))
        }
        Step::PadSquare { value } => {
            let side = width.max(height);
            bounded(step, side, side)?;
            Ok(pad_square(plane, *value))
        }
        Step::Resize { library, sides, edge } => {
            let (wide, high) = resized(*sides, width, height);
            bounded(step, wide, high)?;
            Ok(resize(plane, *library, *edge, wide, high))
        }
        _ => Ok(plane),
    }
}

fn bounded(step: &Step, width: usize, height: usize) -> Result<(), Refusal> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MOST_PIXELS => Ok(()),
        _ => Err(Refusal::TooLarge { step: step.name(), width, height }),
    }
}

/// A step that changes values, whose ends are `range` where they are known. Integers stay what they are where the step's
/// library works in integers.
fn changed(
    plane: Plane,
    step: &Step,
    range: Option<[f64; 2]>,
    source: &StoredImage<'_>,
) -> Result<Plane, Refusal> {
    let (width, height) = (plane.width, plane.height);
    let values = match (step, plane.values) {
        (Step::Clahe(Clahe::Opencv { clip_limit, tiles }), Values::Bytes(bytes)) => {
            if tiles[0] > width || tiles[1] > height {
                return Err(Refusal::TooSmall { step: step.name(), width, height });
            }
            Values::Bytes(clahe::opencv(&bytes, width, height, *clip_limit, *tiles))
        }
        (Step::Invert {}, Values::Bytes(bytes)) => Values::Bytes(bytes.iter().map(|v| 255 - v).collect()),
        (Step::Invert {}, Values::Stored(stored)) => {
            let most = source.max_value as u16;
            Values::Stored(stored.iter().map(|v| most.saturating_sub(*v)).collect())
        }
        (Step::ToUint8 { library }, Values::Floats(floats)) => {
            let is_unit = range.is_some_and(|[_, high]| high <= 1.0);
            Values::Bytes(to_bytes(&floats, is_unit, *library))
        }
        (step, values) => {
            let most = if matches!(values, Values::Bytes(_)) { 255.0 } else { f64::from(source.max_value) };
            let mut values = Plane { width, height, values }.floats();
            scaled(&mut values, (width, height), step, range.unwrap_or([0.0, most]), source)?;
            Values::Floats(values)
        }
    };
    Ok(Plane { width, height, values })
}

/// `range` is that of the values, or of what can be stored.
fn scaled(
    values: &mut Vec<f32>,
    (width, height): (usize, usize),
    step: &Step,
    range: [f64; 2],
    source: &StoredImage<'_>,
) -> Result<(), Refusal> {
    let flat = |Flat| Refusal::Flat(step.name());
    match step {
        Step::Range { from, to, clip: clips } => {
            rescale(values, from.unwrap_or(range), *to);
            if *clips {
                clip(values, *to);
            }
        }
        Step::Window { window: of, to } => windowed(values, *of, *to, source)?,
        Step::MinMax { to } => min_max(values, *to).map_err(flat)?,
        Step::Percentile { lower, upper, to, clip: clips } => {
            percentile(values, *lower, *upper, *to).map_err(flat)?;
            if *clips {
                clip(values, *to);
            }
        }
        Step::ZScore {} => z_score(values).map_err(flat)?,
        Step::Clahe(Clahe::Skimage { clip_limit, bins, kernel }) => {
            if !clahe::skimage_fits(width, height, *kernel) {
                return Err(Refusal::TooSmall { step: step.name(), width, height });
            }
            let equalised = clahe::skimage(values, width, height, (*clip_limit, *bins), *kernel);
            *values = equalised.ok_or(Refusal::Flat(step.name()))?;
        }
        Step::Invert {} => {
            let sum = (range[0] + range[1]) as f32;
            for value in values.iter_mut() {
                *value = sum - *value;
            }
        }
        _ => {}
    }
    Ok(())
}

fn windowed(values: &mut [f32], of: Window, to: [f64; 2], source: &StoredImage<'_>) -> Result<(), Refusal> {
    let header = match (of, source.window) {
        (Window::Given { centre, width, function }, _) => {
            window(values, centre, width, function, to);
            return Ok(());
        }
        (Window::Header, Some(header)) => header,
        (Window::Header, None) => return Err(Refusal::NoWindow),
    };
    let least = if header.function == WindowFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
    if header.width < least {
        return Err(Refusal::NoWindow);
    }
    let most = source.max_value as f32;
    for value in values.iter_mut() {
        let stored = if header.inverted { most - *value } else { *value };
        *value = (f64::from(stored) * header.slope + header.intercept) as f32;
    }
    window(values, header.centre, header.width, header.function, to);
    if header.inverted {
        let sum = (to[0] + to[1]) as f32;
        for value in values.iter_mut() {
            *value = sum - *value;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
