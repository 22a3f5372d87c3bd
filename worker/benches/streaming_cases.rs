//! Time and memory of making label maps of the sizes that clinics have, the network aside:
//! `cargo run --release -p nightread-tools --bin streaming_cases [case]`. Seconds are the processor's.
//!
//! The logits are made up: blocks of voxels whose class differs from that of the next block, so that there are borders.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use nightread_segmentation::labels::{Accumulator, LabelRule};
use nightread_segmentation::window::{Padding, Plan, Resample, Rule, Window};
use nightread_segmentation::{AxisMap, Back};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

struct Case {
    name: &'static str,
    classes: usize,
    shape: [usize; 3],
    source: [usize; 3],
    window: Window,
}

fn cases() -> [Case; 3] {
    let window = Window {
        patch: [96; 3],
        step: 0.5,
        gaussian: Some(0.125),
        rule: Rule::NnUnet,
        padding: Padding::Edge,
    };
    [
        Case {
            name: "14 classes, 3 mm",
            classes: 14,
            shape: [167, 133, 133],
            source: [512, 512, 300],
            window: window.clone(),
        },
        Case {
            name: "118 classes, trunk at 3 mm",
            classes: 118,
            shape: [167, 133, 300],
            source: [512, 512, 600],
            window: Window { patch: [128; 3], step: 0.8, ..window.clone() },
        },
        Case {
            name: "105 classes, 1.5 mm",
            classes: 105,
            shape: [287, 287, 397],
            source: [512, 512, 595],
            window: Window { step: 0.75, rule: Rule::Monai, ..window },
        },
    ]
}

/// A source as large as the grid, with more voxels, half a voxel aside, from top to bottom.
fn back(shape: [usize; 3], source: [usize; 3]) -> Back {
    Back::Separable([0, 1, 2].map(|axis| {
        let (from, to) = (source[axis] as f64, shape[axis] as f64);
        let place = |index: usize| (index as f64 + 0.5) * to / from - 0.5;
        let coordinates: Vec<f64> = (0..source[axis]).rev().map(place).collect();
        let nearest = coordinates.iter().map(|place| place.round().clamp(0.0, to - 1.0) as usize).collect();
        AxisMap { source_axis: axis, coordinates, nearest }
    }))
}

fn logits(classes: usize, patch: [usize; 3]) -> Vec<f32> {
    let voxels: usize = patch.iter().product();
    let mut out = Vec::with_capacity(classes * voxels);
    for class in 0..classes {
        for at in 0..voxels {
            let [x, y, z] = [at % patch[0], at / patch[0] % patch[1], at / patch[0] / patch[1]];
            let block = x / 20 + 7 * (y / 20) + 31 * (z / 20);
            let noise = ((class * 31 + at * 17) % 101) as f32 / 50.0;
            out.push(noise + if block % classes == class { 8.0 } else { 0.0 });
        }
    }
    out
}

/// Processor time of this process so far, in seconds, as Linux counts it in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [fields[11], fields[12]].map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).iter().sum()
}

fn main() {
    let wanted = std::env::args().nth(1).and_then(|word| word.parse::<usize>().ok());
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    for (index, case) in cases().into_iter().enumerate() {
        if wanted.is_some_and(|wanted| wanted != index) {
            continue;
        }
        let plan = Plan::new(case.shape, case.window.clone()).unwrap();
        let back = back(case.shape, case.source);
        let logits = logits(case.classes, case.window.patch);
        let rules = vec![LabelRule { largest_component: true, min_ml: Some(1.0) }; case.classes];
        for resample in [Resample::Labels, Resample::Logits] {
            let memory = plan.memory(case.classes, resample, case.source);
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let started = processor_seconds();
            let mut accumulator =
                Accumulator::new(&plan, case.classes, &back, resample, case.source).unwrap();
            for index in 0..plan.len() {
                accumulator.add(index, &logits).unwrap();
            }
            let adding = processor_seconds() - started;
            let started = processor_seconds();
            let finished = accumulator.finish([[1.0; 4]; 3], 27.0, &rules).unwrap();
            let finishing = processor_seconds() - started;
            let peak = ALLOCATOR.peak_usage() - before;
            println!(
                "{}, {resample:?}: {} patches; predicted {:.1} MiB (ring {:.1}), counted {:.1}; {:.3} s a patch, {finishing:.2} s to finish; {} labels",
                case.name,
                plan.len(),
                mib(memory.peak),
                mib(memory.ring),
                mib(peak),
                adding / plan.len() as f64,
                finished.confidence.iter().flatten().count(),
            );
        }
    }
}
