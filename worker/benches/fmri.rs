//! Speed of reading, regressing and projecting: `cargo bench -p nightread-fmri`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nightread_fmri::projection::{ProjectionOptions, project};
use nightread_fmri::regression::Options;
use nightread_fmri::{GroupMaps, MNI_4MM, dual_regression};
use nightread_volume::{Affine, BytesSource, Description, Grid, Limits, Storage, VolumeStream, VolumeWriter};

const MNI_2MM: Grid = Grid {
    dims: [91, 109, 91],
    affine: Affine([[-2.0, 0.0, 0.0, 90.0], [0.0, 2.0, 0.0, -126.0], [0.0, 0.0, 2.0, -72.0]]),
};

/// An ellipsoid of the size of the MNI152 brain: about 228,000 voxels of 2 mm.
fn brain(grid: &Grid) -> Vec<u32> {
    let inside = |v: &u32| {
        let [x, y, z] = grid.world(*v as usize);
        (x / 69.0).powi(2) + ((y + 18.0) / 86.0).powi(2) + ((z - 7.0) / 73.0).powi(2) <= 1.0
    };
    (0..grid.len() as u32).filter(inside).collect()
}

/// A cheap hash as noise in -1..1.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn maps(grid: Grid, mask: &[u32], count: usize) -> GroupMaps {
    let map = |k: usize| -> Vec<f64> {
        let centre = grid.world(mask[(k * 7919 + 13) % mask.len()] as usize);
        let blob = |v: u32| {
            let square: f64 = grid.world(v as usize).iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum();
            8.0 * (-square / 300.0).exp() + 0.3 * noise(u64::from(v) * 1000 + k as u64)
        };
        mask.iter().map(|&v| blob(v)).collect()
    };
    GroupMaps::new(grid, mask.to_vec(), &(0..count).map(map).collect::<Vec<_>>()).unwrap()
}

/// A 16-bit scan as gzip: a baseline with two per cent of noise in the brain, nothing outside.
fn scan(grid: Grid, mask: &[u32], volumes: usize) -> Vec<u8> {
    let description = Description {
        grid,
        volumes: Some(volumes),
        storage: Storage::I16 { slope: 1.0 },
        tr_seconds: Some(2.0),
        space: 4,
        text: String::new(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, Some(1)).unwrap();
    let mut volume = vec![0f32; grid.len()];
    for t in 0..volumes {
        for &v in mask {
            volume[v as usize] = (9000.0 + 200.0 * noise(u64::from(v) * 4096 + t as u64)) as f32;
        }
        writer.write_volume(&volume).unwrap();
    }
    writer.finish().unwrap()
}

fn regressing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dual_regression");
    group.sample_size(10);
    for (name, grid, count) in
        [("2mm_200_volumes_100_maps", MNI_2MM, 100), ("4mm_200_volumes_20_maps", MNI_4MM, 20)]
    {
        let mask = brain(&grid);
        let (maps, bytes) = (maps(grid, &mask, count), scan(grid, &mask, 200));
        for threads in [1, 2] {
            let options = Options { threads, ..Options::default() };
            group.bench_function(format!("{name}/threads_{threads}"), |b| {
                b.iter(|| dual_regression(black_box(&BytesSource(&bytes)), &maps, &options).unwrap());
            });
        }
        group.bench_function(format!("{name}/inflating_alone"), |b| {
            b.iter(|| {
                let source = BytesSource(&bytes);
                VolumeStream::open(&source, &Limits::default()).unwrap().finish().unwrap()
            });
        });
    }
    group.finish();
}

fn projecting(criterion: &mut Criterion) {
    let mask = brain(&MNI_4MM);
    let map: Vec<f32> = mask.iter().map(|&v| noise(u64::from(v)) as f32).collect();
    criterion.bench_function("projections_4mm", |b| {
        b.iter(|| project(MNI_4MM.dims, black_box(&mask), &map, &ProjectionOptions::default()).unwrap());
    });
}

criterion_group!(benches, regressing, projecting);
criterion_main!(benches);
