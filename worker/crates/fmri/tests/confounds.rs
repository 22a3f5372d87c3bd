//! Confounds and volumes left out, against nilearn's `clean` with NumPy, and against a plain dense computation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::dense::dense;
use common::{Nifti, Random, gzip};
use nightread_domain::ErrorCode;
use nightread_fmri::regression::{Nuisance, Options};
use nightread_fmri::{DualRegression, GroupMaps, dual_regression, dual_regression_beside};
use nightread_volume::{Affine, BytesSource, Datatype, Grid};
use proptest::prelude::*;

const ROWS: [[f32; 4]; 3] = [[-4.0, 0.0, 0.0, 8.0], [0.0, 4.0, 0.0, -4.0], [0.0, 0.0, 4.0, 2.0]];

fn file(dims: [usize; 3], y: &[Vec<f64>]) -> Vec<u8> {
    let sizes = dims.iter().map(|&n| n as i64).chain([y.len() as i64]).collect();
    let nifti = Nifti { datatype: Datatype::F64, dims: sizes, sform: Some(ROWS), ..Nifti::default() };
    gzip(&nifti.file(y.iter().flatten().copied()))
}

fn maps(dims: [usize; 3], s: &[Vec<f64>]) -> GroupMaps {
    let grid = Grid { dims, affine: Affine(ROWS.map(|row| row.map(f64::from))) };
    GroupMaps::new(grid, (0..dims.iter().product::<usize>() as u32).collect(), s).unwrap()
}

fn run(y: &[Vec<f64>], maps: &GroupMaps, nuisance: &Nuisance, threads: usize) -> DualRegression {
    let bytes = file(maps.grid().dims, y);
    let options = Options { z_maps: true, threads, ..Options::default() };
    dual_regression_beside(&BytesSource(&bytes), maps, nuisance, &options).unwrap()
}

/// The problem of `golden/confounds.py`.
fn golden_problem() -> (Vec<Vec<f64>>, Vec<Vec<f64>>, Nuisance) {
    let f = |n: usize| n as f64;
    let s: Vec<Vec<f64>> =
        (0..3).map(|n| (0..90).map(|v| (0.37 * f(n + 1) * f(v) + f(n)).sin() + 0.2).collect()).collect();
    let mut columns: Vec<Vec<f64>> = vec![
        (0..48).map(|t| (0.9 * f(t)).sin()).collect(),
        (0..48).map(|t| 0.01 * f(t) + 3.0).collect(),
        (0..48).map(|t| (1.7 * f(t) + 1.0).cos()).collect(),
        (0..48).map(|t| (2.3 * f(t).powf(1.5)).sin()).collect(),
    ];
    let y = (0..48)
        .map(|t| {
            (0..90)
                .map(|v| {
                    let course = |n: usize| (0.31 * f(n + 1) * f(t) + 0.4 * f(n)).cos();
                    let networks: f64 = (0..3).map(|n| course(n) * s[n][v]).sum();
                    let moved: f64 = (0..4).map(|n| columns[n][t] * (0.23 * f(n + 2) * f(v)).cos()).sum();
                    let noise = 0.5 * (1.3 * f(t) + 2.9 * f(v) + 0.17 * f(t) * f(v)).sin()
                        + 0.3 * (0.7 * f(t) * f(t) + 1.9 * f(v)).cos();
                    900.0 + 3.0 * f(v).sin() + 4.0 * networks + 6.0 * moved + noise
                })
                .collect()
        })
        .collect();
    columns.push((0..48).map(|t| 2.0 * columns[0][t] - columns[1][t] + 7.0).collect());
    let moved = |t: usize| 0.3 + 0.25 * (1.1 * f(t)).sin() > 0.5;
    (s, y, Nuisance { left_out: (0..48).map(|t| t < 3 || moved(t)).collect(), columns })
}

