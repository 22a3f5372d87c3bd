//! Group ICA: one set of spatially independent component maps for a cohort of resting-state scans.
//!
//! Per run: every voxel's time series freed of its mean and its line (scanner drift, in scans that were not
//! high-pass filtered) and divided by its standard deviation, every volume demeaned over the mask. Runs are concatenated in time through MIGP, reduced to K principal components, and unmixed by spatial
//! FastICA. Maps are standardised over the mask, ordered by the variance they explain, and turned so that their
//! greatest absolute value is positive.

mod fastica;
mod migp;
mod output;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use nightread_domain::{ErrorCode, JobError, Stage};

pub use output::{SIGN_CONVENTION, write_group};

use crate::grid::{Grid, GridRelation, Sampling};
use crate::random::Random;
use crate::volume::{Limits, Source, VolumeStream};
use migp::{Migp, Tiles, gram, strongest, widths};

/// How a group ICA is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of components, K.
    pub components: usize,
    pub seed: u64,
    /// Random starts of FastICA; the one with the greatest contrast is kept.
    pub restarts: usize,
    pub max_iterations: usize,
    pub tolerance: f64,
    /// Most rows that a MIGP reduction keeps. The usual choice, twice the volumes of the first run less one, is
    /// taken when it is smaller.
    pub max_state_rows: usize,
    /// Interpolate runs whose grid differs from the first run's.
    pub resample: bool,
    pub limits: Limits,
}

impl Options {
    pub fn new(components: usize) -> Self {
        Self {
            components,
            seed: 0,
            restarts: 10,
            max_iterations: 500,
            tolerance: 1e-6,
            max_state_rows: 600,
            resample: false,
            limits: Limits::default(),
        }
    }
}

/// How far a group ICA has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// A run was read and added.
    Run { done: usize, of: usize },
    /// A start of FastICA ended.
    Restart { done: usize, of: usize, iterations: usize, converged: bool },
}

