//! Group ICA: one set of spatially independent component maps for a cohort of resting-state scans.
//!
//! Per run: every voxel's time series freed of its mean and its line (scanner drift, in scans that were not
//! high-pass filtered) and divided by its standard deviation, every volume demeaned over the mask. Runs are concatenated in time through MIGP, reduced to K principal components, and unmixed by spatial
//! FastICA. Maps are standardised over the mask, ordered by the variance they explain, and turned so that their
//! greatest absolute value is positive.

mod fastica;
mod migp;
mod output;
mod run;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use nightread_domain::{ErrorCode, JobError, Stage, Warning, WarningCode};
use nightread_volume::{Affine, Frame, Grid, Header, Limits, Orientation, ScanSource};

pub use output::{SIGN_CONVENTION, write_group};

use crate::mask::{Mask, MaskRule};
use crate::random::Random;
use migp::{Migp, Tiles, gram, strongest};
use run::{Run, header_of, read_run};

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
    /// Most rows that a MIGP reduction keeps. The usual choice, twice the volumes of the longest run less one, is
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
    /// The first run's; `Unknown` where the mask or any run has no place, because then nothing vouches for the maps'.
    pub orientation: Orientation,
    pub mask_rule: MaskRule,
    /// Voxels that vary in every run, as linear indices, ascending.
    pub mask: Vec<u32>,
    /// K maps of V values: mean zero, standard deviation one, greatest absolute value positive.
    pub maps: Vec<Vec<f32>>,
    /// Share of the components' common variance that every component explains.
    pub explained: Vec<f64>,
    /// Share of the variance of all runs' reduced data that the components explain together.
    pub explained_together: f64,
    /// Rows of the reduced data by K: what each component adds to each row. The rows are MIGP's, not volumes.
    pub mixing: Vec<Vec<f64>>,
    /// Mean, over the other starts, of the best absolute correlation with one of their components.
    pub stability: Vec<f64>,
    /// Voxels of the mask that did not vary in some run.
    pub constant_voxels: usize,
    pub converged: bool,
    pub runs: usize,
    pub volumes: usize,
    pub warnings: Vec<Warning>,
}

/// A run that alone takes this share of the mask away from all is named.
const MUCH_OF_THE_MASK: f64 = 0.1;

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

