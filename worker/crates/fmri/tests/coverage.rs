//! Voxels without signal: one rule over all reasons, and what a component misses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

mod common;

use common::{Nifti, Random, gzip};
use nightread_domain::{ErrorCode, JobError};
use nightread_fmri::regression::Options;
use nightread_fmri::{DualRegression, Flag, GroupMaps, dual_regression};
use nightread_volume::{Affine, BytesSource, Datatype, Grid};
use proptest::prelude::*;

const DIMS: [usize; 3] = [10, 8, 5];
const ALL: usize = 400;
const ROWS: [[f32; 4]; 3] = [[-4.0, 0.0, 0.0, 8.0], [0.0, 4.0, 0.0, -4.0], [0.0, 0.0, 4.0, 2.0]];
const VOLUMES: usize = 40;

fn grid() -> Grid {
    Grid { dims: DIMS, affine: Affine(ROWS.map(|row| row.map(f64::from))) }
}

/// Three maps over the whole box; the third lives in the first 40 voxels alone.
fn maps() -> Vec<Vec<f64>> {
    let mut random = Random(1);
    let mut maps: Vec<Vec<f64>> = (0..2).map(|_| (0..ALL).map(|_| random.normal()).collect()).collect();
    maps.push((0..ALL).map(|v| if v < 40 { 1.0 + random.unit() } else { 0.0 }).collect());
    maps
}

fn values(seed: u64) -> Vec<Vec<f64>> {
    let mut random = Random(seed);
    (0..VOLUMES).map(|_| (0..ALL).map(|_| 900.0 + 5.0 * random.normal()).collect()).collect()
}

fn run(values: &[Vec<f64>], maps: &GroupMaps) -> Result<DualRegression, JobError> {
    let dims = DIMS.iter().map(|&n| n as i64).chain([VOLUMES as i64]).collect();
    let nifti = Nifti { datatype: Datatype::F64, dims, sform: Some(ROWS), ..Nifti::default() };
    let bytes = gzip(&nifti.file(values.iter().flatten().copied()));
    dual_regression(&BytesSource(&bytes), maps, &Options { z_maps: true, ..Options::default() })
}

/// Leaves voxels without signal: constant, not finite in one volume, or not finite throughout.
fn spoil(values: &mut [Vec<f64>], voxels: impl Iterator<Item = usize>) {
    let volumes = values.len();
    for v in voxels {
        match v % 3 {
            0 => values.iter_mut().for_each(|row| row[v] = 0.0),
            1 => values[v % volumes][v] = f64::NAN,
            _ => values.iter_mut().for_each(|row| row[v] = f64::INFINITY),
        }
    }
}

/// As the model brings them: maps in a file, without a mask of the brain.
fn without_mask(maps: &[Vec<f64>]) -> GroupMaps {
    let dims = DIMS.iter().map(|&n| n as i64).chain([maps.len() as i64]).collect();
    let nifti = Nifti { datatype: Datatype::F64, dims, sform: Some(ROWS), ..Nifti::default() };
    let bytes = nifti.file(maps.iter().flatten().copied());
    GroupMaps::read(&BytesSource(&bytes), None, &Options::default().limits).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Reasons add up: silence below 5 %, a warning up to 25 %, refusal from there on. Without a brain mask no refusal.
    #[test]
    fn one_rule_over_all_reasons(seed: u64, gone in 0usize..360) {
        let mut values = values(seed);
        spoil(&mut values, 40..40 + gone);
        let group = GroupMaps::new(grid(), (0..ALL as u32).collect(), &maps()).unwrap();
        let warns = |out: &DualRegression| out.warnings.iter().any(|w| w.code == "partial_coverage");
        match run(&values, &group) {
            Ok(out) => {
                prop_assert!(gone < 100);
                prop_assert_eq!(warns(&out), gone >= 20);
                prop_assert_eq!(out.facts.voxels_constant + out.facts.voxels_non_finite, gone);
            }
            Err(error) => {
                prop_assert!(gone >= 100);
                let bad = (40..40 + gone).filter(|v| v % 3 != 0).count();
                let reason = if bad >= 100 { ErrorCode::NonFiniteVoxels } else { ErrorCode::LowCoverage };
                prop_assert_eq!(error.code, reason);
                prop_assert!(error.message.contains("of 400 voxels of the brain mask"), "{}", error);
            }
        }
        if gone < 340 {
            let out = run(&values, &without_mask(&maps())).unwrap();
            prop_assert_eq!(warns(&out), gone >= 20);
        }
    }

    /// A component keeps its z below a quarter of its squared weights, and loses it from there on; others keep theirs.
    #[test]
    fn a_component_that_the_scan_misses_has_no_z(seed: u64, gone in 0usize..40) {
        let mut values = values(seed);
        spoil(&mut values, 0..gone);
        let maps = maps();
        let group = GroupMaps::new(grid(), (0..ALL as u32).collect(), &maps).unwrap();
        let out = run(&values, &group).unwrap();
        let square = |range: std::ops::Range<usize>| maps[2][range].iter().map(|x| x * x).sum::<f64>();
        let missed = square(0..gone) / square(0..40);
        let flag = out.flags[2];
        prop_assert_eq!(flag.is_some(), missed >= 0.25, "{:?} {}", flag, missed);
        prop_assert!(out.flags[..2].iter().all(Option::is_none));
        let z = &out.maps.z.as_ref().unwrap()[2];
        prop_assert_eq!(z.iter().all(|&z| z == 0.0), flag.is_some());
        if gone < 39 {
            prop_assert!(flag.is_none_or(|flag| flag == Flag::LowCoverage));
            prop_assert_eq!(out.peaks[2].unwrap().peak_z.is_none(), flag.is_some());
            prop_assert_eq!(
                out.warnings.iter().any(|w| w.code == "components_not_covered"), flag.is_some());
        }
    }
}

#[test]
fn a_field_of_view_that_misses_a_quarter_is_refused_before_it_is_read() {
    let group = GroupMaps::new(grid(), (0..ALL as u32).collect(), &maps()).unwrap();
    let dims = DIMS.iter().map(|&n| n as i64).chain([VOLUMES as i64]).collect();
    let away = [[-4.0, 0.0, 0.0, 8.0 - 12.0], ROWS[1], ROWS[2]];
    let nifti = Nifti { datatype: Datatype::F64, dims, sform: Some(away), ..Nifti::default() };
    // Header only: what cannot be used is not asked for.
    let bytes = nifti.file([]);
    let options = Options { resample: true, ..Options::default() };
    let error = dual_regression(&BytesSource(&bytes), &group, &options).unwrap_err();
    assert_eq!(error.code, ErrorCode::LowCoverage);
    assert!(error.message.contains("120 lie outside"), "{error}");
}
