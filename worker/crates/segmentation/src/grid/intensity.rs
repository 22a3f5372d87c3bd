//! Hounsfield units to what the network takes, in single precision, operation by operation as the peers.

use crate::recipe::Intensity;

/// nnU-Net's least standard deviation.
const LEAST_STD: f32 = 1e-8;

/// One value by itself; [`Intensity::NonzeroStandardised`] needs them all and leaves it.
pub fn scaled(intensity: &Intensity, value: f32) -> f32 {
    match *intensity {
        Intensity::Standardised { clip, mean, std } => {
            (value.clamp(clip[0] as f32, clip[1] as f32) - mean as f32) / (std as f32).max(LEAST_STD)
        }
        Intensity::Ranged { clip: [from, to], range: [low, high] } => {
            let share = (value - from as f32) / (to - from) as f32;
            (share * (high - low) as f32 + low as f32).clamp(low as f32, high as f32)
        }
        Intensity::NonzeroStandardised { .. } => value,
    }
}

/// All values of a grid, in place.
pub fn scale(intensity: &Intensity, values: &mut [f32]) {
    if let Intensity::NonzeroStandardised { range } = intensity {
        standardise_nonzero(values);
        if let Some([low, high]) = range {
            stretch(values, *low as f32, *high as f32);
        }
        return;
    }
    for value in values {
        *value = scaled(intensity, *value);
    }
}

/// MONAI's `NormalizeIntensity(nonzero=True)`: the deviation of the whole (not of a sample), 1 where it is 0.
fn standardise_nonzero(values: &mut [f32]) {
    let nonzero = || values.iter().filter(|value| **value != 0.0).map(|value| f64::from(*value));
    let count = nonzero().count();
    if count == 0 {
        return;
    }
    let mean = nonzero().sum::<f64>() / count as f64;
    let variance = nonzero().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
    let std = if variance == 0.0 { 1.0 } else { variance.sqrt() };
    for value in values.iter_mut().filter(|value| **value != 0.0) {
        *value = (*value - mean as f32) / std as f32;
    }
}

/// MONAI's `rescale_array`.
fn stretch(values: &mut [f32], low: f32, high: f32) {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let width = greatest - least;
    for value in values {
        *value = if width > 0.0 { (*value - least) / width * (high - low) + low } else { *value * low };
    }
}