/// Runs a group ICA over scans. The grid is the first run's; `mask` may be on another grid and is interpolated to it
/// ([`Mask::read`]). Memory: one run and the MIGP state, whatever the number of runs.
///
/// The same seed, runs and options give the same maps.
///
/// # Errors
/// Those of reading volumes, with the scan's name; `grid_mismatch`, `not_four_dimensional`, `mask_empty`;
/// `too_few_volumes` when all runs together have fewer volumes than components; `no_usable_components` when the data has
/// lower rank.
pub fn group_ica(
    runs: &[&dyn ScanSource],
    mask: &dyn ScanSource,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<GroupIca, JobError> {
    if runs.is_empty() {
        return Err(refuse(ErrorCode::TooFewVolumes, "a group ICA needs at least one scan"));
    }
    if options.components == 0 {
        return Err(refuse(ErrorCode::TooFewVolumes, "a group ICA needs at least one component"));
    }
    // All headers before the first voxel: a wrong file shows at once, and the longest run is known.
    let headers = runs
        .iter()
        .enumerate()
        .map(|(n, &run)| header_of(run, options).map_err(|error| in_scan(error, &name_of(run, n))));
    let headers = headers.collect::<Result<Vec<Header>, JobError>>()?;
    let first = Frame::of(&headers[0], "the first scan");
    let mask = Mask::read(mask, &first, true, &options.limits)?;
    let Cohort { state, varies, lost, volumes, mut warnings } =
        read_all(runs, &headers, &first, &mask, options, progress)?;
    let used = varies.iter().filter(|&&x| x).count();
    let all = mask.voxels.len();
    for (n, &lost) in lost.iter().enumerate() {
        if lost as f64 > MUCH_OF_THE_MASK * all as f64 {
            let name = name_of(runs[n], n);
            let text = format!(
                "{name}: {lost} of the mask's {all} voxels do not vary or lie outside of its view, and are lost to all; {used} are left"
            );
            warnings.push(Warning::new(WarningCode::MaskShrunk, text));
        }
    }
    if used <= options.components {
        let worst = (0..runs.len()).max_by_key(|&n| lost[n]).unwrap_or(0);
        let name = name_of(runs[worst], worst);
        let text =
            format!("only {used} voxels of the mask vary in every scan; {name} alone lacks {}", lost[worst]);
        return Err(refuse(ErrorCode::MaskEmpty, text));
    }
    if volumes < options.components {
        let message = format!("{volumes} volumes are too few for {} components", options.components);
        return Err(refuse(ErrorCode::TooFewVolumes, message));
    }
    let placed = mask.placed && headers.iter().all(|header| header.orientation != Orientation::Unknown);
    let orientation = if placed { headers[0].orientation } else { Orientation::Unknown };
    let solved = solve(state.finish(&varies), used, options, progress)?;
    Ok(GroupIca {
        grid: if placed { headers[0].grid } else { nowhere(&headers[0].grid) },
        orientation,
        mask_rule: mask.rule,
        mask: mask.voxels.iter().zip(&varies).filter(|(_, keep)| **keep).map(|(&v, _)| v).collect(),
        maps: solved.maps,
        explained: solved.explained,
        explained_together: solved.explained_together,
        mixing: solved.mixing,
        stability: solved.stability,
        constant_voxels: all - used,
        converged: solved.converged,
        runs: runs.len(),
        volumes,
        warnings: mask.warnings.into_iter().chain(warnings).collect(),
    })
}

/// What all runs leave behind.
struct Cohort {
    state: Migp,
    varies: Vec<bool>,
    /// Voxels of the mask that each run lacks.
    lost: Vec<usize>,
    volumes: usize,
    warnings: Vec<Warning>,
}

fn read_all(
    runs: &[&dyn ScanSource],
    headers: &[Header],
    first: &Frame<'_>,
    mask: &Mask,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Cohort, JobError> {
    let longest = headers.iter().map(|header| header.volumes).max().unwrap_or(0);
    let keep = (2 * longest)
        .saturating_sub(1)
        .clamp(options.components, options.max_state_rows.max(options.components));
    let mut state = Migp::new(mask.voxels.len(), keep);
    let mut varies = vec![true; mask.voxels.len()];
    let mut lost = vec![0; runs.len()];
    let mut said = vec![Vec::new(); runs.len()];
    let mut order: Vec<usize> = (0..runs.len()).collect();
    Random::stream(options.seed, 1).shuffle(&mut order);
    for (done, &n) in order.iter().enumerate() {
        let name = name_of(runs[n], n);
        state.make_room(headers[n].volumes, Par::Seq)?;
        let run = read_run(runs[n], first, &mask.voxels, options, &mut varies);
        let Run { tiles, lost: gone, warnings } = run.map_err(|error| in_scan(error, &name))?;
        lost[n] = gone;
        for warning in warnings {
            said[n].push(Warning { message: format!("{name}: {}", warning.message), ..warning });
        }
        state.append(tiles, Par::Seq)?;
        progress(Progress::Run { done: done + 1, of: runs.len() });
    }
    let volumes = headers.iter().map(|header| header.volumes).sum();
    Ok(Cohort { state, varies, lost, volumes, warnings: said.concat() })
}

/// What a scan is called: its own name beside its place in the list.
fn name_of(run: &dyn ScanSource, n: usize) -> String {
    let number = n + 1;
    run.name().map_or_else(|| format!("scan {number}"), |name| format!("scan {number} ({name})"))
}

fn in_scan(mut error: JobError, name: &str) -> JobError {
    error.message = format!("{name}: {}", error.message);
    error
}

/// A grid without a place: voxel sizes alone.
fn nowhere(grid: &Grid) -> Grid {
    let sizes = grid.affine.voxel_mm();
    let rows = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { sizes[i] } else { 0.0 }));
    Grid { affine: Affine(rows), ..*grid }
}

/// The components, by the variance that they explain.
struct Solved {
    maps: Vec<Vec<f32>>,
    explained: Vec<f64>,
    explained_together: f64,
    mixing: Vec<Vec<f64>>,
    stability: Vec<f64>,
    converged: bool,
}

