//! What is refused, what is chosen where nothing decides, and the ways back.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use nightread_segmentation::labels::{Accumulator, Finished, LabelError, LabelRule, LabelValues};
use nightread_segmentation::window::{Padding, Plan, Resample, Rule, Window};
use nightread_segmentation::{AxisMap, Back};
use support::IDENTITY;

const SHAPE: [usize; 3] = [6, 5, 8];

fn plan(patch: [usize; 3]) -> Plan {
    let window = Window { patch, step: 0.5, gaussian: None, rule: Rule::NnUnet, padding: Padding::Edge };
    Plan::new(SHAPE, window).unwrap()
}

/// The source is the model's grid.
fn same() -> Back {
    Back::Separable([0, 1, 2].map(|axis| AxisMap {
        source_axis: axis,
        coordinates: (0..SHAPE[axis]).map(|at| at as f64).collect(),
        nearest: (0..SHAPE[axis]).collect(),
    }))
}

/// One patch that is the grid; class by a voxel's place.
fn whole(class: impl Fn([usize; 3]) -> usize, classes: usize) -> Vec<f32> {
    let count: usize = SHAPE.iter().product();
    let at = |index: usize| [index % 6, index / 6 % 5, index / 30];
    (0..classes * count)
        .map(|index| if class(at(index % count)) == index / count { 3.0 } else { 0.0 })
        .collect()
}

fn finished(
    back: &Back,
    resample: Resample,
    source: [usize; 3],
    logits: &[f32],
    rules: &[LabelRule],
) -> Finished {
    let plan = plan(SHAPE);
    let classes = logits.len() / 240;
    let mut accumulator = Accumulator::new(&plan, classes, back, resample, source).unwrap();
    accumulator.add(0, logits).unwrap();
    accumulator.finish(IDENTITY, 2000.0, rules).unwrap()
}

fn octant([x, y, z]: [usize; 3]) -> usize {
    usize::from(x > 3) + usize::from(y > 1) + usize::from(z > 5)
}

#[test]
fn labels_come_back_as_they_were_given() {
    for resample in [Resample::Labels, Resample::Logits] {
        let Finished { map, confidence } = finished(&same(), resample, SHAPE, &whole(octant, 4), &[]);
        for at in 0..240 {
            assert_eq!(map.values.get(at), octant([at % 6, at / 6 % 5, at / 30]));
        }
        // e^3 against three times e^0.
        let sure = 3f32.exp() / (3f32.exp() + 3.0);
        assert_eq!(confidence[0], None);
        assert!(confidence[1..].iter().all(|of| (of.unwrap() - sure).abs() < 1e-6), "{confidence:?}");
    }
}

#[test]
fn a_class_without_voxels_has_no_confidence() {
    let confidence = finished(&same(), Resample::Labels, SHAPE, &whole(|_| 1, 3), &[]).confidence;
    assert!(confidence[0].is_none() && confidence[1].is_some() && confidence[2].is_none());
}

#[test]
fn of_equal_classes_the_lowest_is_the_label() {
    for resample in [Resample::Labels, Resample::Logits] {
        let map = finished(&same(), resample, SHAPE, &vec![0.25; 3 * 240], &[]).map;
        assert_eq!(map.values, LabelValues::U8(vec![0; 240]));
        let between = whole(|[x, _, _]| if x < 3 { 2 } else { 1 }, 3);
        // Half way between a voxel of class 2 and one of class 1.
        let mut back = same();
        if let Back::Separable(maps) = &mut back {
            maps[0].coordinates = vec![2.5; 6];
            maps[0].nearest = vec![3; 6];
        }
        let map = finished(&back, resample, SHAPE, &between, &[]).map;
        assert_eq!(map.values, LabelValues::U8(vec![1; 240]));
    }
}

#[test]
fn an_affine_gives_the_nearest_and_outside_the_border() {
    // Twice as fine along axis 0, two voxels more than the grid along axis 2, axes 0 and 1 changed.
    let affine = [[0.0, 0.5, 0.0, -0.25], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -2.0]];
    let source = [5, 12, 10];
    let map =
        finished(&Back::Affine(affine), Resample::Labels, source, &whole(|at| 1 + octant(at), 5), &[]).map;
    for at in 0..600 {
        let [x, y, z] = [at % 5, at / 5 % 12, at / 60];
        let expected = 1 + octant([y / 2, x, z.saturating_sub(2)]);
        assert_eq!(map.values.get(at), expected, "{x} {y} {z}");
    }
    let plan = plan(SHAPE);
    let refused = Accumulator::new(&plan, 2, &Back::Affine(affine), Resample::Logits, source).unwrap_err();
    assert_eq!(refused, LabelError::ShearedLogits);
}

#[test]
fn what_a_recipe_cut_off_is_background() {
    let plan = plan(SHAPE);
    for resample in [Resample::Labels, Resample::Logits] {
        let back = same();
        let accumulator = Accumulator::new(&plan, 2, &back, resample, SHAPE).unwrap();
        let mut accumulator = accumulator.with_inside([1..6, 0..4, 2..3]).unwrap();
        accumulator.add(0, &whole(|_| 1, 2)).unwrap();
        let map = accumulator.finish(IDENTITY, 1.0, &[]).unwrap().map;
        let kept = (0..240).filter(|&at| map.values.get(at) == 1).count();
        assert_eq!(kept, 5 * 4);
        assert_eq!(map.values.get(2 * 30 + 1), 1);
    }
    let back = same();
    let accumulator = Accumulator::new(&plan, 2, &back, Resample::Labels, SHAPE).unwrap();
    assert!(matches!(accumulator.with_inside([0..7, 0..5, 0..8]), Err(LabelError::Back(_))));
}

