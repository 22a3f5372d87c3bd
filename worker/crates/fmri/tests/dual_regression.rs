//! Dual regression against golden numbers, a plain dense computation, and its own symmetries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

mod common;

use common::dense::{Dense, dense};
use common::{Nifti, Random, gzip};
use nightread_domain::ErrorCode;
use nightread_fmri::regression::Options;
use nightread_fmri::{DualRegression, Flag, GroupMaps, dual_regression};
use nightread_volume::{Affine, BytesSource, Datatype, Grid};
use proptest::prelude::*;

const DIMS: [usize; 3] = [5, 3, 2];
const ROWS: [[f32; 4]; 3] = [[-4.0, 0.0, 0.0, 8.0], [0.0, 4.0, 0.0, -4.0], [0.0, 0.0, 4.0, 2.0]];

fn grid(dims: [usize; 3]) -> Grid {
    Grid { dims, affine: Affine(ROWS.map(|row| row.map(f64::from))) }
}

/// A scan of double precision whose volumes are the rows of `y`.
fn scan(dims: [usize; 3], y: &[Vec<f64>]) -> Vec<u8> {
    let sizes = dims.iter().map(|&n| n as i64).chain([y.len() as i64]).collect();
    let nifti = Nifti { datatype: Datatype::F64, dims: sizes, sform: Some(ROWS), ..Nifti::default() };
    nifti.file(y.iter().flatten().copied())
}

fn run(
    y: &[Vec<f64>],
    maps: &GroupMaps,
    options: &Options,
) -> Result<DualRegression, nightread_domain::JobError> {
    let bytes = gzip(&scan(maps.grid().dims, y));
    dual_regression(&BytesSource(&bytes), maps, options)
}

fn with_z() -> Options {
    Options { z_maps: true, ..Options::default() }
}

/// The formulas of the golden numbers: T = 12, V = 30, K = 3, voxel 5 constant.
fn golden_problem() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let f = |n: usize| n as f64;
    let s: Vec<Vec<f64>> =
        (0..3).map(|k| (0..30).map(|v| (0.7 * f(k + 1) * f(v) + f(k)).sin()).collect()).collect();
    let y = (0..12)
        .map(|t| {
            (0..30)
                .map(|v| {
                    let mix: f64 =
                        (0..3).map(|k| ((0.3 * f(k + 1) * f(t)).cos() + 0.1 * f(k)) * s[k][v]).sum();
                    let noise = 0.2 * (1.7 * f(t) + 2.3 * f(v) + 0.11 * f(t) * f(v)).sin();
                    if v == 5 { 77.0 } else { 100.0 + 10.0 * mix + noise }
                })
                .collect()
        })
        .collect();
    (s, y)
}

#[test]
fn golden_numbers() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("golden/dual_regression.json")).unwrap();
    let (s, y) = golden_problem();
    let numbers = |key: &str| -> Vec<f64> {
        golden[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    // The golden script keeps the constant voxel in stage 1, so that its whole mask is regressed on here too: a
    // hair of variation keeps the voxel in without moving the sixth digit.
    let mut kept = y.clone();
    for (t, row) in kept.iter_mut().enumerate() {
        row[5] += 1e-9 * (t as f64).sin();
    }
    let maps = GroupMaps::new(grid(DIMS), (0..30).collect(), &s).unwrap();
    for threads in [1, 2, 3] {
        let out = run(&kept, &maps, &Options { threads, ..with_z() }).unwrap();
        let close =
            |got: f64, want: f64| assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-3), "{got} {want}");
        for (row, key) in [(0, "TC_row0"), (7, "TC_row7")] {
            for (k, want) in numbers(key).into_iter().enumerate() {
                close(out.time_courses[3 * row + k], want);
            }
        }
        for (v, key) in [(0, "B_col0"), (17, "B_col17")] {
            for (k, want) in numbers(key).into_iter().enumerate() {
                close(f64::from(out.maps.betas[k][v]), want);
            }
        }
        for (k, want) in numbers("Z_col0").into_iter().enumerate() {
            close(f64::from(out.maps.z.as_ref().unwrap()[k][0]), want);
        }
        let sum: f64 = out.maps.betas.iter().flatten().map(|x| f64::from(x.abs())).sum();
        close(sum, golden["B_sumabs"].as_f64().unwrap());
        assert_eq!(out.facts.dof, 9);
    }
    // The constant voxel itself: no part in the regression, zero in its maps, counted.
    let out = run(&y, &maps, &with_z()).unwrap();
    assert_eq!((out.facts.voxels_constant, out.facts.voxels_used), (1, 29));
    for k in 0..3 {
        assert!(out.maps.betas[k][5] == 0.0 && out.maps.z.as_ref().unwrap()[k][5] == 0.0);
    }
}

