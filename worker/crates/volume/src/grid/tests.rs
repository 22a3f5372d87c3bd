#![allow(clippy::unwrap_used)]
use super::*;
use crate::sampling::Sampling;
use proptest::prelude::*;

fn grid(dims: [usize; 3], affine: [[f64; 4]; 3]) -> Grid {
    Grid { dims, affine: Affine(affine) }
}

#[test]
fn an_inverse_undoes_its_affine() {
    let affine = Affine([[-4.0, 0.3, 0.0, 107.2], [0.1, 3.9, 0.16, -75.0], [0.0, -0.16, 4.0, -15.5]]);
    let back = affine.inverse().unwrap().compose(&affine);
    for (i, row) in back.0.iter().enumerate() {
        for (j, cell) in row.iter().enumerate() {
            assert!((cell - f64::from(u8::from(i == j))).abs() < 1e-12);
        }
    }
    assert!(Affine([[0.0; 4]; 3]).inverse().is_none());
}

#[test]
fn flipped_storage_is_the_same_space() {
    let target = grid([4, 5, 6], [[2.0, 0.0, 0.0, -3.0], [0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]);
    let flipped = grid([4, 5, 6], [[-2.0, 0.0, 0.0, 3.0], [0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]);
    let swapped = grid([5, 4, 6], [[0.0, 2.0, 0.0, -3.0], [2.0, 0.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]);
    let shifted = grid([4, 5, 6], [[2.0, 0.0, 0.0, -2.0], [0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]);
    assert_eq!(target.relation(&target), Some(GridRelation::Same));
    assert_eq!(target.relation(&flipped), Some(GridRelation::Reordered));
    assert_eq!(target.relation(&swapped), Some(GridRelation::Reordered));
    assert_eq!(target.relation(&shifted), Some(GridRelation::Different));
    for source in [flipped, swapped] {
        let wanted: Vec<u32> = (0..target.len() as u32).collect();
        let plan = Sampling::plan(&source, &target, &wanted).unwrap();
        let volume: Vec<f64> = (0..source.len())
            .map(|v| source.world(v).iter().zip([1.0, 10.0, 100.0]).map(|(a, b)| a * b).sum())
            .collect();
        let mut out = vec![0.0; target.len()];
        plan.apply(&volume, &mut out);
        for (v, value) in out.iter().enumerate() {
            let [x, y, z] = target.world(v);
            assert!((value - (x + 10.0 * y + 100.0 * z)).abs() < 1e-9);
        }
    }
}

fn linear([a, b, c]: [f64; 3], p: [f64; 3]) -> f64 {
    5.0 + a * p[0] + b * p[1] + c * p[2]
}

proptest! {
    /// Trilinear interpolation reproduces every function that is linear in space, inside of the source.
    #[test]
    fn linear_functions_survive_resampling(a in -2.0..2.0f64, b in -2.0..2.0f64, c in -2.0..2.0f64, shift in 0.0..3.0f64) {
        let source = grid([8, 9, 7], [[3.0, 0.2, 0.0, -9.0], [-0.2, 3.0, 0.0, -9.0], [0.0, 0.0, 3.0, -9.0]]);
        let target = grid([6, 6, 6], [[1.5, 0.0, 0.0, -4.0 + shift], [0.0, 1.5, 0.0, -4.0], [0.0, 0.0, 1.5, -6.0]]);
        let volume: Vec<f64> = (0..source.len()).map(|v| linear([a, b, c], source.world(v))).collect();
        let wanted: Vec<u32> = (0..target.len() as u32).collect();
        let plan = Sampling::plan(&source, &target, &wanted).unwrap();
        prop_assert!(plan.outside.is_empty());
        let mut out = vec![0.0; target.len()];
        plan.apply(&volume, &mut out);
        for (v, got) in out.iter().enumerate() {
            prop_assert!((got - linear([a, b, c], target.world(v))).abs() < 1e-4);
        }
    }
}

#[test]
fn voxels_beyond_the_source_are_listed() {
    let source = grid([3, 3, 3], [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]);
    let target = grid([8, 1, 1], [[1.0, 0.0, 0.0, -1.5], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
    let plan = Sampling::plan(&source, &target, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    // Positions -1.5, -0.5, ..., 5.5 mm; the source reaches from -1 to 5 mm with its half voxels.
    assert_eq!(plan.outside, [0, 7]);
}

#[test]
fn a_neighbour_without_weight_cannot_spread_its_nan() {
    let source = grid([2, 1, 1], [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]);
    let target = grid([3, 1, 1], [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
    let plan = Sampling::plan(&source, &target, &[0, 1, 2]).unwrap();
    let mut out = [0.0; 3];
    plan.apply(&[7.0, f64::NAN], &mut out);
    assert!((out[0] - 7.0).abs() < 1e-12 && out[1].is_nan() && out[2].is_nan());
}
