//! Speed of taking labels from patches of logits: `cargo bench -p nightread-segmentation`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nightread_segmentation::labels::{Accumulator, LabelMap, LabelRule, LabelValues, clean};
use nightread_segmentation::preview::preview;
use nightread_segmentation::segments::{Name, segments};
use nightread_segmentation::window::{Padding, Patches, Plan, Resample, Rule, Window};
use nightread_segmentation::{AxisMap, Back, Grid};

const CLASSES: usize = 14;
const SHAPE: [usize; 3] = [96, 80, 112];
const SOURCE: [usize; 3] = [256, 256, 112];
const AFFINE: [[f64; 4]; 3] = [[-1.1, 0.0, 0.0, 0.0], [0.0, -1.1, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]];

fn back() -> Back {
    Back::Separable([0, 1, 2].map(|axis| {
        let scale = SHAPE[axis] as f64 / SOURCE[axis] as f64;
        let coordinates: Vec<f64> = (0..SOURCE[axis]).map(|at| (at as f64 + 0.5) * scale - 0.5).collect();
        let nearest = coordinates.iter().map(|at| at.round().clamp(0.0, SHAPE[axis] as f64 - 1.0) as usize);
        AxisMap { source_axis: axis, nearest: nearest.collect(), coordinates }
    }))
}

/// Blocks of 16 voxels whose classes differ.
fn block(at: usize, shape: [usize; 3]) -> usize {
    let [x, y, z] = [at % shape[0], at / shape[0] % shape[1], at / shape[0] / shape[1]];
    (x / 16 + 3 * (y / 16) + 5 * (z / 16)) % CLASSES
}

fn benches(criterion: &mut Criterion) {
    let patch = [64; 3];
    let window =
        Window { patch, step: 0.5, gaussian: Some(0.125), rule: Rule::NnUnet, padding: Padding::Edge };
    let plan = Plan::new(SHAPE, window).unwrap();
    let voxels: usize = patch.iter().product();
    let logits: Vec<f32> = (0..CLASSES * voxels)
        .map(|at| if block(at % voxels, patch) == at / voxels { 5.0 } else { (at * 7 % 31) as f32 / 31.0 })
        .collect();
    let back = back();
    let mut group = criterion.benchmark_group("96x80x112, 14 classes");
    group.sample_size(10).throughput(Throughput::Elements((plan.len() * voxels) as u64));
    for resample in [Resample::Labels, Resample::Logits] {
        let whole = || {
            let mut accumulator = Accumulator::new(&plan, CLASSES, &back, resample, SOURCE).unwrap();
            for index in 0..plan.len() {
                accumulator.add(index, black_box(&logits)).unwrap();
            }
            accumulator.finish(AFFINE, 27.0, &[]).unwrap()
        };
        group.bench_function(format!("{resample:?}"), |b| b.iter(whole));
    }
    let grid = Grid { shape: SHAPE, affine: AFFINE, values: vec![0.5f32; SHAPE.iter().product()] };
    let mut input = vec![0.0; voxels];
    group.bench_function("extract a patch", |b| {
        b.iter(|| Patches::extract(black_box(&grid), &plan, 1, &mut input).unwrap());
    });
    group.finish();

    let count: usize = SOURCE.iter().product();
    let values = LabelValues::U8((0..count).map(|at| block(at, SOURCE) as u8).collect());
    let labels = LabelMap { shape: SOURCE, affine: AFFINE, values };
    let hu = Grid { shape: SOURCE, affine: AFFINE, values: (0..count).map(|at| (at % 400) as i16).collect() };
    let names: Vec<Name> =
        (1..CLASSES).map(|index| Name { index, name: format!("organ {index}"), laterality: None }).collect();
    let mut group = criterion.benchmark_group("256x256x112, 14 labels");
    group.sample_size(10).throughput(Throughput::Elements(count as u64));
    group.bench_function("segments", |b| b.iter(|| segments(black_box(&labels), &hu, &names, &[]).unwrap()));
    group.bench_function("preview", |b| b.iter(|| preview(black_box(&labels), &hu, &names).unwrap()));
    let rules = [LabelRule { largest_component: true, min_ml: Some(1.0) }; CLASSES];
    group.bench_function("clean", |b| {
        b.iter(|| {
            let mut values = labels.values.clone();
            clean(&mut values, SOURCE, 3.63, &rules);
            values
        });
    });
    group.finish();
}

criterion_group!(segmentation, benches);
criterion_main!(segmentation);