/// The group's components.
#[derive(Clone, Debug)]
pub struct GroupIca {
    pub grid: Grid,
    /// Voxels that vary in every run, as linear indices, ascending.
    pub mask: Vec<u32>,
    /// K maps of V values: mean zero, standard deviation one, greatest absolute value positive.
    pub maps: Vec<Vec<f32>>,
    /// Share of the reduced data's variance that every component explains.
    pub explained: Vec<f64>,
    /// Mean, over the other starts, of the best absolute correlation with one of their components.
    pub stability: Vec<f64>,
    /// Voxels of the mask that did not vary in some run.
    pub constant_voxels: usize,
    pub converged: bool,
    pub runs: usize,
    pub volumes: usize,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

/// Runs a group ICA over scans. The grid is the first run's; `mask` may be on another grid and is interpolated to it
/// (at and above one half is inside). Memory: one run and the MIGP state, whatever the number of runs.
///
/// The same seed, runs and options give the same maps.
///
/// # Errors
/// Those of reading volumes; `grid_mismatch`, `not_four_dimensional`, `mask_empty`; `too_few_volumes` when all runs
/// together have fewer volumes than components; `no_usable_components` when the data has lower rank.
pub fn group_ica(
    runs: &[&dyn Source],
    mask: &dyn Source,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<GroupIca, JobError> {
    let Some(first) = runs.first() else {
        return Err(refuse(ErrorCode::TooFewVolumes, "a group ICA needs at least one scan"));
    };
    if options.components == 0 {
        return Err(refuse(ErrorCode::TooFewVolumes, "a group ICA needs at least one component"));
    }
    let header = VolumeStream::open(*first, &options.limits)?.header().clone();
    let mask = read_mask(mask, &header.grid, &options.limits)?;
    let keep = (2 * header.volumes)
        .saturating_sub(1)
        .clamp(options.components, options.max_state_rows.max(options.components));
    let mut state = Migp::new(mask.len(), keep);
    let mut varies = vec![true; mask.len()];
    let mut order: Vec<usize> = (0..runs.len()).collect();
    Random::stream(options.seed, 1).shuffle(&mut order);
    let mut volumes = 0;
    for (done, &run) in order.iter().enumerate() {
        let tiles = read_run(runs[run], &header.grid, &mask, options, &mut varies).map_err(|mut error| {
            error.message = format!("scan {}: {}", run + 1, error.message);
            error
        })?;
        volumes += tiles.first().map_or(0, Mat::nrows);
        state.append(&tiles, Par::Seq)?;
        progress(Progress::Run { done: done + 1, of: runs.len() });
    }
    let used = varies.iter().filter(|&&x| x).count();
    if used <= options.components {
        return Err(refuse(
            ErrorCode::MaskEmpty,
            format!("only {used} voxels of the mask vary in every scan"),
        ));
    }
    if volumes < options.components {
        let message = format!("{volumes} volumes are too few for {} components", options.components);
        return Err(refuse(ErrorCode::TooFewVolumes, message));
    }
    let data = state.finish(&varies);
    let Whitened { z, values } = whiten(data, used, options.components)?;
    let (best, others) = search(&z, options, progress)?;
    let explained = |row: usize| -> f64 {
        let total: f64 = values.iter().sum();
        best.rows.row(row).iter().zip(&values).map(|(w, l)| w * w * l).sum::<f64>() / total
    };
    let mut ranking: Vec<usize> = (0..options.components).collect();
    ranking.sort_by(|&a, &b| explained(b).total_cmp(&explained(a)));
    let all = maps_of(&best.rows, &z, used);
    Ok(GroupIca {
        grid: header.grid,
        mask: mask.iter().zip(&varies).filter(|(_, keep)| **keep).map(|(&v, _)| v).collect(),
        maps: ranking.iter().map(|&k| all[k].clone()).collect(),
        explained: ranking.iter().map(|&k| explained(k)).collect(),
        stability: ranking.iter().map(|&k| stability(&best.rows, k, &others)).collect(),
        constant_voxels: mask.len() - used,
        converged: best.converged,
        runs: runs.len(),
        volumes,
    })
}

/// The mask's voxels on a grid.
fn read_mask(source: &dyn Source, grid: &Grid, limits: &Limits) -> Result<Vec<u32>, JobError> {
    let mut stream = VolumeStream::open(source, limits)?;
    let all: Vec<u32> = (0..grid.len() as u32).collect();
    let sampling = Sampling::plan(&stream.header().grid, grid, &all)?;
    let mut values = vec![0.0; grid.len()];
    if let Some(raw) = stream.next_volume()? {
        raw.sample(&sampling, &mut values);
    }
    stream.finish()?;
    let interpolated = sampling.relation == GridRelation::Different;
    let inside = |x: f64| if interpolated { x >= 0.5 } else { x > 0.0 };
    let mask: Vec<u32> = all.into_iter().filter(|&v| inside(values[v as usize])).collect();
    if mask.is_empty() {
        return Err(refuse(ErrorCode::MaskEmpty, "the mask has no voxels on the scans' grid"));
    }
    Ok(mask)
}

/// One run, normalised: T x voxels, in tiles. Voxels without variance become zero and are marked.
fn read_run(
    source: &dyn Source,
    grid: &Grid,
    mask: &[u32],
    options: &Options,
    varies: &mut [bool],
) -> Result<Tiles, JobError> {
    let mut stream = VolumeStream::open(source, &options.limits)?;
    let header = stream.header().clone();
    if !header.four_dimensional || header.volumes < 2 {
        return Err(refuse(
            ErrorCode::NotFourDimensional,
            "a run needs a time axis with at least two volumes",
        ));
    }
    let sampling = Sampling::plan(&header.grid, grid, mask)?;
    if sampling.relation == GridRelation::Different && !options.resample {
        return Err(refuse(
            ErrorCode::GridMismatch,
            "the scan is not on the first scan's grid, and resampling is off",
        ));
    }
    for &v in &sampling.outside {
        varies[v] = false;
    }
    let mut tiles: Tiles = widths(mask.len()).map(|width| Mat::zeros(header.volumes, width)).collect();
    let mut volume = vec![0.0; mask.len()];
    // Against the first volume, so that single precision holds the fluctuations and not the baseline.
    let mut pivot = Vec::new();
    let mut t = 0;
    while let Some(raw) = stream.next_volume()? {
        raw.sample(&sampling, &mut volume);
        if t == 0 {
            pivot.clone_from(&volume);
        }
        let mut from = 0;
        for tile in &mut tiles {
            for (cell, v) in tile.row_mut(t).iter_mut().zip(from..) {
                *cell = (volume[v] - pivot[v]) as f32;
            }
            from += tile.ncols();
        }
        t += 1;
    }
    stream.finish()?;
    let mut v = 0;
    for tile in &mut tiles {
        for column in 0..tile.ncols() {
            varies[v] &= standardise(tile.col_as_slice_mut(column));
            v += 1;
        }
    }
    Ok(tiles)
}

/// Takes mean and line out of a time series and divides it by its standard deviation. A series that is not finite,
/// or varies less about its line than single precision can tell, becomes zero: `false`.
fn standardise(series: &mut [f32]) -> bool {
    let n = series.len() as f64;
    let time = |t: usize| t as f64 - (n - 1.0) / 2.0;
    let mean = series.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let slope = series.iter().enumerate().map(|(t, &x)| time(t) * f64::from(x)).sum::<f64>() * 12.0
        / (n * (n * n - 1.0));
    let rest = |t: usize, x: f32| f64::from(x) - mean - slope * time(t);
    let square: f64 = series.iter().enumerate().map(|(t, &x)| rest(t, x).powi(2)).sum();
    let deviation = (square / (n - 1.0)).sqrt();
    let greatest = series.iter().fold(0f32, |best, x| best.max(x.abs()));
    let good = deviation.is_finite() && deviation > 1e-6 * f64::from(greatest);
    for (t, x) in series.iter_mut().enumerate() {
        *x = if good { (rest(t, *x) / deviation) as f32 } else { 0.0 };
    }
    good
}

struct Whitened {
    /// Tiles of K x voxels with unit covariance.
    z: Vec<Mat<f64>>,
    /// Eigenvalues of the principal components.
    values: Vec<f64>,
}

fn whiten(data: Tiles, voxels: usize, components: usize) -> Result<Whitened, JobError> {
    let (vectors, values) = strongest(&gram(&data, Par::Seq), components)?;
    let least = 1e-9 * values.first().copied().unwrap_or(0.0);
    if values.len() < components || values.iter().any(|&x| x.is_nan() || x <= least) {
        let rank = values.iter().filter(|&&x| x > least).count();
        let message = format!("the scans have {rank} independent components, fewer than {components}");
        return Err(refuse(ErrorCode::NoUsableComponents, message));
    }
    let scale = |j: usize| (voxels as f64 / values[j]).sqrt();
    let turn = Mat::from_fn(components, vectors.nrows(), |j, i| (vectors[(i, j)] * scale(j)) as f32);
    let mut z = Vec::new();
    for tile in data {
        let mut out = Mat::<f32>::zeros(components, tile.ncols());
        matmul(out.as_mut(), Accum::Replace, turn.as_ref(), tile.as_ref(), 1.0, Par::Seq);
        z.push(Mat::from_fn(components, tile.ncols(), |i, j| f64::from(out[(i, j)])));
    }
    Ok(Whitened { z, values })
}

/// All starts; the best, and the unmixing rows of the others.
fn search(
    z: &[Mat<f64>],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<(fastica::Unmixing, Vec<Mat<f64>>), JobError> {
    let mut all = Vec::new();
    let of = options.restarts.max(1);
    for start in 0..of {
        let mut random = Random::stream(options.seed, 2 + start as u64);
        let one = fastica::run(z, &mut random, options.max_iterations, options.tolerance, Par::Seq)?;
        progress(Progress::Restart {
            done: start + 1,
            of,
            iterations: one.iterations,
            converged: one.converged,
        });
        all.push(one);
    }
    let better = |a: &fastica::Unmixing, b: &fastica::Unmixing| {
        (a.converged, a.contrast)
            .partial_cmp(&(b.converged, b.contrast))
            .is_some_and(std::cmp::Ordering::is_gt)
    };
    let mut best = 0;
    for i in 1..all.len() {
        if better(&all[i], &all[best]) {
            best = i;
        }
    }
    let chosen = all.swap_remove(best);
    Ok((chosen, all.into_iter().map(|one| one.rows).collect()))
}

/// Unmixed maps, standardised, with the greatest absolute value positive.
fn maps_of(rows: &Mat<f64>, z: &[Mat<f64>], voxels: usize) -> Vec<Vec<f32>> {
    let mut maps = vec![Vec::with_capacity(voxels); rows.nrows()];
    for tile in z {
        let u = rows * tile;
        for (map, row) in maps.iter_mut().zip(u.row_iter()) {
            map.extend(row.iter().copied());
        }
    }
    maps.into_iter()
        .map(|map: Vec<f64>| {
            let mean = map.iter().sum::<f64>() / voxels as f64;
            let deviation = (map.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / voxels as f64).sqrt();
            let peak =
                map.iter().copied().fold(0.0f64, |best, x| if x.abs() > best.abs() { x } else { best });
            let scale = 1f64.copysign(peak) / deviation;
            map.iter().map(|x| ((x - mean) * scale) as f32).collect()
        })
        .collect()
}

/// In whitened space the correlation of two maps is the product of their unmixing rows.
fn stability(rows: &Mat<f64>, k: usize, others: &[Mat<f64>]) -> f64 {
    if others.is_empty() {
        return 1.0;
    }
    let best = |other: &Mat<f64>| {
        let dots =
            other.row_iter().map(|row| row.iter().zip(rows.row(k).iter()).map(|(a, b)| a * b).sum::<f64>());
        dots.fold(0.0f64, |best, dot| best.max(dot.abs()))
    };
    others.iter().map(best).sum::<f64>() / others.len() as f64
}
