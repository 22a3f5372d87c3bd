use super::*;
use crate::types::Grid;

fn window(patch: [usize; 3], padding: Padding) -> Window {
    Window { patch, step: 0.5, gaussian: Some(0.125), rule: Rule::NnUnet, padding }
}

/// Values that tell where they are.
fn grid(shape: [usize; 3]) -> Grid<f32> {
    let at = |index: usize| {
        let (x, y, z) = (index % shape[0], index / shape[0] % shape[1], index / shape[0] / shape[1]);
        (x + 100 * y + 10_000 * z) as f32
    };
    let affine = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    Grid { shape, affine, values: (0..shape.iter().product()).map(at).collect() }
}

#[test]
fn patches_sweep_along_the_longest_axis_and_rows_along_the_next() {
    let plan = Plan::new([8, 12, 10], window([8, 8, 8], Padding::Edge)).unwrap();
    let starts: Vec<_> = plan.patches().collect();
    assert_eq!(starts, [[0, 0, 0], [0, 0, 2], [0, 4, 0], [0, 4, 2]]);
    assert_eq!((plan.len(), plan.is_empty()), (4, false));
}

#[test]
fn a_patch_within_the_grid_is_what_is_there() {
    let (grid, shape) = (grid([9, 10, 11]), [4, 5, 6]);
    let plan = Plan::new(grid.shape, window(shape, Padding::Edge)).unwrap();
    let mut patch = vec![0.0; 120];
    for (index, [x0, y0, z0]) in plan.patches().enumerate() {
        Patches::extract(&grid, &plan, index, &mut patch).unwrap();
        for (at, &value) in patch.iter().enumerate() {
            let (x, y, z) = (x0 + at % 4, y0 + at / 4 % 5, z0 + at / 20);
            assert_eq!(value as usize, x + 100 * y + 10_000 * z);
        }
    }
}

#[test]
fn a_grid_under_the_patch_is_padded_on_both_sides() {
    let grid = grid([2, 9, 1]);
    let mut patch = vec![0.0; 5 * 3 * 4];
    let plan = Plan::new(grid.shape, window([5, 3, 4], Padding::Edge)).unwrap();
    let index = plan.patches().position(|start| start == [0, 6, 0]).unwrap();
    Patches::extract(&grid, &plan, index, &mut patch).unwrap();
    for line in patch.chunks(5).enumerate() {
        let y = 100.0 * (6 + line.0 % 3) as f32;
        assert_eq!(line.1, [y, y, y + 1.0, y + 1.0, y + 1.0]);
    }
    let plan = Plan::new(grid.shape, window([5, 3, 4], Padding::Value(-7.0))).unwrap();
    Patches::extract(&grid, &plan, index, &mut patch).unwrap();
    for (line, values) in patch.chunks(5).enumerate() {
        let y = 100.0 * (6 + line % 3) as f32;
        let inside = [-7.0, y, y + 1.0, -7.0, -7.0];
        assert_eq!(values, if line / 3 == 1 { inside } else { [-7.0; 5] });
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = window([4, 4, 4], Padding::Edge);
    let refused = |shape, window| Plan::new(shape, window).unwrap_err();
    assert_eq!(refused([4, 0, 4], good.clone()), WindowError::EmptyGrid);
    assert_eq!(refused([4, 4, 4], window([0, 4, 4], Padding::Edge)), WindowError::EmptyPatch);
    for step in [0.0, -1.0, 1.01, f64::NAN] {
        assert!(matches!(refused([4, 4, 4], Window { step, ..good.clone() }), WindowError::Step(_)));
    }
    for sigma in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let window = Window { gaussian: Some(sigma), ..good.clone() };
        assert!(matches!(refused([4, 4, 4], window), WindowError::Sigma(_)));
    }
    let plan = Plan::new([5, 5, 5], good).unwrap();
    let mut patch = vec![0.0; 64];
    let extract = |grid: &Grid<f32>, index, patch: &mut [f32]| Patches::extract(grid, &plan, index, patch);
    assert!(matches!(extract(&grid([5, 5, 6]), 0, &mut patch), Err(WindowError::OtherGrid { .. })));
    assert_eq!(
        extract(&grid([5, 5, 5]), 8, &mut patch),
        Err(WindowError::NoSuchPatch { index: 8, patches: 8 })
    );
    assert!(matches!(extract(&grid([5, 5, 5]), 0, &mut patch[1..]), Err(WindowError::PatchLength { .. })));
}

