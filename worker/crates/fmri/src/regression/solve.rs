//! From the sums of one pass to time courses, maps and statistics.

use std::sync::Mutex;
use std::thread;

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{DenseSolveCore, Llt};
use faer::{Accum, Mat, Par, Side};
use nightread_domain::{ErrorCode, JobError, Stage};

use super::accumulate::Sums;
use super::maps::{GroupMaps, TILE};
use super::rank::{Selection, select, submatrix};
use super::{Flag, Options};
use crate::components::Peak;
use crate::zscore::TToZ;

/// A map's variance at and below this share of its variance in the whole mask counts as none.
const EMPTY_MAP: f64 = 1e-12;
/// A time course's contribution at and below this share of the strongest one's counts as constant.
const CONSTANT_COURSE: f64 = 1e-20;

pub(super) struct Solution {
    pub time_courses: Vec<f64>,
    pub betas: Vec<Vec<f32>>,
    pub z: Option<Vec<Vec<f32>>>,
    pub flags: Vec<Option<Flag>>,
    pub peaks: Vec<Option<Peak>>,
    /// Voxels that took no part: constant or excluded.
    pub removed: usize,
    pub dof: usize,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, code, message)
}

/// Inverse of a Gram matrix that `select` has found to be of full rank.
fn inverse(gram: &Mat<f64>) -> Result<Mat<f64>, JobError> {
    Llt::new(gram.as_ref(), Side::Lower)
        .map(|llt| llt.inverse())
        .map_err(|_| refuse(ErrorCode::CollinearMaps, "the components cannot be told apart in this scan"))
}

/// Stage 1: the linear map N from (rho, sum) to time courses, on the kept maps.
struct StageOne {
    kept: Vec<usize>,
    /// k x (K + 1): C⁻¹ [I, -g/n], with C the centred Gram matrix and g the sums of the maps over the n kept voxels.
    to_courses: Mat<f64>,
    /// Variance of each kept map over the kept voxels, times n.
    variance: Vec<f64>,
}

fn stage_one(maps: &GroupMaps, removed: &[bool], flags: &mut [Option<Flag>]) -> Result<StageOne, JobError> {
    let count = maps.count();
    let gram = maps.gram_without(removed);
    let voxels = gram[(count, count)];
    let centred =
        Mat::from_fn(count, count, |i, j| gram[(i, j)] - gram[(i, count)] * gram[(j, count)] / voxels);
    let Selection { kept, empty, dependent } = select(&centred, |k| EMPTY_MAP * maps.gram[(k, k)]);
    for k in empty {
        flags[k] = Some(Flag::EmptyMap);
    }
    for k in dependent {
        flags[k] = Some(Flag::CollinearMap);
    }
    if kept.is_empty() {
        return Err(refuse(ErrorCode::NoUsableComponents, "no group map varies over the scan's voxels"));
    }
    let centre = Mat::from_fn(kept.len(), count + 1, |i, j| match j {
        j if j == count => -gram[(kept[i], count)] / voxels,
        j => f64::from(u8::from(j == kept[i])),
    });
    let to_courses = inverse(&submatrix(&centred, &kept))? * centre;
    let variance = kept.iter().map(|&k| centred[(k, k)]).collect();
    Ok(StageOne { kept, to_courses, variance })
}

/// X p for the pivot p: what the deviations leave out of rho.
fn offset(maps: &GroupMaps, pivot: &[f64], removed: &[bool]) -> Vec<f64> {
    let mut out = vec![0.0; maps.count() + 1];
    for (n, tile) in maps.tiles.iter().enumerate() {
        for (v, column) in tile.col_iter().enumerate() {
            let voxel = n * TILE + v;
            if !removed[voxel] {
                for (out, x) in out.iter_mut().zip(column.iter()) {
                    *out += x * pivot[voxel];
                }
            }
        }
    }
    out
}

/// Stage 2 as two matrices that are applied to every voxel's column of sums.
struct StageTwo {
    /// Component of every row.
    kept: Vec<usize>,
    /// Column of sums to X'd, and to the coefficients.
    to_product: Mat<f64>,
    to_beta: Mat<f64>,
    /// Diagonal of (X'X)⁻¹.
    spread: Vec<f64>,
    dof: usize,
}

