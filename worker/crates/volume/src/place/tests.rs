#![allow(clippy::unwrap_used)]
use super::*;
use crate::affine::Affine;

const MNI: Orientation = Orientation::Sform(4);

fn grid(dims: [usize; 3], size: [f64; 3], origin: [f64; 3]) -> Grid {
    let [[a, b, c], [x, y, z]] = [size, origin];
    Grid { dims, affine: Affine([[a, 0.0, 0.0, x], [0.0, b, 0.0, y], [0.0, 0.0, c, z]]) }
}

fn standard() -> Grid {
    grid([6, 7, 5], [-4.0, 4.0, 4.0], [10.0, -12.0, -8.0])
}

fn frame<'a>(grid: &'a Grid, orientation: Orientation, called: &'a str) -> Frame<'a> {
    Frame { grid, orientation, called }
}

fn placed(
    source: (&Grid, Orientation),
    target: (&Grid, Orientation),
    resample: bool,
) -> Result<Placed, JobError> {
    let wanted: Vec<u32> = (0..target.0.len() as u32).collect();
    place(&frame(source.0, source.1, "the scan"), &frame(target.0, target.1, "the maps"), &wanted, resample)
}

fn codes(placed: &Placed) -> Vec<&str> {
    placed.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

#[test]
fn without_a_place_voxels_are_taken_one_for_one_or_not_at_all() {
    let (here, nowhere) = (standard(), grid([6, 7, 5], [4.0, 4.0, 4.0], [0.0; 3]));
    let unknown = Orientation::Unknown;
    for resample in [false, true] {
        for (source, target) in [((&nowhere, unknown), (&here, MNI)), ((&here, MNI), (&nowhere, unknown))] {
            let got = placed(source, target, resample).unwrap();
            assert_eq!(codes(&got), ["no_orientation"]);
            assert!(
                matches!(got.sampling.sampler, crate::sampling::Sampler::Direct(list) if list.iter().enumerate().all(|(i, &v)| i == v as usize))
            );
            let words = &got.warnings[0].message;
            assert!(words.contains("first axis") && words.contains("from right to left"), "{words}");
        }
        let both = placed((&nowhere, unknown), (&nowhere, unknown), resample).unwrap();
        assert!(both.warnings[0].message.contains("which side is left is not known"));
        // Another size, another edge, along any axis, is never laid anywhere.
        for other in [
            grid([6, 7, 4], [4.0; 3], [0.0; 3]),
            grid([7, 6, 5], [4.0; 3], [0.0; 3]),
            grid([6, 7, 5], [2.0; 3], [0.0; 3]),
            grid([6, 7, 5], [4.0, 4.0, 4.1], [0.0; 3]),
        ] {
            for (source, target) in [((&other, unknown), (&here, MNI)), ((&here, MNI), (&other, unknown))] {
                let error = placed(source, target, resample).unwrap_err();
                assert_eq!(error.code, ErrorCode::GridMismatch);
                assert!(error.message.contains("neither qform nor sform"), "{}", error.message);
            }
        }
    }
}

/// The words that refuse `other` where `here` is wanted.
fn difference(other: &Grid, here: &Grid) -> String {
    let error = placed((other, MNI), (here, MNI), false).unwrap_err();
    assert_eq!(error.code, ErrorCode::GridMismatch);
    assert!(error.message.contains("resampling is off"), "{}", error.message);
    error.message
}

#[test]
fn what_differs_is_named() {
    let here = standard();
    let shifted = difference(&grid([6, 7, 5], [-4.0, 4.0, 4.0], [12.0, -14.0, -10.0]), &here);
    assert!(shifted.contains("its origin is at (12.0, -14.0, -10.0) mm instead of (10.0, -12.0, -8.0) mm"));
    assert!(shifted.contains("(2.0, -2.0, -2.0) mm off"), "{shifted}");
    let turned = difference(&grid([6, 7, 5], [4.0, 4.0, 4.0], [-11.0, -12.0, -8.0]), &here);
    assert!(
        turned.contains("run RAS instead of LAS") && turned.contains("(-1.0, 0.0, 0.0) mm off"),
        "{turned}"
    );
    let finer = difference(&grid([12, 14, 10], [-2.0, 2.0, 2.0], [10.0, -12.0, -8.0]), &here);
    assert!(finer.contains("12x14x10 voxels of 2.00x2.00x2.00 mm"), "{finer}");
    assert!(finer.contains("6x7x5 voxels of 4.00x4.00x4.00 mm"), "{finer}");
}

#[test]
fn spaces_other_than_a_template_warn_when_resampled_and_only_then() {
    let (here, off) = (standard(), grid([6, 7, 5], [-4.0, 4.0, 4.0], [11.0, -12.0, -8.0]));
    for code in 1..=5 {
        for orientation in [Orientation::Sform(code), Orientation::Qform(code)] {
            assert!(codes(&placed((&here, orientation), (&here, MNI), true).unwrap()).is_empty());
            let got = placed((&off, orientation), (&here, MNI), true).unwrap();
            assert_eq!(codes(&got).len(), usize::from(code < 4), "{code}");
            assert_eq!(got.sampling.relation, GridRelation::Different);
        }
    }
}
