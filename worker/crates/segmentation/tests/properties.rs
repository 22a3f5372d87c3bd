//! What holds for any volume.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use nightread_segmentation::grid::{PrepareError, model_shape, prepare};
use nightread_segmentation::recipe::Recipe;
use nightread_segmentation::{Back, Grid};
use proptest::prelude::*;
use serde_json::json;

fn recipes() -> Vec<Recipe> {
    let base = json!({
        "spacing_mm": [1.7, 2.1, 1.3], "orientation": "RAS", "axis_order": "zyx", "order": 1,
        "clip": [-1000.0, 1000.0], "mean": 10.0, "std": 300.0,
    });
    [("ct-totalseg-1", 1), ("ct-totalseg-1", 3), ("ct-nnunet-1", 1), ("ct-nnunet-1", 3), ("ct-monai-1", 1)]
        .map(|(id, order)| {
            let mut recipe = base.clone();
            recipe["id"] = id.into();
            recipe["order"] = order.into();
            common::recipe(&recipe).unwrap()
        })
        .to_vec()
}

/// A volume whose axes run right, front and up, with steps that are whole in single precision and more.
fn volume() -> impl Strategy<Value = Grid<i16>> {
    let shape = [2..9_usize, 2..9_usize, 2..9_usize];
    let steps = [8..40_i32, 8..40_i32, 8..40_i32];
    (shape, steps).prop_flat_map(|(shape, steps)| {
        let mm = steps.map(|step| f64::from(step) / 8.0);
        let affine = [[mm[0], 0.0, 0.0, -64.0], [0.0, mm[1], 0.0, 32.0], [0.0, 0.0, mm[2], 16.0]];
        prop::collection::vec(-1200..1800_i16, shape.iter().product::<usize>()).prop_map(move |values| Grid {
            shape,
            affine,
            values,
        })
    })
}

/// The same volume stored with its axes in another order and some of them backwards, its affine saying so.
fn stored_otherwise(source: &Grid<i16>, order: [usize; 3], flips: [bool; 3]) -> Grid<i16> {
    let shape = order.map(|axis| source.shape[axis]);
    let mut affine = [[0.0; 4]; 3];
    for (row, from) in affine.iter_mut().zip(&source.affine) {
        row[3] = from[3];
        for (to, axis) in order.into_iter().enumerate() {
            row[to] = if flips[to] { -from[axis] } else { from[axis] };
            if flips[to] {
                row[3] += from[axis] * (shape[to] - 1) as f64;
            }
        }
    }
    let mut values = Vec::with_capacity(source.values.len());
    for c in 0..shape[2] {
        for b in 0..shape[1] {
            for a in 0..shape[0] {
                let mut voxel = [0; 3];
                for (to, at) in [a, b, c].into_iter().enumerate() {
                    voxel[order[to]] = if flips[to] { shape[to] - 1 - at } else { at };
                }
                values.push(
                    source.values[voxel[0] + source.shape[0] * (voxel[1] + source.shape[1] * voxel[2])],
                );
            }
        }
    }
    Grid { shape, affine, values }
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn how_a_volume_is_stored_changes_nothing(
        source in volume(), order in prop::sample::select(ORDERS.to_vec()), flips in any::<[bool; 3]>(),
    ) {
        let other = stored_otherwise(&source, order, flips);
        for recipe in recipes() {
            let id = recipe.settings().id;
            let (one, two) = (prepare(&source, &recipe, u64::MAX), prepare(&other, &recipe, u64::MAX));
            let (Ok(one), Ok(two)) = (one, two) else { panic!("{id}: one is refused") };
            prop_assert_eq!(one.grid.shape, two.grid.shape, "{}", id);
            // MONAI's own arithmetic with the affine rounds differently, each for itself the same.
            let differ = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-4;
            prop_assert!(!one.grid.values.iter().zip(&two.grid.values).any(differ), "{}", id);
            for (a, b) in one.grid.affine.iter().flatten().zip(two.grid.affine.iter().flatten()) {
                prop_assert!((a - b).abs() < 1e-9);
            }
            let (Back::Separable(one), Back::Separable(two)) = (one.back, two.back) else {
                panic!("{id}: an upright volume was taken for a tilted one")
            };
            for (one, two) in one.iter().zip(&two) {
                let to = order.iter().position(|axis| *axis == one.source_axis).unwrap();
                prop_assert_eq!(two.source_axis, to);
                let mut nearest = two.nearest.clone();
                if flips[to] {
                    nearest.reverse();
                }
                prop_assert_eq!(&one.nearest, &nearest, "{}", id);
            }
        }
    }

    #[test]
    fn the_way_back_fits_both_grids(source in volume()) {
        for recipe in recipes() {
            let prepared = prepare(&source, &recipe, u64::MAX).unwrap();
            let needs = model_shape(source.shape, source.affine, &recipe).unwrap();
            for axis in 0..3 {
                prop_assert!(prepared.grid.shape[axis] <= needs.shape[axis]);
            }
            prop_assert_eq!(prepared.grid.values.len(), prepared.grid.shape.iter().product::<usize>());
            prop_assert!(prepared.grid.values.iter().all(|value| value.is_finite()));
            let Back::Separable(maps) = prepared.back else { panic!("an upright volume") };
            for (map, length) in maps.iter().zip(prepared.grid.shape) {
                prop_assert_eq!(map.nearest.len(), source.shape[map.source_axis]);
                prop_assert_eq!(map.coordinates.len(), map.nearest.len());
                for (place, nearest) in map.coordinates.iter().zip(&map.nearest) {
                    prop_assert!(*nearest < length);
                    prop_assert!((place - *nearest as f64).abs() < 0.5 + 1e-9 && *place >= 0.0);
                }
            }
        }
    }
}

