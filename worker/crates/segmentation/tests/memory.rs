//! What a label map takes, counted by the allocator: a worker takes its budget by the plan's word.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use nightread_segmentation::labels::Accumulator;
use nightread_segmentation::window::{Padding, Plan, Resample, Rule, Window};
use peak_alloc::PeakAlloc;
use support::{Geometry, IDENTITY};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Small things: a vector of confidences, names of nothing.
const SMALL: usize = 8 * 1024;

fn counted(window: &Window, shape: [usize; 3], classes: usize, resample: Resample, source: [usize; 3]) {
    let geometry = Geometry {
        window: window.clone(),
        shape,
        classes,
        resample,
        source,
        axes: [2, 0, 1],
        flips: [true, false, false],
        seed: 5,
    };
    let back = geometry.back();
    let plan = Plan::new(shape, window.clone()).unwrap();
    let logits = geometry.logits([0, 0, 0]);
    let memory = plan.memory(classes, resample, source);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut accumulator = Accumulator::new(&plan, classes, &back, resample, source).unwrap();
    let waits = if resample == Resample::Labels { 0 } else { memory.source_labels };
    let taken = ALLOCATOR.current_usage() - before;
    assert_eq!(taken, memory.ring + memory.scratch + memory.model_labels + waits, "{memory:?}");
    for index in 0..plan.len() {
        accumulator.add(index, &logits).unwrap();
    }
    assert_eq!(ALLOCATOR.current_usage() - before, taken, "nothing is kept of a patch");
    drop(accumulator.finish(IDENTITY, 1.0, &[]).unwrap());
    let peak = ALLOCATOR.peak_usage() - before;
    assert!(peak >= memory.peak && peak < memory.peak + SMALL, "{peak} {memory:?}");
}

#[test]
fn the_allocator_counts_what_the_plan_tells() {
    let monai = Window {
        patch: [8, 12, 10],
        step: 0.75,
        gaussian: Some(0.125),
        rule: Rule::Monai,
        padding: Padding::Edge,
    };
    let nnunet = Window { patch: [16, 9, 12], step: 0.5, rule: Rule::NnUnet, ..monai.clone() };
    for resample in [Resample::Labels, Resample::Logits] {
        for window in [&monai, &nnunet] {
            for (shape, source) in [
                ([15, 13, 14], [60, 50, 40]),
                ([12, 25, 13], [100, 100, 100]),
                ([25, 13, 7], [10, 11, 12]),
                ([5, 6, 7], [30, 30, 30]),
            ] {
                counted(window, shape, 4, resample, source);
            }
            counted(window, [13, 6, 7], 260, resample, [30, 30, 30]);
        }
    }
}
