//! Scans without any signal, filtered and repeated in the ways that pipelines do it: |z| > 3 must stay as rare as it is
//! by chance (0.27 %), and never become rare by degrees of freedom that are too few.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::f64::consts::PI;

use common::{Nifti, Random};
use nightread_fmri::regression::{DofRule, Nuisance, Options};
use nightread_fmri::{DualRegression, GroupMaps, dual_regression_beside};
use nightread_volume::{Affine, BytesSource, Datatype, Grid};

const DIMS: [usize; 3] = [24, 24, 14];
const VOXELS: usize = 24 * 24 * 14;
const MAPS: usize = 12;
const ROWS: [[f32; 4]; 3] = [[-4.0, 0.0, 0.0, 8.0], [0.0, 4.0, 0.0, -4.0], [0.0, 0.0, 4.0, 2.0]];

/// A linear filter over time, T x T, rows first.
type Filter = Vec<Vec<f64>>;

fn identity(t: usize) -> Filter {
    (0..t).map(|i| (0..t).map(|j| f64::from(u8::from(i == j))).collect()).collect()
}

/// Keeps every frequency of a full-length discrete Fourier transform by a gain (of the frequency in hertz).
fn fourier(t: usize, tr: f64, gain: impl Fn(f64) -> f64) -> Filter {
    let n = t as f64;
    let gains: Vec<f64> = (0..t).map(|k| gain((k.min(t - k)) as f64 / (n * tr))).collect();
    let lag = |d: usize| {
        gains.iter().enumerate().map(|(k, g)| g * (2.0 * PI * (k * d) as f64 / n).cos()).sum::<f64>() / n
    };
    let lags: Vec<f64> = (0..t).map(lag).collect();
    (0..t).map(|i| (0..t).map(|j| lags[i.abs_diff(j)]).collect()).collect()
}

/// Keeps the cosines of a discrete cosine transform whose frequencies lie in a band.
fn cosines(t: usize, tr: f64, band: (f64, f64)) -> Filter {
    let n = t as f64;
    let kept: Vec<usize> = (0..t)
        .filter(|&k| {
            let f = k as f64 / (2.0 * n * tr);
            f >= band.0 && f <= band.1
        })
        .collect();
    let at = |k: usize, i: usize| (2.0 / n).sqrt() * (PI * k as f64 * (i as f64 + 0.5) / n).cos();
    (0..t).map(|i| (0..t).map(|j| kept.iter().map(|&k| at(k, i) * at(k, j)).sum()).collect()).collect()
}

/// Response of a Butterworth band-pass of an order, run forwards and backwards.
fn butterworth(band: (f64, f64), order: i32) -> impl Fn(f64) -> f64 {
    move |f| {
        if f <= 0.0 {
            return 0.0;
        }
        let x = (f * f - band.0 * band.1) / (f * (band.1 - band.0));
        1.0 / (1.0 + x.powi(2 * order))
    }
}

/// Volumes that are marked become a cubic (Lagrange) or linear combination of those around them that are not.
fn interpolated(t: usize, marked: &[bool], points: usize) -> Filter {
    let mut filter = identity(t);
    let good: Vec<usize> = (0..t).filter(|&i| !marked[i]).collect();
    for i in (0..t).filter(|&i| marked[i]) {
        let after = good.iter().position(|&g| g > i).unwrap_or(good.len());
        let first = after.saturating_sub(points / 2).min(good.len() - points);
        let around = &good[first..first + points];
        filter[i].fill(0.0);
        for &a in around {
            let weight = around.iter().filter(|&&b| b != a);
            filter[i][a] = weight.map(|&b| (i as f64 - b as f64) / (a as f64 - b as f64)).product::<f64>();
        }
    }
    filter
}

/// Every volume is that of another time.
fn taken_from(t: usize, source: impl Fn(usize) -> usize) -> Filter {
    (0..t).map(|i| (0..t).map(|j| f64::from(u8::from(source(i) == j))).collect()).collect()
}

/// How the values are stored.
#[derive(Clone, Copy, Debug)]
enum Store {
    Float,
    Integer(f32),
    /// Integers that were converted to floating-point numbers.
    Converted,
}

fn smooth_maps() -> Vec<Vec<f64>> {
    let mut random = Random(5);
    (0..MAPS)
        .map(|_| {
            let centre = [random.unit() * 24.0, random.unit() * 24.0, random.unit() * 14.0];
            (0..VOXELS)
                .map(|v| {
                    let at = [v % 24, v / 24 % 24, v / 576];
                    let square: f64 = at.iter().zip(centre).map(|(&a, c)| (a as f64 - c).powi(2)).sum();
                    4.0 * (-square / 60.0).exp() + 0.7 * random.normal()
                })
                .collect()
        })
        .collect()
}

