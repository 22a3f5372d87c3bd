//! Model grids and ways back against what TotalSegmentator 2.18.0, nnU-Net 2.8.1 and MONAI 1.6.1 make of small volumes
//! (`parity/parity.py golden`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use nightread_segmentation::grid::{PreparedVolume, prepare};
use nightread_segmentation::recipe::{Recipe, RecipeId};
use nightread_segmentation::{Back, Grid};
use serde_json::Value;

/// The greatest difference, as a share of the grid's own range. The project's promise is 1e-3.
const LIMIT: f64 = 2e-6;

/// TotalSegmentator's grids of order 3 (before its 2.16) are cut to whole numbers after some hundred roundings, so a value that
/// is whole already may lose a unit on either side: one of the clip's 2592.
const ONE_UNIT: f64 = 3.9e-4;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("golden/grids.json")).unwrap()
}

fn source(case: &Value) -> Grid<i16> {
    Grid {
        shape: serde_json::from_value(case["shape"].clone()).unwrap(),
        affine: serde_json::from_value(case["affine"].clone()).unwrap(),
        values: serde_json::from_value(case["values"].clone()).unwrap(),
    }
}

fn tensor(case: &Value) -> Vec<f64> {
    serde_json::from_value(case["tensor"].clone()).unwrap()
}

fn named<'a>(cases: &'a [Value], name: &str) -> &'a Value {
    cases.iter().find(|case| case["name"] == name).unwrap()
}

/// The greatest difference from the peer's tensor, as a share of its range.
fn difference(prepared: &PreparedVolume, case: &Value) -> f64 {
    let mut shape: [usize; 3] = serde_json::from_value(case["tensor_shape"].clone()).unwrap();
    shape.reverse();
    let expected = tensor(case);
    if prepared.grid.shape != shape || prepared.grid.values.len() != expected.len() {
        return f64::INFINITY;
    }
    let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = expected.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pairs = prepared.grid.values.iter().zip(&expected);
    pairs.map(|(ours, theirs)| (f64::from(*ours) - theirs).abs()).fold(0.0, f64::max) / (greatest - least)
}

/// Where a voxel of the source lies on each axis of the tensor; none where no label comes to it.
fn place(prepared: &PreparedVolume, recipe: &Recipe, voxel: [usize; 3]) -> [Option<f64>; 3] {
    if !(0..3).all(|axis| prepared.inside[axis].contains(&voxel[axis])) {
        return [None; 3];
    }
    let nearest = recipe.settings().id != RecipeId::Nnunet;
    let mut place = match &prepared.back {
        Back::Separable(maps) => maps.each_ref().map(|map| {
            let at = voxel[map.source_axis];
            if nearest { map.nearest[at] as f64 } else { map.coordinates[at] }
        }),
        Back::Affine(rows) => [0, 1, 2].map(|axis| {
            let [a, b, c, origin] = rows[axis];
            let at = a * voxel[0] as f64 + b * voxel[1] as f64 + c * voxel[2] as f64 + origin;
            at.clamp(0.0, (prepared.grid.shape[axis] - 1) as f64).round_ties_even()
        }),
    };
    place.reverse();
    place.map(Some)
}

#[test]
fn grids_are_the_peers() {
    for case in cases() {
        let recipe = common::recipe(&case["recipe"]).unwrap();
        let prepared = prepare(&source(&case), &recipe, u64::MAX).unwrap();
        let found = difference(&prepared, &case);
        let limit = if case["name"] == "totalseg_cubic" { ONE_UNIT } else { LIMIT };
        assert!(found < limit, "{}: {found:e}, {:?}", case["name"], prepared.grid.shape);
    }
}

#[test]
fn ways_back_are_the_peers() {
    for case in cases() {
        let recipe = common::recipe(&case["recipe"]).unwrap();
        let source = source(&case);
        let prepared = prepare(&source, &recipe, u64::MAX).unwrap();
        let theirs: [Vec<Option<f64>>; 3] = serde_json::from_value(case["back"].clone()).unwrap();
        let [wide, high, _] = source.shape;
        for index in 0..source.values.len() {
            let voxel = [index % wide, index / wide % high, index / (wide * high)];
            for (ours, theirs) in place(&prepared, &recipe, voxel).into_iter().zip(&theirs) {
                let same = match (ours, theirs[index]) {
                    (Some(ours), Some(theirs)) => (ours - theirs).abs() < 2e-4,
                    (ours, theirs) => ours.is_none() && theirs.is_none(),
                };
                assert!(same, "{} at {voxel:?}: {ours:?} and {:?}", case["name"], theirs[index]);
            }
        }
    }
}

/// What must not pass: the comparison can fail.
#[test]
fn wrong_grids_are_told_apart() {
    let cases = cases();
    for name in ["totalseg_ras", "totalseg_cubic", "nnunet_down", "nnunet_slices", "monai_range"] {
        let case = named(&cases, name);
        let recipe = common::recipe(&case["recipe"]).unwrap();
        let mut mirrored = prepare(&source(case), &recipe, u64::MAX).unwrap();
        let wide = mirrored.grid.shape[0];
        mirrored.grid.values.chunks_exact_mut(wide).for_each(<[f32]>::reverse);
        assert!(difference(&mirrored, case) > 0.1, "{name} mirrored");
        let mut aside = prepare(&source(case), &recipe, u64::MAX).unwrap();
        for at in 1..aside.grid.values.len() {
            aside.grid.values[at - 1] = f32::midpoint(aside.grid.values[at - 1], aside.grid.values[at]);
        }
        assert!(difference(&aside, case) > 0.1, "{name} half a voxel aside");
        let mut order = case["recipe"].clone();
        order["order"] = (4 - order["order"].as_u64().unwrap()).into();
        if let Ok(recipe) = common::recipe(&order) {
            let other = prepare(&source(case), &recipe, u64::MAX).unwrap();
            assert!(difference(&other, case) > 0.01, "{name} of another order");
        }
    }
}

/// Three grids that are not one: each peer's numbers are refused for each other.
#[test]
fn the_three_peers_differ() {
    let cases = cases();
    let case = named(&cases, "totalseg_ras");
    for id in ["ct-nnunet-1", "ct-monai-1"] {
        let mut recipe = case["recipe"].clone();
        recipe["id"] = id.into();
        let prepared = prepare(&source(case), &common::recipe(&recipe).unwrap(), u64::MAX).unwrap();
        assert!(difference(&prepared, case) > 0.01, "{id}");
    }
}