fn stage_two(
    one: &StageOne,
    rho: &Mat<f64>,
    des_norm: bool,
    flags: &mut [Option<Flag>],
) -> Result<StageTwo, JobError> {
    let (rows, volumes) = (rho.nrows(), rho.ncols());
    let mean: Vec<f64> = rho.row_iter().map(|row| row.sum() / volumes as f64).collect();
    // Courses without the pivot's constant part: only their changes matter here.
    let centred = Mat::from_fn(rows - 1, volumes, |k, t| rho[(k, t)] - mean[k]);
    let courses = &one.to_courses * &centred;
    let gram = &courses * courses.transpose();
    let strength = |k: usize| gram[(k, k)] * one.variance[k];
    let strongest = (0..one.kept.len()).map(strength).fold(0.0, f64::max);
    let Selection { kept, empty, dependent } =
        select(&gram, |k| CONSTANT_COURSE * strongest / one.variance[k]);
    for k in empty {
        flags[one.kept[k]] = Some(Flag::ConstantTimeCourse);
    }
    for k in dependent {
        flags[one.kept[k]] = Some(Flag::CollinearTimeCourse);
    }
    if kept.is_empty() {
        return Err(refuse(ErrorCode::NoUsableComponents, "no component's time course varies in this scan"));
    }
    let scale: Vec<f64> = kept
        .iter()
        .map(|&k| if des_norm { ((volumes - 1) as f64 / gram[(k, k)]).sqrt() } else { 1.0 })
        .collect();
    let design = Mat::from_fn(kept.len(), kept.len(), |i, j| gram[(kept[i], kept[j])] * scale[i] * scale[j]);
    let inverse = inverse(&design)?;
    // X'd = scale N (a - mean sum_d), where a column of sums is (a, sum_d).
    let to_product = Mat::from_fn(kept.len(), rows, |i, j| {
        let row = one.to_courses.row(kept[i]);
        scale[i] * if j + 1 < rows { row[j] } else { -row.iter().zip(&mean).map(|(n, m)| n * m).sum::<f64>() }
    });
    let to_beta = &inverse * &to_product;
    let spread = (0..kept.len()).map(|k| inverse[(k, k)]).collect();
    let dof = volumes - kept.len();
    Ok(StageTwo { kept: kept.into_iter().map(|k| one.kept[k]).collect(), to_product, to_beta, spread, dof })
}

/// Solves both stages. `excluded` marks the voxels that were left out of the pass.
pub(super) fn solve(
    sums: Sums,
    maps: &GroupMaps,
    excluded: &[bool],
    options: &Options,
) -> Result<Solution, JobError> {
    let count = maps.count();
    let removed: Vec<bool> = sums.squares.iter().map(|&x| x == 0.0).collect();
    let gone = removed.iter().filter(|&&x| x).count();
    let used = removed.len() - gone;
    debug_assert!(excluded.iter().zip(&removed).all(|(e, r)| !e || *r));
    if used <= count + 1 {
        let all = removed.len();
        return Err(refuse(
            ErrorCode::MaskEmpty,
            format!("only {used} of {all} voxels in the mask vary over time: too few for {count} components"),
        ));
    }
    let mut flags = vec![None; count];
    let one = stage_one(maps, &removed, &mut flags)?;
    let two = stage_two(&one, &sums.rho, options.des_norm, &mut flags)?;

    let offset = offset(maps, &sums.pivot, &removed);
    let volumes = sums.rho.ncols();
    let absolute = Mat::from_fn(count + 1, volumes, |k, t| sums.rho[(k, t)] + offset[k]);
    let courses = &one.to_courses * &absolute;
    let mut time_courses = vec![0.0; volumes * count];
    for (i, &k) in one.kept.iter().enumerate() {
        for t in 0..volumes {
            time_courses[t * count + k] = courses[(i, t)];
        }
    }
    let maps_out = fill_maps(sums, &two, count, options);
    let table = TToZ::new(two.dof);
    let peaks = maps_out.peaks.iter().map(|peak| {
        peak.map(|(t, voxel)| Peak {
            peak_mni_mm: maps.grid().world(maps.mask()[voxel] as usize),
            peak_z: Some(table.z(t)),
        })
    });
    Ok(Solution {
        time_courses,
        peaks: peaks.collect(),
        betas: maps_out.betas,
        z: maps_out.z,
        flags,
        removed: gone,
        dof: two.dof,
    })
}

