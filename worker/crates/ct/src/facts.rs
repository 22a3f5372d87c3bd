//! What is told of a volume, and the doubts that its numbers and its shape raise.

use std::collections::BTreeMap;

use nightread_volume::Affine;
use serde_json::{Value, json};

use crate::error::{CtWarning, CtWarningCode};
use crate::hounsfield::Changed;

/// Sideways part of a step that is a tilt, in millimetres.
pub const TILT_MM: f64 = 0.1;
/// The greatest step that models know, in millimetres.
pub const THICK_MM: f64 = 6.0;

/// Doubts about the numbers.
pub fn of_values(values: &[i16], changed: Changed) -> Vec<CtWarning> {
    let mut warnings = Vec::new();
    if values.iter().all(|&value| value >= 0) {
        let text = "no value is below zero, so that even air is not: these may be no Hounsfield units";
        warnings.push(CtWarning::new(CtWarningCode::NotHounsfield, text));
    }
    if changed.lowered > 0 {
        let text = format!("{} voxels above 32,767 HU were lowered to it", changed.lowered);
        warnings.push(CtWarning::new(CtWarningCode::ValuesLowered, text));
    }
    if changed.not_numbers > 0 {
        let text = format!("{} voxels are not numbers, and were taken for air", changed.not_numbers);
        warnings.push(CtWarning::new(CtWarningCode::NotNumbers, text));
    }
    warnings
}

/// Doubts about the shape, from the columns of the affine: a tilt, thick slices.
pub fn of_columns(affine: [[f64; 4]; 3]) -> Vec<CtWarning> {
    let (sideways, degrees) = tilt(affine);
    let mut warnings = Vec::new();
    if sideways > TILT_MM {
        let text =
            format!("each slice lies {sideways:.2} mm beside the one before, a tilt of {degrees:.1} degrees");
        warnings.push(CtWarning::new(CtWarningCode::GantryTilt, text));
    }
    let step = Affine(affine).voxel_mm().into_iter().fold(0.0, f64::max);
    if step > THICK_MM {
        let text = format!("slices are {step:.1} mm apart; {THICK_MM} mm are the most that models know");
        warnings.push(CtWarning::new(CtWarningCode::ThickSlices, text));
    }
    warnings
}

/// The part of a step along k that lies in the plane of the slices, in millimetres, and its angle in degrees.
fn tilt(affine: [[f64; 4]; 3]) -> (f64, f64) {
    let column = |n: usize| [affine[0][n], affine[1][n], affine[2][n]];
    let (i, j, k) = (column(0), column(1), column(2));
    let cross = [i[1] * j[2] - i[2] * j[1], i[2] * j[0] - i[0] * j[2], i[0] * j[1] - i[1] * j[0]];
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let along = (dot(k, cross) / dot(cross, cross).sqrt()).abs();
    let sideways = (dot(k, k) - along * along).max(0.0).sqrt();
    (sideways, sideways.atan2(along).to_degrees())
}

/// Tells size, place and range.
pub fn tell(
    facts: &mut BTreeMap<String, Value>,
    shape: [usize; 3],
    affine: [[f64; 4]; 3],
    values: &[i16],
    changed: Changed,
) {
    let place = Affine(affine);
    let (least, greatest) =
        values.iter().fold((i16::MAX, i16::MIN), |(least, most), &value| (least.min(value), most.max(value)));
    let (sideways, degrees) = tilt(affine);
    let said = [
        ("grid_voxels", json!(shape)),
        ("spacing_mm", json!(place.voxel_mm())),
        ("axes", json!(place.axis_codes())),
        ("least_hu", json!(least)),
        ("greatest_hu", json!(greatest)),
        ("voxels_set_to_air", json!(changed.to_air)),
        ("tilt_degrees", json!(if sideways > TILT_MM { degrees } else { 0.0 })),
    ];
    facts.extend(said.map(|(name, value)| (name.to_owned(), value)));
}