fn solve(
    data: Tiles,
    voxels: usize,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Solved, JobError> {
    let Whitened { z, vectors, values, total } = whiten(data, voxels, options.components)?;
    let (best, others) = search(&z, options, progress)?;
    let common: f64 = values.iter().sum();
    let explained: Vec<f64> = (0..options.components)
        .map(|k| best.rows.row(k).iter().zip(&values).map(|(w, l)| w * w * l).sum::<f64>() / common)
        .collect();
    let mut ranking: Vec<usize> = (0..options.components).collect();
    ranking.sort_by(|&a, &b| explained[b].total_cmp(&explained[a]));
    let all = maps_of(&best.rows, &z, voxels);
    // X = U diag(sqrt(lambda / V)) z and z = W' u, with u = factor * map.
    let mut mixing = Vec::with_capacity(vectors.nrows());
    for r in 0..vectors.nrows() {
        let row = ranking.iter().map(|&k| {
            let parts = (0..values.len())
                .map(|j| vectors[(r, j)] * (values[j] / voxels as f64).sqrt() * best.rows[(k, j)]);
            parts.sum::<f64>() * all[k].1
        });
        mixing.push(row.collect());
    }
    Ok(Solved {
        maps: ranking.iter().map(|&k| all[k].0.clone()).collect(),
        explained: ranking.iter().map(|&k| explained[k]).collect(),
        explained_together: common / total,
        mixing,
        stability: ranking.iter().map(|&k| stability(&best.rows, k, &others)).collect(),
        converged: best.converged,
    })
}

struct Whitened {
    /// Tiles of K x voxels with unit covariance.
    z: Vec<Mat<f64>>,
    /// The principal components, rows x K, with their eigenvalues.
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// Sum of all eigenvalues.
    total: f64,
}

fn whiten(data: Tiles, voxels: usize, components: usize) -> Result<Whitened, JobError> {
    let gram = gram(&data, Par::Seq);
    let total = (0..gram.nrows()).map(|i| gram[(i, i)]).sum();
    let (vectors, values) = strongest(&gram, components)?;
    let least = 1e-9 * values.first().copied().unwrap_or(0.0);
    if values.len() < components || values.iter().any(|&x| x.is_nan() || x <= least) {
        let rank = values.iter().filter(|&&x| x > least).count();
        let message = format!("the scans have {rank} independent components, fewer than {components}");
        return Err(refuse(ErrorCode::NoUsableComponents, message));
    }
    let scale: Vec<f64> = values.iter().map(|value| (voxels as f64 / value).sqrt()).collect();
    let turn = Mat::from_fn(components, vectors.nrows(), |j, i| (vectors[(i, j)] * scale[j]) as f32);
    let mut z = Vec::new();
    for tile in data {
        let mut out = Mat::<f32>::zeros(components, tile.ncols());
        matmul(out.as_mut(), Accum::Replace, turn.as_ref(), tile.as_ref(), 1.0, Par::Seq);
        z.push(Mat::from_fn(components, tile.ncols(), |i, j| f64::from(out[(i, j)])));
    }
    Ok(Whitened { z, vectors, values, total })
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
    let mut best = 0;
    for i in 1..all.len() {
        if all[i].is_better_than(&all[best]) {
            best = i;
        }
    }
    let chosen = all.swap_remove(best);
    Ok((chosen, all.into_iter().map(|one| one.rows).collect()))
}

/// Unmixed maps, standardised, with the greatest absolute value positive; each with the factor that was taken out.
fn maps_of(rows: &Mat<f64>, z: &[Mat<f64>], voxels: usize) -> Vec<(Vec<f32>, f64)> {
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
            (map.iter().map(|x| ((x - mean) * scale) as f32).collect(), scale.recip())
        })
        .collect()
}

/// In whitened space the correlation of two maps is the product of their unmixing rows.
fn stability(rows: &Mat<f64>, k: usize, others: &[Mat<f64>]) -> f64 {
    if others.is_empty() {
        return 1.0;
    }
    let best = others.iter().map(|other| {
        let dots =
            other.row_iter().map(|row| row.iter().zip(rows.row(k).iter()).map(|(a, b)| a * b).sum::<f64>());
        dots.fold(0.0f64, |best, dot| best.max(dot.abs()))
    });
    best.sum::<f64>() / others.len() as f64
}
