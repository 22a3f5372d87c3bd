//! Whether an image has the contrast of those that the model was trained on.

use nightread_domain::warning::{Warning, WarningCode};

/// TorchXRayVision's `warn_normalization`: values of an image that was normalised rightly reach below -255 and above 255.
const LEAST: f32 = 255.0;

/// The doubt about a tensor as [`crate::prepare`] gives it: flat, nearly black or nearly white, or made of values that use a
/// small part of their range.
pub fn low_contrast(tensor: &[f32]) -> Option<Warning> {
    let (least, most) = tensor.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &value| {
        (least.min(value), most.max(value))
    });
    (least > -LEAST || most < LEAST).then(|| {
        Warning::new(
            WarningCode::LowContrast,
            format!(
                "what the model sees reaches from {least:.0} to {most:.0} of -1024 to 1024: nearly one grey, or the values \
                 use a small part of their range"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_must_reach_to_both_sides() {
        for (tensor, warned) in [
            (&[-1024.0, 0.0, 1024.0][..], false),
            (&[-255.0, 255.0], false),
            (&[-254.9, 1024.0], true),
            (&[-1024.0, 254.9], true),
            (&[0.0, 0.0], true),
            (&[-1024.0, -900.0], true),
            (&[900.0, 1024.0], true),
        ] {
            assert_eq!(low_contrast(tensor).is_some(), warned, "{tensor:?}");
        }
    }
}
