//! DVARS of a scan against nipype's `ComputeDVARS`, and where whole series are known of some voxels only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::float_cmp)] // whole numbers

mod common;

use common::{Nifti, Random, gzip};
use nightread_fmri::motion::{Course, Dvars};
use nightread_fmri::regression::{Nuisance, Options};
use nightread_fmri::{GroupMaps, dual_regression_beside};
use nightread_volume::{Affine, BytesSource, Datatype, Grid};

const ROWS: [[f32; 4]; 3] = [[-4.0, 0.0, 0.0, 8.0], [0.0, 4.0, 0.0, -4.0], [0.0, 0.0, 4.0, 2.0]];
const VOLUMES: usize = 60;

/// DVARS of volumes that lie on a grid of this size, beside two group maps.
fn dvars(dims: [usize; 3], volumes: &[Vec<f64>], nuisance: &Nuisance) -> Dvars {
    let sizes = dims.iter().map(|&n| n as i64).chain([volumes.len() as i64]).collect();
    let nifti = Nifti { datatype: Datatype::F64, dims: sizes, sform: Some(ROWS), ..Nifti::default() };
    let bytes = gzip(&nifti.file(volumes.iter().flatten().copied()));
    let voxels = dims.iter().product::<usize>();
    let map = |n: usize| (0..voxels).map(|v| (0.37 * (n * v) as f64).sin() + 0.2).collect();
    let grid = Grid { dims, affine: Affine(ROWS.map(|row| row.map(f64::from))) };
    let maps = GroupMaps::new(grid, (0..voxels as u32).collect(), &[map(1), map(2)]).unwrap();
    dual_regression_beside(&BytesSource(&bytes), &maps, nuisance, &Options::default()).unwrap().dvars
}

/// The scan of `golden/dvars.py`.
fn golden_scan() -> Vec<Vec<f64>> {
    let value = |t: f64, v: f64| {
        let smooth = (1.0 + 0.03 * v) * (0.21 * t + 0.7 * v).sin() + 0.6 * (0.5 * t * (1.0 + 0.01 * v)).cos();
        let rough = (0.5 + 0.02 * v) * (1.3 * t * t + 2.9 * v + 0.17 * t * v).sin();
        let jump = if t == 33.0 { 7.0 * (0.4 * v).cos() } else { 0.0 };
        let changes = if v == 17.0 || v == 40.0 { 0.0 } else { smooth + rough + jump };
        900.0 + 40.0 * v.sin() + changes
    };
    (0..VOLUMES).map(|t| (0..90).map(|v| value(t as f64, f64::from(v))).collect()).collect()
}

#[test]
fn golden_numbers_of_nipype() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/dvars.json")).unwrap();
    let found = dvars([9, 5, 2], &golden_scan(), &Nuisance::default());
    for (name, course) in [("raw", found.raw), ("standardised", found.standardised)] {
        let wanted: Vec<f64> = serde_json::from_value(golden[name].clone()).unwrap();
        let course = course.unwrap();
        assert_eq!((course.len(), wanted.len(), course[0]), (VOLUMES, VOLUMES - 1, None));
        for (volume, (is, was)) in course[1..].iter().zip(&wanted).enumerate() {
            // nipype reckons with single precision.
            let is = is.unwrap();
            assert!((is / was - 1.0).abs() < 1e-4, "{name} of volume {}: {is}, {was} by nipype", volume + 1);
        }
        let most = (1..VOLUMES).max_by(|&a, &b| course[a].unwrap().total_cmp(&course[b].unwrap())).unwrap();
        assert!([33, 34].contains(&most), "the jump is at 33: {most}");
    }
}

#[test]
fn volumes_left_out_have_no_value_and_end_what_is_known_of_the_next() {
    let scan = golden_scan();
    let left_out = (0..VOLUMES).map(|t| t < 2 || t == 33).collect();
    let without = dvars([9, 5, 2], &scan, &Nuisance { left_out, ..Nuisance::default() }).raw.unwrap();
    let none: Vec<usize> = (0..VOLUMES).filter(|&t| without[t].is_none()).collect();
    assert_eq!(none, [0, 1, 2, 33, 34]);
    let whole = dvars([9, 5, 2], &scan, &Nuisance::default()).raw.unwrap();
    // The same changes; only the median is of other volumes.
    let ratio = without[10].unwrap() / whole[10].unwrap();
    assert!((ratio - 1.0).abs() < 1e-2, "{ratio}");
    for t in (0..VOLUMES).filter(|t| !none.contains(t)) {
        assert!((without[t].unwrap() / whole[t].unwrap() - ratio).abs() < 1e-9, "volume {t}");
    }
}

/// Independent noise has changes of sqrt(2) times its deviation: standardised DVARS is 1, though of 12,000 voxels only some are known whole.
#[test]
fn of_noise_standardised_dvars_is_one_and_a_scan_without_its_mean_has_no_other() {
    let dims = [30, 20, 20];
    let mut random = Random(5);
    // Voxels differ: standard deviations from 1 to 3.
    let mut noise = |base: f64| -> Vec<Vec<f64>> {
        let voxel =
            |random: &mut Random, v: usize| base + (1.0 + 2.0 * (v % 7) as f64 / 6.0) * random.normal();
        (0..VOLUMES).map(|_| (0..12_000).map(|v| voxel(&mut random, v)).collect()).collect()
    };
    let mean = |course: Option<Course>| {
        let values: Vec<f64> = course.unwrap().into_iter().flatten().collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let found = dvars(dims, &noise(500.0), &Nuisance::default());
    let (square, plain) =
        (0..7).map(|n| 1.0 + f64::from(n) / 3.0).fold((0.0, 0.0), |(q, p), s| (q + s * s / 7.0, p + s / 7.0));
    // The root mean square of the deviations over their mean, as nipype has it.
    let wanted = square.sqrt() / plain;
    let is = mean(found.standardised);
    assert!((is / wanted - 1.0).abs() < 0.05, "{is}, not {wanted}");
    let raw = mean(found.raw);
    assert!((raw / (2.0 * (2.0 * square).sqrt()) - 1.0).abs() < 0.01, "{raw}");
    let centred = dvars(dims, &noise(0.0), &Nuisance::default());
    assert_eq!(centred.raw, None);
    assert!((mean(centred.standardised) / wanted - 1.0).abs() < 0.05);
}
