use super::*;
use crate::labels::LabelValues;

fn name(index: usize, name: &str) -> Name {
    let laterality = match name {
        _ if name.contains("left") => Some(Laterality::Left),
        _ if name.contains("right") => Some(Laterality::Right),
        _ => None,
    };
    Name { index, name: name.to_owned(), laterality }
}

/// A volume of 8 x 9 x 10 voxels of 0.5 x 2 x 3 mm, x to the patient's left as in most CT files.
fn volume(values: impl Fn([usize; 3]) -> (usize, i16)) -> (LabelMap, Grid<i16>) {
    let shape = [8, 9, 10];
    let affine = [[-0.5, 0.0, 0.0, 100.0], [0.0, -2.0, 0.0, 50.0], [0.0, 0.0, 3.0, -20.0]];
    let at = |index: usize| values([index % 8, index / 8 % 9, index / 72]);
    let labels = LabelValues::U8((0..720).map(|index| at(index).0 as u8).collect());
    let hu = (0..720).map(|index| at(index).1).collect();
    (LabelMap { shape, affine, values: labels }, Grid { shape, affine, values: hu })
}

/// The same volume with its axes in another order and some of them run backwards.
fn turned(labels: &LabelMap, hu: &Grid<i16>, axes: [usize; 3], flips: [bool; 3]) -> (LabelMap, Grid<i16>) {
    let shape = axes.map(|axis| labels.shape[axis]);
    let mut affine = [[0.0; 4]; 3];
    for (row, old) in affine.iter_mut().zip(&labels.affine) {
        row[3] = old[3];
        for (axis, &from) in axes.iter().enumerate() {
            row[axis] = if flips[axis] { -old[from] } else { old[from] };
            row[3] += if flips[axis] { old[from] * (shape[axis] - 1) as f64 } else { 0.0 };
        }
    }
    let (mut values, mut units) = (Vec::new(), Vec::new());
    for at in 0..720 {
        let here = [at % shape[0], at / shape[0] % shape[1], at / shape[0] / shape[1]];
        let mut old = [0; 3];
        for axis in 0..3 {
            old[axes[axis]] = if flips[axis] { shape[axis] - 1 - here[axis] } else { here[axis] };
        }
        let from = (old[2] * 9 + old[1]) * 8 + old[0];
        values.push(labels.values.get(from) as u8);
        units.push(hu.values[from]);
    }
    (LabelMap { shape, affine, values: LabelValues::U8(values) }, Grid { shape, affine, values: units })
}

fn two_kidneys([x, y, z]: [usize; 3]) -> (usize, i16) {
    let label = match (x, y, z) {
        (1..=2, 3..=4, 2..=5) => 1,
        (5..=6, 3..=4, 1..=5) => 2,
        (_, 8, 9) => 3,
        _ => 0,
    };
    (label, (10 * x + y) as i16)
}

fn kidneys() -> [Name; 4] {
    [name(1, "kidney_right"), name(2, "kidney_left"), name(3, "bone"), name(4, "spleen")]
}

#[test]
fn measures_are_those_of_the_voxels() {
    let (labels, hu) = volume(two_kidneys);
    let confidence = [None, Some(0.75), Some(0.5), Some(0.25), None];
    let (found, warnings) = segments(&labels, &hu, &kidneys(), &confidence).unwrap();
    assert_eq!(warnings, []);
    let right = &found[0];
    assert_eq!((right.voxels, right.volume_ml), (16, 16.0 * 3.0 / 1000.0));
    // Values 13, 14, 23, 24.
    assert_eq!(right.mean_hu, Some(18.5));
    assert!((right.sd_hu.unwrap() - 25.25f64.sqrt()).abs() < 1e-12);
    assert_eq!(right.bbox_mm, Some([[98.75, 41.0, -15.5], [99.75, 45.0, -3.5]]));
    assert_eq!((right.touches_border, right.confidence), (false, Some(0.75)));
    assert!(found[2].touches_border);
    let nothing = &found[3];
    assert_eq!((nothing.voxels, nothing.volume_ml, nothing.mean_hu, nothing.bbox_mm), (0, 0.0, None, None));
    assert!(!nothing.touches_border);
}

#[test]
fn a_turned_volume_has_the_same_measures() {
    let (labels, hu) = volume(two_kidneys);
    let expected = segments(&labels, &hu, &kidneys(), &[]).unwrap();
    for axes in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in 0..8 {
            let flips = [0, 1, 2].map(|axis| flips >> axis & 1 == 1);
            let (labels, hu) = turned(&labels, &hu, axes, flips);
            assert_eq!(segments(&labels, &hu, &kidneys(), &[]).unwrap(), expected, "{axes:?} {flips:?}");
        }
    }
}

#[test]
fn a_left_kidney_on_the_right_is_warned_of() {
    let (labels, hu) = volume(two_kidneys);
    let swapped = [name(2, "kidney_right"), name(1, "kidney_left"), name(3, "bone")];
    let (_, warnings) = segments(&labels, &hu, &swapped, &[]).unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].left.as_str(), warnings[0].by_mm), ("kidney_left", 2.0));
    assert!(warnings[0].to_string().starts_with("kidney_left lies 2 mm to the right of kidney_right"));
    // Pairs are made by name, not by side alone.
    let others = [name(2, "kidney_right"), name(1, "lung_left"), name(3, "bone")];
    assert_eq!(segments(&labels, &hu, &others, &[]).unwrap().1, []);
}

#[test]
fn a_mirrored_volume_is_warned_of() {
    let (mut labels, mut hu) = volume(two_kidneys);
    labels.affine[0][0] = 0.5;
    hu.affine[0][0] = 0.5;
    assert_eq!(segments(&labels, &hu, &kidneys(), &[]).unwrap().1.len(), 1);
}

#[test]
fn sums_of_many_extreme_values_are_exact() {
    let (labels, hu) = volume(|[x, _, _]| (1, if x % 2 == 0 { i16::MIN } else { i16::MAX }));
    let (found, _) = segments(&labels, &hu, &[name(1, "all")], &[]).unwrap();
    assert_eq!((found[0].mean_hu, found[0].sd_hu), (Some(-0.5), Some(32767.5)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (labels, mut hu) = volume(two_kidneys);
    let unnamed = segments(&labels, &hu, &kidneys()[1..], &[]).unwrap_err();
    assert_eq!(unnamed, SegmentsError::Unnamed { index: 1 });
    hu.shape = [8, 10, 9];
    assert!(matches!(segments(&labels, &hu, &kidneys(), &[]), Err(SegmentsError::OtherGrid { .. })));
}