/// Filters white noise over time, adds a baseline and stores it.
fn scan(filter: &Filter, deviation: f64, store: Store, seed: u64) -> Vec<u8> {
    let (t, mut random) = (filter.len(), Random(seed));
    let series: Vec<Vec<f64>> = (0..VOXELS)
        .map(|_| {
            let white: Vec<f64> = (0..t).map(|_| deviation * random.normal()).collect();
            let base = 600.0 + 800.0 * random.unit();
            let filtered = |row: &Vec<f64>| row.iter().zip(&white).map(|(a, b)| a * b).sum::<f64>();
            filter.iter().map(|row| base + filtered(row)).collect()
        })
        .collect();
    let (datatype, slope) = match store {
        Store::Float | Store::Converted => (Datatype::F32, 0.0),
        Store::Integer(slope) => (Datatype::I16, slope),
    };
    let dims = DIMS.iter().map(|&n| n as i64).chain([t as i64]).collect();
    let nifti = Nifti { datatype, dims, slope, sform: Some(ROWS), ..Nifti::default() };
    let values = (0..t).flat_map(|i| series.iter().map(move |series| series[i]));
    nifti.file(values.map(|x| match store {
        Store::Float => x,
        Store::Converted => x.round(),
        Store::Integer(slope) => (x / f64::from(slope)).round(),
    }))
}

fn regress(bytes: &[u8], nuisance: &Nuisance) -> DualRegression {
    let grid = Grid { dims: DIMS, affine: Affine(ROWS.map(|row| row.map(f64::from))) };
    let maps = GroupMaps::new(grid, (0..VOXELS as u32).collect(), &smooth_maps()).unwrap();
    let options = Options { z_maps: true, min_dof: 10, ..Options::default() };
    dual_regression_beside(&BytesSource(bytes), &maps, nuisance, &options).unwrap()
}

/// Per cent of all z beyond three.
fn share(out: &DualRegression) -> f64 {
    let z = out.maps.z.as_ref().expect("z is given");
    let beyond = z.iter().flatten().filter(|z| z.abs() > 3.0).count();
    100.0 * beyond as f64 / (MAPS * VOXELS) as f64
}

/// Every filter with every way to store it.
fn hold(filters: &[(&str, Filter)], stores: &[Store], rule: Option<DofRule>) {
    for (n, (name, filter)) in filters.iter().enumerate() {
        for &store in stores {
            let out = regress(&scan(filter, 25.0, store, n as u64), &Nuisance::default());
            let share = share(&out);
            let facts = &out.facts;
            println!("{name}, {store:?}: {share:.3} %, dof {} by {:?}", facts.dof, facts.dof_rule);
            assert!((0.1..=0.5).contains(&share), "{name}, {store:?}: {share:.3} %, {facts:?}");
            assert!(rule.is_none_or(|rule| facts.dof_rule == rule), "{name}, {store:?}: {facts:?}");
            assert_eq!(
                out.warnings.iter().any(|w| w.code == "reduced_rank"),
                facts.dof_rule != DofRule::FullRank,
                "{name}: {facts:?}"
            );
        }
    }
}

const STORES: [Store; 4] = [Store::Float, Store::Integer(1.0), Store::Integer(0.05), Store::Converted];

#[test]
fn full_rank_keeps_volumes_less_components() {
    let filters = [("white", identity(60)), ("long", identity(160))];
    hold(&filters, &STORES, Some(DofRule::FullRank));
    let out = regress(&scan(&filters[0].1, 25.0, Store::Float, 3), &Nuisance::default());
    assert_eq!((out.facts.dof, out.facts.rank), (60 - MAPS, Some(59)));
    // Noise of half a step of the stored integers is noise all the same.
    let out = regress(&scan(&filters[0].1, 0.8, Store::Integer(1.0), 3), &Nuisance::default());
    assert_eq!((out.facts.dof, out.facts.rank), (60 - MAPS, Some(59)));
}

#[test]
fn sharp_bands_have_their_rank_less_the_components() {
    let band = |low: f64, high: f64| move |f: f64| f64::from(u8::from(f >= low && f <= high));
    let filters = [
        ("Fourier, 0.01 to 0.08", fourier(160, 2.0, band(0.01, 0.08))),
        ("Fourier, 0.01 to 0.1, fast", fourier(240, 0.72, band(0.01, 0.1))),
        ("cosines, 0.008 to 0.15", cosines(120, 1.5, (0.008, 0.15))),
        ("cosines, high-pass", cosines(120, 2.0, (0.009, 9.0))),
        ("every volume twice", taken_from(120, |i| i / 2)),
        ("pasted after itself", taken_from(120, |i| i % 60)),
    ];
    hold(&filters, &STORES, Some(DofRule::Rank));
    for (name, filter) in &filters {
        let trace: f64 = (0..filter.len()).map(|i| filter[i][i]).sum();
        let out = regress(&scan(filter, 25.0, Store::Integer(1.0), 9), &Nuisance::default());
        // The trace of a projection is its rank; the mean is no direction of demeaned data.
        let rank =
            if name.contains("volume") || name.contains("pasted") { 59 } else { trace.round() as usize };
        assert_eq!((out.facts.rank, out.facts.dof), (Some(rank), rank + 1 - MAPS), "{name}");
    }
}