/// Students's t from the coefficients by the textbook's formula, one voxel after the other.
#[test]
fn t_maps_are_coefficients_by_their_standard_errors() {
    let (s, y) = golden_problem();
    let maps = GroupMaps::new(grid(DIMS), (0..30).collect(), &s).unwrap();
    let options = Options { t_maps: true, ..with_z() };
    let out = run(&y, &maps, &options).unwrap();
    let (t, z) = (out.maps.t.as_ref().unwrap(), out.maps.z.as_ref().unwrap());
    let (rows, count) = (y.len(), s.len());
    let course = |k: usize| {
        let values: Vec<f64> = (0..rows).map(|n| out.time_courses[n * count + k]).collect();
        let mean = values.iter().sum::<f64>() / rows as f64;
        let centred: Vec<f64> = values.iter().map(|x| x - mean).collect();
        let sd = (centred.iter().map(|x| x * x).sum::<f64>() / (rows - 1) as f64).sqrt();
        centred.iter().map(|x| x / sd).collect::<Vec<f64>>()
    };
    let design: Vec<Vec<f64>> = (0..count).map(course).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    // The diagonal of the inverse of a 3 x 3 Gram matrix by cofactors.
    let g = |i: usize, j: usize| dot(&design[i], &design[j]);
    let minor = |i: usize| {
        let (a, b) = ((i + 1) % 3, (i + 2) % 3);
        g(a, a) * g(b, b) - g(a, b) * g(b, a)
    };
    let determinant = g(0, 0) * minor(0) - g(0, 1) * (g(1, 0) * g(2, 2) - g(1, 2) * g(2, 0))
        + g(0, 2) * (g(1, 0) * g(2, 1) - g(1, 1) * g(2, 0));
    for v in (0..30).filter(|&v| v != 5) {
        let mean = y.iter().map(|row| row[v]).sum::<f64>() / rows as f64;
        let residuals = (0..rows).map(|n| {
            let fitted: f64 = (0..count).map(|k| design[k][n] * f64::from(out.maps.betas[k][v])).sum();
            y[n][v] - mean - fitted
        });
        let variance = residuals.map(|x| x * x).sum::<f64>() / out.facts.dof as f64;
        for k in 0..count {
            let wanted = f64::from(out.maps.betas[k][v]) / (variance * minor(k) / determinant).sqrt();
            let found = f64::from(t[k][v]);
            assert!(
                (found - wanted).abs() <= 1e-3 * wanted.abs().max(0.1),
                "{k} {v}: {found} is not {wanted}"
            );
            assert!(z[k][v].abs() <= t[k][v].abs() && z[k][v] * t[k][v] >= 0.0);
        }
    }
    assert!((0..count).all(|k| t[k][5] == 0.0), "a constant voxel has no t");
    assert!(run(&y, &maps, &with_z()).unwrap().maps.t.is_none(), "kept only where it is asked for");
}

/// A random problem: smooth-ish maps, courses with drift, noise, a large baseline.
fn problem(random: &mut Random, k: usize, v: usize, t: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let s: Vec<Vec<f64>> = (0..k).map(|_| (0..v).map(|_| random.normal() + 0.3).collect()).collect();
    let base: Vec<f64> = (0..v).map(|_| 800.0 + 300.0 * random.unit()).collect();
    let y = (0..t)
        .map(|n| {
            let course: Vec<f64> = (0..k).map(|_| 4.0 * random.normal() + 0.1 * n as f64).collect();
            (0..v)
                .map(|v| {
                    let mix: f64 = course.iter().zip(&s).map(|(c, s)| c * s[v]).sum();
                    base[v] + mix + 3.0 * random.normal()
                })
                .collect()
        })
        .collect();
    (s, y)
}