/// Two pieces of label 1, of 2 and 4 voxels; the voxel of the model's grid has 2 mL.
#[test]
fn rules_are_applied_on_the_grid_of_the_labels() {
    let pieces = |[x, y, z]: [usize; 3]| usize::from(y == 0 && z == 0 && x < 2 || z == 4 && x == 3 && y < 4);
    let count = |resample, rule| {
        let map = finished(&same(), resample, SHAPE, &whole(pieces, 2), &[LabelRule::default(), rule]).map;
        (0..240).filter(|&at| map.values.get(at) == 1).count()
    };
    let largest = LabelRule { largest_component: true, min_ml: None };
    let over = |ml| LabelRule { largest_component: false, min_ml: Some(ml) };
    assert_eq!(count(Resample::Labels, LabelRule::default()), 6);
    assert_eq!(count(Resample::Labels, largest), 4);
    assert_eq!(count(Resample::Labels, over(5.0)), 4);
    assert_eq!(count(Resample::Labels, over(4.0)), 6);
    assert_eq!(count(Resample::Labels, over(9.0)), 0);
    // On the source, a voxel has a cubic millimetre.
    assert_eq!(count(Resample::Logits, largest), 4);
    assert_eq!(count(Resample::Logits, over(0.003)), 4);
    assert_eq!(count(Resample::Logits, over(5.0)), 0);
}

#[test]
fn nan_and_infinity_are_never_a_label() {
    let plan = plan([4, 5, 8]);
    for (at, wrong) in [(0, f32::NAN), (319, f32::INFINITY), (77, f32::NEG_INFINITY)] {
        for resample in [Resample::Labels, Resample::Logits] {
            let back = same();
            let mut accumulator = Accumulator::new(&plan, 2, &back, resample, SHAPE).unwrap();
            let mut logits = vec![0.0; 320];
            accumulator.add(0, &logits).unwrap();
            logits[at] = wrong;
            assert_eq!(accumulator.add(1, &logits), Err(LabelError::NotFinite { patch: 1 }));
            logits[at] = 0.0;
            assert_eq!(accumulator.add(1, &logits), Err(LabelError::Spoilt));
            assert_eq!(accumulator.finish(IDENTITY, 1.0, &[]).unwrap_err(), LabelError::Spoilt);
        }
    }
    // Finite logits whose sums are not.
    let back = same();
    let mut accumulator = Accumulator::new(&plan, 1, &back, Resample::Labels, SHAPE).unwrap();
    accumulator.add(0, &[f32::MAX; 160]).unwrap();
    assert_eq!(accumulator.add(1, &[f32::MAX; 160]), Err(LabelError::NotFinite { patch: 1 }));
}

#[test]
fn patches_come_in_order_whole_and_all() {
    let (plan, back) = (plan([4, 5, 8]), same());
    let new = || Accumulator::new(&plan, 2, &back, Resample::Labels, SHAPE).unwrap();
    let logits = vec![0.0; 320];
    assert_eq!(new().add(1, &logits), Err(LabelError::Order { expected: 0, given: 1 }));
    assert_eq!(new().add(0, &logits[1..]), Err(LabelError::Length { expected: 320, given: 319 }));
    let mut accumulator = new();
    accumulator.add(0, &logits).unwrap();
    assert_eq!(accumulator.add(0, &logits), Err(LabelError::Order { expected: 1, given: 0 }));
    let mut accumulator = new();
    accumulator.add(0, &logits).unwrap();
    let missing = accumulator.finish(IDENTITY, 1.0, &[]).unwrap_err();
    assert_eq!(missing, LabelError::Incomplete { taken: 1, patches: 2 });
    let mut accumulator = new();
    accumulator.add(0, &logits).unwrap();
    accumulator.add(1, &logits).unwrap();
    assert_eq!(accumulator.add(2, &logits), Err(LabelError::Order { expected: 2, given: 2 }));
    let mut accumulator = new();
    accumulator.add(0, &logits).unwrap();
    accumulator.add(1, &logits).unwrap();
    let rules = accumulator.finish(IDENTITY, 1.0, &[LabelRule::default(); 3]).unwrap_err();
    assert_eq!(rules, LabelError::Rules { classes: 2, rules: 3 });
}

#[test]
fn ways_back_that_do_not_fit_are_refused_before_memory_is_taken() {
    let plan = plan(SHAPE);
    let refused = |back: &Back, classes, source| {
        Accumulator::new(&plan, classes, back, Resample::Labels, source).unwrap_err()
    };
    assert_eq!(refused(&same(), 0, SHAPE), LabelError::Classes(0));
    assert_eq!(refused(&same(), 65_536, SHAPE), LabelError::Classes(65_536));
    let wrong = |change: fn(&mut [AxisMap; 3])| {
        let Back::Separable(mut maps) = same() else { unreachable!() };
        change(&mut maps);
        refused(&Back::Separable(maps), 2, SHAPE)
    };
    let changes: [fn(&mut [AxisMap; 3]); 5] = [
        |maps| maps[1].source_axis = 0,
        |maps| maps[2].source_axis = 3,
        |maps| maps[0].nearest[2] = 6,
        |maps| maps[1].coordinates[0] = f64::NAN,
        |maps| {
            maps[2].coordinates.pop();
        },
    ];
    for change in changes {
        assert!(matches!(wrong(change), LabelError::Back(_)));
    }
    assert!(matches!(refused(&same(), 2, [6, 0, 8]), LabelError::Back(_)));
    let nan = Back::Affine([[f64::NAN; 4]; 3]);
    assert!(matches!(refused(&nan, 2, SHAPE), LabelError::Back(_)));
}