/// nnU-Net 2.8.1: `compute_gaussian((10, 10, 10), 1 / 8)` in double precision, through its peak; MONAI 1.6.1: `compute_importance_map((10,))`.
#[test]
fn curves_are_those_of_the_peers() {
    let nnunet = Weights::new(Rule::NnUnet, [10, 10, 10], Some(0.125));
    let expected = [3.354_626e-4, 5.976_023e-3, 5.613_476e-2, 0.278_037_3, 0.726_149, 1.0];
    for (got, right) in nnunet.along(0).iter().zip(expected) {
        assert!((got - right).abs() <= 1e-6 * right, "{got} {right}");
    }
    let monai = Weights::new(Rule::Monai, [10, 10, 10], Some(0.125));
    let expected = [1.533_811_3e-3, 1.984_109_4e-2, 0.135_335_28, 0.486_752_27, 0.923_116_3];
    for (got, right) in monai.along(2).iter().zip(expected) {
        assert!((got - right).abs() <= 1e-6 * right, "{got} {right}");
    }
    assert!((monai.of(1e-9) - 1e-3).abs() < 1e-9);
    assert_eq!(nnunet.of(0.0).to_bits(), 2f32.powi(-24).to_bits());
    let equal = Weights::new(Rule::Monai, [3, 3, 3], None);
    assert_eq!((equal.along(1), equal.of(1.0)), (&[1.0; 3][..], 1.0));
}

/// nnU-Net 2.8.1: `compute_gaussian((16, 16, 16), 1 / 8, 10, torch.float16)`, in multiples of 2^-24, from a corner to the
/// middle and from the middle of an edge to the middle. Half precision keeps one digit of the first, three of the last.
#[test]
fn weights_round_as_those_of_nnunet() {
    let nnunet = Weights::new(Rule::NnUnet, [16, 16, 16], Some(0.125));
    let curve = nnunet.along(0);
    let corner = [1, 2, 230, 14_232, 415_744, 5_742_592, 37_421_056, 115_277_824, 167_772_160];
    let edge = [19, 803, 20_704, 323_840, 3_072_000, 17_678_336, 61_734_912, 130_678_784, 167_772_160];
    for (at, (corner, edge)) in corner.into_iter().zip(edge).enumerate() {
        let found = [curve[at], curve[8]].map(|third| nnunet.of(curve[at] * curve[at] * third));
        let found = found.map(|weight| (f64::from(weight) * 2f64.powi(24)).to_bits());
        assert_eq!(found, [corner, edge].map(|times| f64::from(times).to_bits()), "{at}");
    }
}

/// The bound of the layout's formula, by its letters.
#[test]
fn memory_is_that_of_the_formula() {
    // 118 classes on a trunk: P = 128, steps of 86, A = 133, B = 167.
    let wide = Window { step: 0.8, ..window([128; 3], Padding::Edge) };
    let plan = Plan::new([167, 133, 300], wide).unwrap();
    let bytes = 4 * 118 * ((128 - 86) * 133 * 167 + 86 * 128 * 133);
    assert_eq!(plan.memory(118, Resample::Labels, [512, 512, 600]).ring, bytes);
    // One sweep and one row: nothing but the grid.
    let plan = Plan::new([50, 60, 70], window([96; 3], Padding::Edge)).unwrap();
    let memory = plan.memory(14, Resample::Logits, [100, 100, 100]);
    assert_eq!((memory.ring, memory.source_labels), (4 * 14 * 50 * 60 * 70, 1_000_000));
    // MONAI's last patch begins 13 planes after the one before: both are one sweep of 109 planes, and 72 are final in each.
    let monai = Window { rule: Rule::Monai, step: 0.75, ..window([96; 3], Padding::Value(0.0)) };
    let plan = Plan::new([287, 287, 397], monai.clone()).unwrap();
    let bytes = 4 * 105 * ((109 - 72) * 287 * 287 + 72 * 96 * 287);
    assert_eq!(plan.memory(105, Resample::Labels, [512, 512, 397]).ring, bytes);
    // 47 planes after it: two sweeps take less.
    let plan = Plan::new([287, 287, 287], monai).unwrap();
    let bytes = 4 * 105 * ((96 - 47) * 287 * 287 + 47 * 96 * 287);
    assert_eq!(plan.memory(105, Resample::Labels, [512, 512, 397]).ring, bytes);
    // What nobody can hold saturates.
    let huge = plan.memory(usize::MAX / 2, Resample::Labels, [usize::MAX, 2, 2]);
    assert_eq!(huge.peak, usize::MAX);
}