fn agrees(out: &DualRegression, want: &Dense, used: &[usize], tolerance: f64) {
    let z = out.maps.z.as_ref().unwrap();
    for (k, (beta, t)) in want.betas.iter().zip(&want.t).enumerate() {
        let scale = beta.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        for (n, &v) in used.iter().enumerate() {
            assert!((f64::from(out.maps.betas[k][v]) - beta[n]).abs() <= tolerance * scale);
            // z and t have one sign, and |z| is less.
            let (z, t) = (f64::from(z[k][v]), t[n]);
            assert!(z * t >= 0.0 && z.abs() <= t.abs() * 1.000_001, "{z} {t}");
        }
    }
    for (got, want) in out.time_courses.iter().zip(&want.courses) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got} {want}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Constant voxels, NaN voxels and everything outside of the mask have no say, whatever the thread count.
    #[test]
    fn equals_the_dense_computation_without_the_bad_voxels(
        seed: u64, k in 1usize..6, constant in 0usize..9, nan in 0usize..5, des_norm: bool, threads in 1usize..4,
    ) {
        let dims = [9, 8, 5];
        let mut random = Random(seed);
        let (s, mut y) = problem(&mut random, k, 360, 40);
        let mut bad = std::collections::BTreeSet::new();
        for _ in 0..constant {
            let v = random.below(360);
            let value = random.normal() * 1e3;
            for row in &mut y {
                row[v] = value;
            }
            bad.insert(v);
        }
        for _ in 0..nan {
            let v = random.below(360);
            y[random.below(40)][v] = if random.below(2) == 0 { f64::NAN } else { f64::INFINITY };
            bad.insert(v);
        }
        let mask: Vec<u32> = (0..360).filter(|v| v % 7 != 3).collect();
        let pick = |row: &Vec<f64>, voxels: &[usize]| -> Vec<f64> { voxels.iter().map(|&v| row[v]).collect() };
        let all: Vec<usize> = mask.iter().map(|&v| v as usize).collect();
        let maps = GroupMaps::new(grid(dims), mask, &s.iter().map(|r| pick(r, &all)).collect::<Vec<_>>()).unwrap();
        let out = run(&y, &maps, &Options { des_norm, threads, ..with_z() }).unwrap();

        let good: Vec<usize> = all.iter().copied().filter(|v| !bad.contains(v)).collect();
        let places: Vec<usize> = (0..all.len()).filter(|&n| !bad.contains(&all[n])).collect();
        let rows = |m: &[Vec<f64>]| m.iter().map(|r| pick(r, &good)).collect::<Vec<_>>();
        agrees(&out, &dense(&rows(&y), &rows(&s), des_norm), &places, 1e-6);
        prop_assert_eq!(out.facts.voxels_used, good.len());
        prop_assert_eq!(out.facts.voxels_constant + out.facts.voxels_non_finite, all.len() - good.len());
        for n in 0..all.len() {
            if bad.contains(&all[n]) {
                prop_assert!(out.maps.betas.iter().all(|row| row[n] == 0.0));
            }
        }
    }

    /// Maps and volumes may come in any order; a scan's unit and baseline do not matter to z.
    #[test]
    fn order_unit_and_baseline(seed: u64, scale in 0.01f64..100.0) {
        let dims = [6, 5, 4];
        let mut random = Random(seed);
        let (s, y) = problem(&mut random, 4, 120, 30);
        let maps = |s: &[Vec<f64>]| GroupMaps::new(grid(dims), (0..120).collect(), s).unwrap();
        let plain = run(&y, &maps(&s), &with_z()).unwrap();
        let close = |a: f32, b: f32, tolerance: f32| (a - b).abs() <= tolerance * (1.0 + b.abs());

        let mut order: Vec<usize> = (0..4).collect();
        let mut times: Vec<usize> = (0..30).collect();
        for i in (1..30).rev() {
            times.swap(i, random.below(i + 1));
            if i < 4 {
                order.swap(i, random.below(i + 1));
            }
        }
        let base: Vec<f64> = (0..120).map(|_| 1e3 * random.normal()).collect();
        let changed: Vec<Vec<f64>> =
            times.iter().map(|&t| y[t].iter().zip(&base).map(|(x, b)| scale * (x + b)).collect()).collect();
        let shuffled: Vec<Vec<f64>> = order.iter().map(|&k| s[k].clone()).collect();
        let other = run(&changed, &maps(&shuffled), &with_z()).unwrap();
        for (place, &k) in order.iter().enumerate() {
            for v in 0..120 {
                prop_assert!(close(other.maps.betas[place][v], (scale as f32) * plain.maps.betas[k][v], 1e-4));
                prop_assert!(close(other.maps.z.as_ref().unwrap()[place][v], plain.maps.z.as_ref().unwrap()[k][v], 1e-4));
            }
            prop_assert_eq!(other.peaks[place].unwrap().peak_mni_mm, plain.peaks[k].unwrap().peak_mni_mm);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (s, y) = problem(&mut Random(7), 5, 9000, 60);
    let maps = GroupMaps::new(grid([30, 30, 10]), (0..9000).collect(), &s).unwrap();
    let one = run(&y, &maps, &Options { threads: 1, ..with_z() }).unwrap();
    let three = run(&y, &maps, &Options { threads: 3, ..with_z() }).unwrap();
    assert_eq!(one.maps.betas, three.maps.betas);
    assert_eq!(one.maps.z, three.maps.z);
    assert_eq!(one.peaks, three.peaks);
    assert_eq!(one.time_courses, three.time_courses);
}

#[test]
fn maps_that_cannot_be_solved_for_are_left_out_and_said() {
    let (mut s, y) = problem(&mut Random(3), 4, 120, 30);
    s.insert(2, vec![5.0; 120]);
    s.push((0..120).map(|v| 2.0 * s[0][v] - s[3][v] + 1.0).collect());
    let maps = GroupMaps::new(grid([6, 5, 4]), (0..120).collect(), &s).unwrap();
    let out = run(&y, &maps, &with_z()).unwrap();
    assert_eq!(out.flags, [None, None, Some(Flag::EmptyMap), None, None, Some(Flag::CollinearMap)]);
    assert_eq!(out.facts.dof, 26);
    assert!(out.maps.betas[2].iter().chain(&out.maps.betas[5]).all(|&x| x == 0.0));
    assert!(out.peaks[5].is_none() && out.warnings.iter().any(|w| w.code == "components_left_out"));
    // What is left is the regression on the other four.
    let rest: Vec<Vec<f64>> = [0, 1, 3, 4].iter().map(|&k| s[k].clone()).collect();
    let want = dense(&y, &rest, true);
    for (n, &k) in [0usize, 1, 3, 4].iter().enumerate() {
        for v in 0..120 {
            assert!((f64::from(out.maps.betas[k][v]) - want.betas[n][v]).abs() < 1e-4);
        }
    }
    let flat = GroupMaps::new(grid([6, 5, 4]), (0..120).collect(), &[vec![1.0; 120]]).unwrap();
    assert_eq!(run(&y, &flat, &with_z()).unwrap_err().code, ErrorCode::NoUsableComponents);
}

#[test]
fn a_time_course_that_does_not_vary_is_flagged() {
    let (s, mut y) = problem(&mut Random(5), 2, 120, 30);
    // Remove from every volume what the centred second map explains beside the first.
    let centred: Vec<Vec<f64>> = s
        .iter()
        .map(|row| {
            let mean = row.iter().sum::<f64>() / 120.0;
            row.iter().map(|x| x - mean).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let share = dot(&centred[0], &centred[1]) / dot(&centred[0], &centred[0]);
    let own: Vec<f64> = centred[1].iter().zip(&centred[0]).map(|(b, a)| b - share * a).collect();
    for row in &mut y {
        let amount = dot(row, &own) / dot(&own, &own);
        row.iter_mut().zip(&own).for_each(|(x, o)| *x -= amount * o);
    }
    let maps = GroupMaps::new(grid([6, 5, 4]), (0..120).collect(), &s).unwrap();
    let out = run(&y, &maps, &with_z()).unwrap();
    assert_eq!(out.flags, [None, Some(Flag::ConstantTimeCourse)]);
    assert!(out.maps.betas[1].iter().all(|&x| x == 0.0));
    assert!(out.maps.betas[0].iter().all(|x| x.is_finite()));
}

#[test]
fn scans_that_cannot_be_read_so_are_refused() {
    let (s, y) = problem(&mut Random(11), 4, 120, 30);
    let maps = GroupMaps::new(grid([6, 5, 4]), (0..120).collect(), &s).unwrap();
    let code = |y: &[Vec<f64>]| run(y, &maps, &with_z()).unwrap_err().code;
    assert_eq!(code(&y[..5]), ErrorCode::TooFewVolumes);
    assert!(run(&y[..6], &maps, &with_z()).is_ok());
    assert_eq!(code(&y[..1]), ErrorCode::TooFewVolumes);
    assert_eq!(code(&vec![vec![0.0; 120]; 30]), ErrorCode::MaskEmpty);

    let flat = Nifti { datatype: Datatype::F64, dims: vec![6, 5, 4], sform: Some(ROWS), ..Nifti::default() };
    let bytes = flat.file(y[0].iter().copied());
    let error = dual_regression(&BytesSource(&bytes), &maps, &with_z()).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFourDimensional);

    let whole = gzip(&scan([6, 5, 4], &y));
    for (bytes, want) in
        [(&whole[..whole.len() - 4], ErrorCode::Truncated), (&whole[..900], ErrorCode::Truncated)]
    {
        let error = dual_regression(&BytesSource(bytes), &maps, &with_z()).unwrap_err();
        assert_eq!(error.code, want);
    }
}

#[test]
fn other_grids_are_resampled_only_when_allowed() {
    let (s, y) = problem(&mut Random(13), 2, 360, 30);
    let maps = GroupMaps::new(grid([9, 8, 5]), (0..360).collect(), &s).unwrap();
    let allowed = Options { resample: true, ..with_z() };
    let file = |sform: Option<[[f32; 4]; 3]>, dims: Vec<i64>, y: &[Vec<f64>]| {
        let pixdim = [1.0, 4.0, 4.0, 4.0];
        Nifti { datatype: Datatype::F64, dims, sform, pixdim, ..Nifti::default() }
            .file(y.iter().flatten().copied())
    };
    let dims = vec![9, 8, 5, 30];
    let go = |bytes: &[u8], options: &Options| dual_regression(&BytesSource(bytes), &maps, options);
    let plain = go(&file(Some(ROWS), dims.clone(), &y), &with_z()).unwrap();
    assert_eq!(plain.facts.grid, "same");

    // The same voxels stored from the other side: exact, and always allowed.
    let mirrored: Vec<Vec<f64>> =
        y.iter().map(|row| row.chunks(9).flat_map(|line| line.iter().rev().copied()).collect()).collect();
    let rows = [[4.0, 0.0, 0.0, 8.0 - 32.0], ROWS[1], ROWS[2]];
    let out = go(&file(Some(rows), dims.clone(), &mirrored), &with_z()).unwrap();
    assert_eq!(out.facts.grid, "reordered");
    assert_eq!(out.maps.betas, plain.maps.betas);

    // A grid half a voxel away.
    let shifted = file(Some([[-4.0, 0.0, 0.0, 10.0], ROWS[1], ROWS[2]]), dims.clone(), &y);
    let error = go(&shifted, &with_z()).unwrap_err();
    assert_eq!(error.code, ErrorCode::GridMismatch);
    assert!(error.message.contains("9x8x5") && error.message.contains("resampling is off"), "{error}");
    let out = go(&shifted, &allowed).unwrap();
    assert_eq!((out.facts.grid, out.facts.voxels_outside), ("resampled", 0));

    // A field of view that misses a slab, and one that misses the head.
    let slab = file(Some([[-4.0, 0.0, 0.0, 0.0], ROWS[1], ROWS[2]]), dims.clone(), &y);
    let out = go(&slab, &allowed).unwrap();
    assert_eq!(out.facts.voxels_outside, 80);
    assert!(out.warnings.iter().any(|w| w.code == "partial_coverage"));
    let away = file(Some([[-4.0, 0.0, 0.0, 500.0], ROWS[1], ROWS[2]]), dims.clone(), &y);
    assert_eq!(go(&away, &allowed).unwrap_err().code, ErrorCode::GridMismatch);

    // No orientation at all: taken as the maps' grid when sizes agree, refused otherwise.
    let unplaced = go(&file(None, dims, &y), &with_z()).unwrap();
    assert_eq!(unplaced.maps.betas, plain.maps.betas);
    assert!(unplaced.warnings.iter().any(|w| w.code == "no_orientation"));
    let turned = file(None, vec![8, 9, 5, 30], &y);
    assert_eq!(go(&turned, &allowed).unwrap_err().code, ErrorCode::GridMismatch);
}