#[test]
fn golden_numbers_of_nilearn_and_numpy() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/confounds.json")).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
    let (s, y, nuisance) = golden_problem();
    let kept: Vec<usize> = (0..48).filter(|&t| !nuisance.left_out[t]).collect();
    assert_eq!(numbers(&golden["kept"]), kept.iter().map(|&t| t as f64).collect::<Vec<_>>());
    let maps = maps([9, 5, 2], &s);
    for threads in [1, 2] {
        let out = run(&y, &maps, &nuisance, threads);
        let close = |got: f64, want: f64, scale: f64| {
            assert!((got - want).abs() <= 1e-6 * scale, "{got} is not {want}");
        };
        let courses = golden["courses"].as_array().unwrap();
        assert_eq!(out.time_courses.len(), 3 * courses.len());
        for (row, want) in out.time_courses.chunks(3).zip(courses) {
            row.iter().zip(numbers(want)).for_each(|(&got, want)| close(got, want, want.abs().max(1.0)));
        }
        let sums = numbers(&golden["betas_sum_of_magnitudes"]);
        for (k, want) in golden["betas_first_voxels"].as_array().unwrap().iter().enumerate() {
            let betas = &out.maps.betas[k];
            let most = betas.iter().fold(0.0f32, |most, b| most.max(b.abs()));
            for (&got, want) in betas.iter().zip(numbers(want)) {
                close(f64::from(got), want, f64::from(most));
            }
            close(betas.iter().map(|&b| f64::from(b.abs())).sum(), sums[k], sums[k]);
        }
        // One of the five confounds is a combination of two others and the mean.
        assert_eq!((out.facts.confounds_rank, out.facts.volumes_used), (4, kept.len()));
        assert_eq!(out.facts.dof, kept.len() - 3 - 4);
    }
}

/// What is left of a column beside others and a constant, by plain least squares (Gram-Schmidt, twice).
fn cleaned(y: &[Vec<f64>], columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for column in columns {
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        let mut rest: Vec<f64> = column.iter().map(|x| x - mean).collect();
        for _ in 0..2 {
            for b in &basis {
                let share: f64 = rest.iter().zip(b).map(|(x, b)| x * b).sum();
                rest.iter_mut().zip(b).for_each(|(x, b)| *x -= share * b);
            }
        }
        let length = rest.iter().map(|x| x * x).sum::<f64>().sqrt();
        basis.push(rest.iter().map(|x| x / length).collect());
    }
    let mut out = y.to_vec();
    for v in 0..y[0].len() {
        for b in &basis {
            let share: f64 = out.iter().zip(b).map(|(row, b)| row[v] * b).sum();
            out.iter_mut().zip(b).for_each(|(row, b)| row[v] -= share * b);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One pass gives what cleaning first gives, with constant and bad voxels, dropped volumes and any thread count.
    #[test]
    fn equals_cleaning_first(seed: u64, k in 1usize..5, c in 0usize..7, drop in 0usize..4, threads in 1usize..4) {
        let (dims, volumes, voxels) = ([8, 6, 5], 50, 240);
        let mut random = Random(seed);
        let s: Vec<Vec<f64>> = (0..k).map(|_| (0..voxels).map(|_| random.normal()).collect()).collect();
        let columns: Vec<Vec<f64>> =
            (0..c).map(|_| (0..volumes).map(|_| 5.0 + 1e3 * random.normal()).collect()).collect();
        let left_out: Vec<bool> = (0..volumes).map(|t| t < drop || random.below(6) == 0).collect();
        let y: Vec<Vec<f64>> = (0..volumes)
            .map(|t| {
                let course: Vec<f64> = (0..k).map(|_| 3.0 * random.normal()).collect();
                (0..voxels)
                    .map(|v| {
                        let networks: f64 = course.iter().zip(&s).map(|(a, s)| a * s[v]).sum();
                        let confounded: f64 =
                            columns.iter().enumerate().map(|(n, x)| 1e-2 * x[t] * ((n + v) as f64).sin()).sum();
                        700.0 + networks + confounded + 2.0 * random.normal()
                    })
                    .collect()
            })
            .collect();
        // A volume that is left out may hold anything.
        let mut spoilt = y.clone();
        for (row, _) in spoilt.iter_mut().zip(&left_out).filter(|(_, out)| **out) {
            row.fill(f64::NAN);
        }
        for row in &mut spoilt {
            row[7] = 3.0;
        }
        let nuisance = Nuisance { left_out: left_out.clone(), columns: columns.clone() };
        let out = run(&spoilt, &maps(dims, &s), &nuisance, threads);

        let kept = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
            rows.iter().zip(&left_out).filter(|(_, out)| !**out).map(|(row, _)| row.clone()).collect()
        };
        let of = |column: &Vec<f64>| -> Vec<f64> {
            column.iter().zip(&left_out).filter(|(_, out)| !**out).map(|(&x, _)| x).collect()
        };
        let without = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let pick = |row: &Vec<f64>| row.iter().enumerate().filter(|(v, _)| *v != 7).map(|(_, &x)| x).collect();
            rows.iter().map(pick).collect()
        };
        let clean = cleaned(&kept(&y), &columns.iter().map(of).collect::<Vec<_>>());
        let want = dense(&without(&clean), &without(&s), true);
        let places: Vec<usize> = (0..voxels).filter(|&v| v != 7).collect();
        for (n, row) in want.betas.iter().enumerate() {
            let most = row.iter().fold(0.0f64, |most, b| most.max(b.abs()));
            for (&v, b) in places.iter().zip(row) {
                prop_assert!((f64::from(out.maps.betas[n][v]) - b).abs() <= 1e-6 * most);
            }
        }
        prop_assert_eq!(out.facts.voxels_constant, 1);
        prop_assert_eq!(out.facts.dof, kept(&y).len() - k - c);
        prop_assert!(out.maps.betas.iter().all(|row| row[7] == 0.0));
    }
}

