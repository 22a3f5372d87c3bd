//! Stored values to Hounsfield units.

use crate::slice::Slice;
use crate::volume::LEAST_HU;

/// The greatest unit of 12 bits, which is what a scanner measures; padding above it is no metal.
const MOST_MEASURED: f64 = 3071.0;

/// What became of values that do not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Below [`LEAST_HU`], or padding: raised or lowered to it.
    pub to_air: u64,
    /// Above 32,767: lowered to it.
    pub lowered: u64,
    /// Not numbers: made air.
    pub not_numbers: u64,
}

impl Changed {
    pub fn and(self, other: Self) -> Self {
        Self {
            to_air: self.to_air + other.to_air,
            lowered: self.lowered + other.lowered,
            not_numbers: self.not_numbers + other.not_numbers,
        }
    }
}

/// `value * slope + intercept` in double precision, rounded to the nearest unit, halves away from zero, at least
/// [`LEAST_HU`] (PS3.3 C.11.1.1.2).
pub fn rescale(slice: &Slice, values: &[i32], out: &mut [i16]) -> Changed {
    let (slope, intercept) = (slice.slope.unwrap_or(1.0), slice.intercept.unwrap_or(0.0));
    // As it stands in the word, or as the sign that a wider word has.
    let padding = slice.of.padding.map(|word| [i32::from(word), i32::from(word as i16)]);
    let mut changed = Changed::default();
    for (out, &value) in out.iter_mut().zip(values) {
        let mut hu = f64::from(value) * slope + intercept;
        if hu > MOST_MEASURED && padding.is_some_and(|padding| padding.contains(&value)) {
            hu = f64::NEG_INFINITY;
        }
        *out = unit(hu, &mut changed);
    }
    changed
}

/// One number in Hounsfield units.
pub fn unit(hu: f64, changed: &mut Changed) -> i16 {
    let rounded = hu.round();
    if rounded >= f64::from(LEAST_HU) && rounded <= f64::from(i16::MAX) {
        return rounded as i16;
    }
    if rounded > f64::from(i16::MAX) {
        changed.lowered += 1;
        return i16::MAX;
    }
    if hu.is_nan() {
        changed.not_numbers += 1;
    } else {
        changed.to_air += 1;
    }
    LEAST_HU
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_and_bounded() {
        let mut changed = Changed::default();
        let units = [0.5, -0.5, 1.49, -1024.4, -1024.6, -3024.0, 32767.4, 40000.0, f64::NAN];
        let units = units.map(|hu| unit(hu, &mut changed));
        assert_eq!(units, [1, -1, 1, -1024, -1024, -1024, 32767, 32767, -1024]);
        assert_eq!(changed, Changed { to_air: 2, lowered: 1, not_numbers: 1 });
    }
}