#[test]
fn gentle_filters_and_interpolation_have_as_many_as_they_are_worth() {
    let mut random = Random(17);
    let marked: Vec<bool> = (0..160).map(|i| i > 2 && i < 157 && random.unit() < 0.2).collect();
    let runs: Vec<bool> = (0..160).map(|i| i > 8 && i < 150 && i % 25 < 6).collect();
    let filters = [
        ("Butterworth 5", fourier(160, 2.0, butterworth((0.01, 0.1), 5))),
        ("Butterworth 2", fourier(160, 2.0, butterworth((0.01, 0.08), 2))),
        ("Butterworth 3, fast", fourier(240, 0.8, butterworth((0.01, 0.15), 3))),
        ("linear between neighbours", interpolated(160, &marked, 2)),
        ("cubic between neighbours", interpolated(160, &marked, 4)),
        ("linear over runs", interpolated(160, &runs, 2)),
        ("last volume repeated", taken_from(120, |i| i.min(107))),
        ("last volume for 15 %", taken_from(120, |i| i.min(102))),
        ("last volume for a quarter", taken_from(120, |i| i.min(90))),
        ("a volume for 15 % in the middle", taken_from(200, |i| if (80..110).contains(&i) { 80 } else { i })),
        ("each third repeated", taken_from(120, |i| if i % 3 == 2 { i - 1 } else { i })),
        (
            "half a volume late",
            (0..120)
                .map(|i| {
                    let mut row = vec![0.0; 120];
                    row[i] = 0.5;
                    row[(i + 1) % 120] += 0.5;
                    row
                })
                .collect(),
        ),
    ];
    hold(&filters, &[Store::Float, Store::Integer(1.0), Store::Converted], Some(DofRule::Effective));
}

#[test]
fn fewer_directions_than_components_have_no_z() {
    for t in [60, 100] {
        for rank in [8, MAPS, MAPS + 8] {
            let filter = cosines(t, 1.0, (0.4 / t as f64, (rank as f64 + 0.5) / (2.0 * t as f64)));
            for store in STORES {
                let out = regress(&scan(&filter, 25.0, store, 4), &Nuisance::default());
                assert!(out.facts.dof < 10 && out.maps.z.is_none(), "{rank}, {store:?}: {:?}", out.facts);
                assert!(out.peaks.iter().flatten().all(|peak| peak.peak_z.is_none()));
                assert!(out.warnings.iter().any(|w| w.code == "few_degrees_of_freedom"));
                assert!(out.maps.betas.iter().flatten().all(|b| b.is_finite()));
            }
        }
    }
}

/// The sample of series is chosen from the first block of volumes; a scan may begin with one volume many times.
#[test]
fn a_scan_that_begins_with_one_volume_many_times() {
    let filter = taken_from(100, |i| i.max(50));
    let out = regress(&scan(&filter, 25.0, Store::Integer(1.0), 8), &Nuisance::default());
    assert_eq!((out.facts.rank, out.facts.voxels_used), (Some(49), VOXELS), "{:?}", out.facts);
}

/// Confounds take their rank from the degrees of freedom, whatever the data had already lost.
#[test]
fn confounds_count() {
    let mut random = Random(23);
    let columns: Vec<Vec<f64>> = (0..14).map(|_| (0..100).map(|_| random.normal()).collect()).collect();
    let nuisance = Nuisance { left_out: Vec::new(), columns };
    let out = regress(&scan(&identity(100), 25.0, Store::Integer(1.0), 6), &nuisance);
    assert_eq!((out.facts.rank, out.facts.dof), (Some(85), 100 - MAPS - 14));
    assert!((0.1..=0.5).contains(&share(&out)), "{}", share(&out));
    let sharp = fourier(100, 2.0, |f| f64::from(u8::from(f > 0.004 && f < 0.2)));
    let out = regress(&scan(&sharp, 25.0, Store::Float, 6), &nuisance);
    assert!((0.1..=0.5).contains(&share(&out)), "{}: {:?}", share(&out), out.facts);
    // The band's directions, of which unfiltered confounds take a part of each.
    assert!(out.facts.confounds_rank == 14 && out.facts.dof < 100 - MAPS - 14, "{:?}", out.facts);
}