#[test]
fn a_voxel_that_the_confounds_explain_counts_as_constant() {
    let (s, mut y, nuisance) = golden_problem();
    for (t, row) in y.iter_mut().enumerate() {
        row[40] = 5.0 + 2.0 * nuisance.columns[0][t] - nuisance.columns[3][t];
    }
    let out = run(&y, &maps([9, 5, 2], &s), &nuisance, 1);
    assert_eq!(out.facts.voxels_constant, 1);
    assert!(out.maps.z.unwrap().iter().all(|row| row[40] == 0.0));
}

#[test]
fn confounds_that_do_not_fit_are_refused() {
    let (s, y, nuisance) = golden_problem();
    let maps = maps([9, 5, 2], &s);
    let bytes = file([9, 5, 2], &y);
    let code = |nuisance: &Nuisance| {
        dual_regression_beside(&BytesSource(&bytes), &maps, nuisance, &Options::default()).unwrap_err().code
    };
    let short = Nuisance { columns: vec![vec![1.0; 47]], ..Nuisance::default() };
    assert_eq!(code(&short), ErrorCode::ConfoundsInvalid);
    let mut unknown = nuisance.clone();
    unknown.columns[0][20] = f64::NAN;
    unknown.left_out[20] = false;
    assert_eq!(code(&unknown), ErrorCode::ConfoundsInvalid);
    let mut few = nuisance.clone();
    few.left_out = (0..48).map(|t| t >= 8).collect();
    assert_eq!(code(&few), ErrorCode::TooFewVolumes);
    // None at all is the plain regression, to the bit.
    let plain = dual_regression(&BytesSource(&bytes), &maps, &Options::default()).unwrap();
    let none = dual_regression_beside(&BytesSource(&bytes), &maps, &Nuisance::default(), &Options::default());
    assert_eq!(plain.maps.betas, none.unwrap().maps.betas);
}