fn small() -> Grid<i16> {
    let affine = [[1.5, 0.0, 0.0, 0.0], [0.0, 1.5, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];
    Grid { shape: [4, 5, 6], affine, values: vec![7; 120] }
}

/// A header alone decides, before anything is allocated.
#[test]
fn volumes_that_are_none_are_refused() {
    for recipe in recipes() {
        let refused = |spoil: fn(&mut Grid<i16>)| {
            let mut source = small();
            spoil(&mut source);
            prepare(&source, &recipe, u64::MAX).unwrap_err()
        };
        assert_eq!(refused(|grid| grid.shape[1] = 0), PrepareError::Empty { shape: [4, 0, 6] });
        assert_eq!(
            refused(|grid| grid.shape[1] = 9),
            PrepareError::ValuesMissing { expected: 216, found: 120 }
        );
        let long = refused(|grid| grid.shape[2] = usize::MAX);
        assert!(matches!(long, PrepareError::TooLong { .. }), "{long:?}");
        assert_eq!(refused(|grid| grid.affine[0][3] = f64::NAN), PrepareError::Affine);
        assert_eq!(
            refused(|grid| grid.affine[0] = [0.0, 1.0, 0.0, 0.0]),
            PrepareError::VoxelSize { mm: 0.0 }
        );
        assert_eq!(refused(|grid| grid.affine[1] = grid.affine[0]), PrepareError::VoxelSize { mm: 0.0 });
        let flat = refused(|grid| (grid.affine[0][2], grid.affine[2][2]) = (2.0, 0.0));
        assert!(matches!(flat, PrepareError::Affine), "{flat:?}");
    }
}

#[test]
fn a_budget_is_kept() {
    for recipe in recipes() {
        let source = small();
        let needs = model_shape(source.shape, source.affine, &recipe).unwrap();
        assert!(needs.peak_bytes >= needs.grid_bytes && needs.grid_bytes > 0);
        assert!(prepare(&source, &recipe, needs.peak_bytes).is_ok());
        let refused = prepare(&source, &recipe, needs.peak_bytes - 1).unwrap_err();
        assert!(matches!(refused, PrepareError::TooLarge { .. }), "{refused}");
    }
}