struct Filled {
    betas: Vec<Vec<f32>>,
    z: Option<Vec<Vec<f32>>>,
    /// Greatest |t| of every component, with its sign and its voxel.
    peaks: Vec<Option<(f64, usize)>>,
}

/// One tile of sums with the places that its maps go to, a row a component.
struct Task<'a> {
    first: usize,
    sums: Mat<f64>,
    squares: &'a [f64],
    betas: Vec<&'a mut [f32]>,
    z: Vec<&'a mut [f32]>,
}

/// Applies stage 2 to all voxels; every tile of sums is freed when its maps are written.
fn fill_maps(sums: Sums, two: &StageTwo, count: usize, options: &Options) -> Filled {
    let voxels = sums.squares.len();
    let empty = |wanted: bool| vec![vec![0f32; if wanted { voxels } else { 0 }]; count];
    let (mut betas, mut z) = (empty(true), empty(options.z_maps));
    let mut beta_rows: Vec<_> = betas.iter_mut().map(|row| row.chunks_mut(TILE)).collect();
    let mut z_rows: Vec<_> = z.iter_mut().map(|row| row.chunks_mut(TILE)).collect();
    let tasks =
        sums.tiles.into_iter().zip(sums.squares.chunks(TILE)).enumerate().map(|(n, (tile, squares))| Task {
            first: n * TILE,
            sums: tile,
            squares,
            betas: beta_rows.iter_mut().filter_map(Iterator::next).collect(),
            z: z_rows.iter_mut().filter_map(Iterator::next).collect(),
        });
    let volumes = sums.rho.ncols() as f64;
    let table = TToZ::new(two.dof);
    let queue = Mutex::new(tasks);
    let work = || {
        let mut peaks: Vec<Option<(f64, usize)>> = vec![None; count];
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some(task) = next else { break peaks };
            fill_tile(task, two, volumes, &table, &mut peaks);
        }
    };
    let peaks = thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut peaks = work();
        for other in others {
            let more = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (peak, other) in peaks.iter_mut().zip(more) {
                if let Some((t, voxel)) = other {
                    raise(peak, t, voxel);
                }
            }
        }
        peaks
    });
    drop(queue);
    drop((beta_rows, z_rows));
    Filled { betas, z: options.z_maps.then_some(z), peaks }
}

/// Keeps the greater |t|; of equals the first voxel, so that threads do not change the answer.
fn raise(peak: &mut Option<(f64, usize)>, t: f64, voxel: usize) {
    let better = match *peak {
        Some((best, at)) => t.abs() > best.abs() || (t.abs() >= best.abs() && voxel < at),
        None => true,
    };
    if better {
        *peak = Some((t, voxel));
    }
}

fn fill_tile(
    mut task: Task<'_>,
    two: &StageTwo,
    volumes: f64,
    table: &TToZ,
    peaks: &mut [Option<(f64, usize)>],
) {
    let width = task.sums.ncols();
    let rows = two.kept.len();
    let mut beta = Mat::zeros(rows, width);
    matmul(beta.as_mut(), Accum::Replace, two.to_beta.as_ref(), task.sums.as_ref(), 1.0, Par::Seq);
    let mut product = Mat::zeros(rows, width);
    matmul(product.as_mut(), Accum::Replace, two.to_product.as_ref(), task.sums.as_ref(), 1.0, Par::Seq);
    let sum_row = task.sums.nrows() - 1;
    let deviation: Vec<f64> = (0..width)
        .map(|v| {
            let sum = task.sums[(sum_row, v)];
            let total = task.squares[v] - sum * sum / volumes;
            let fitted: f64 = beta.col(v).iter().zip(product.col(v).iter()).map(|(b, p)| b * p).sum();
            // Rounding may take a perfect fit below zero; what is left of it stands for "no residual".
            ((total - fitted).max(total * 1e-15) / two.dof as f64).sqrt()
        })
        .collect();
    for (i, &k) in two.kept.iter().enumerate() {
        let spread = two.spread[i].sqrt();
        for v in 0..width {
            if task.squares[v] == 0.0 {
                continue;
            }
            let b = beta[(i, v)];
            task.betas[k][v] = b as f32;
            let t = b / (spread * deviation[v]);
            raise(&mut peaks[k], t, task.first + v);
            if let Some(z) = task.z.get_mut(k).and_then(|row| row.get_mut(v)) {
                *z = table.z(t) as f32;
            }
        }
    }
}
