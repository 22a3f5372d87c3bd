//! Streaming against a form that keeps everything: all logits summed, divided, brought to the source's grid, judged.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::cell::Cell;

use nightread_segmentation::Back;
use nightread_segmentation::labels::Accumulator;
use nightread_segmentation::window::{Padding, Plan, Resample, Rule, Window};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::{Geometry, IDENTITY, geometry, naive};

/// Labels by the accumulator; its memory is what the plan tells.
fn streamed(geometry: &Geometry, back: &Back) -> Vec<usize> {
    let Geometry { window, shape, classes, resample, source, .. } = geometry;
    let plan = Plan::new(*shape, window.clone()).unwrap();
    let mut accumulator = Accumulator::new(&plan, *classes, back, *resample, *source).unwrap();
    let memory = plan.memory(*classes, *resample, *source);
    let waits = if *resample == Resample::Labels { 0 } else { memory.source_labels };
    assert_eq!(accumulator.bytes(), memory.ring + memory.scratch + memory.model_labels + waits);
    for (index, start) in plan.patches().enumerate() {
        accumulator.add(index, &geometry.logits(start)).unwrap();
    }
    let map = accumulator.finish(IDENTITY, 1.0, &[]).unwrap().map;
    assert_eq!(map.shape, *source);
    (0..map.values.len()).map(|at| map.values.get(at)).collect()
}

#[test]
fn streaming_is_the_naive_form_on_a_thousand_geometries() {
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    let (voxels, differing) = (Cell::new(0u64), Cell::new(0u64));
    let interpolated = Cell::new(0u64);
    TestRunner::new(config)
        .run(&geometry(), |geometry| {
            let back = geometry.back();
            let got = streamed(&geometry, &back);
            let expected = naive(&geometry);
            prop_assert_eq!(got.len(), expected.len());
            for (at, (&label, right)) in got.iter().zip(&expected).enumerate() {
                if label != right.label {
                    let logits = &right.logits;
                    let gap = (logits[right.label] - logits[label]).abs();
                    let size = logits[right.label].abs().max(logits[label].abs());
                    prop_assert!(gap <= 1e-5 * size, "voxel {at}: {label}, not {}: {logits:?}", right.label);
                    differing.set(differing.get() + 1);
                }
            }
            voxels.set(voxels.get() + got.len() as u64);
            if geometry.resample == Resample::Logits {
                interpolated.set(interpolated.get() + got.len() as u64);
            }
            Ok(())
        })
        .unwrap();
    println!(
        "{} voxels, {} of interpolated logits, {} differ",
        voxels.get(),
        interpolated.get(),
        differing.get()
    );
    assert!(voxels.get() > 1_000_000 && interpolated.get() > 300_000);
    assert!(differing.get() * 1_000_000 <= voxels.get(), "{} of {}", differing.get(), voxels.get());
}

/// The check of the test itself: one patch's place off by a voxel, and the two forms differ.
#[test]
fn a_misplaced_patch_is_seen() {
    let geometry = Geometry {
        window: Window {
            patch: [6, 6, 6],
            step: 0.5,
            gaussian: Some(0.125),
            rule: Rule::NnUnet,
            padding: Padding::Edge,
        },
        shape: [12, 13, 14],
        classes: 4,
        resample: Resample::Labels,
        source: [14, 12, 13],
        axes: [1, 2, 0],
        flips: [false, true, false],
        seed: 3,
    };
    let expected: Vec<_> = naive(&geometry).into_iter().map(|right| right.label).collect();
    assert_eq!(streamed(&geometry, &geometry.back()), expected);
    let plan = Plan::new(geometry.shape, geometry.window.clone()).unwrap();
    let back = geometry.back();
    let mut accumulator =
        Accumulator::new(&plan, geometry.classes, &back, Resample::Labels, geometry.source).unwrap();
    for (index, start) in plan.patches().enumerate() {
        let moved = if index == 5 { [start[0] + 1, start[1], start[2]] } else { start };
        accumulator.add(index, &geometry.logits(moved)).unwrap();
    }
    let map = accumulator.finish(IDENTITY, 1.0, &[]).unwrap().map;
    assert!((0..map.values.len()).any(|at| map.values.get(at) != expected[at]));
}
