//! From the sums of one pass to time courses, maps and statistics.

use std::sync::Mutex;
use std::thread;

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{DenseSolveCore, Llt};
use faer::{Accum, Mat, Par, Side};
use nightread_domain::{ErrorCode, JobError, Stage, Warning};

use super::accumulate::Sums;
use super::coverage::LeftOut;
use super::dof::{Degrees, Question, degrees};
use super::maps::{GroupMaps, TILE};
use super::rank::{Selection, select, submatrix};
use super::{Flag, Options};
use crate::components::Peak;
use crate::zscore::TToZ;

/// A map's variance at and below this share of its variance in the whole mask counts as none.
const EMPTY_MAP: f64 = 1e-12;
/// A voxel that keeps no more of its variance than this beside the confounds counts as constant.
const EXPLAINED: f64 = 1e-12;
/// A time course's contribution at and below this share of the strongest one's counts as constant.
const CONSTANT_COURSE: f64 = 1e-20;

pub(super) struct Solution {
    pub time_courses: Vec<f64>,
    pub betas: Vec<Vec<f32>>,
    pub t: Option<Vec<Vec<f32>>>,
    pub z: Option<Vec<Vec<f32>>>,
    pub flags: Vec<Option<Flag>>,
    pub peaks: Vec<Option<Peak>>,
    /// Correlation of every component's map with its group map over the voxels that took part.
    pub correlations: Vec<Option<f64>>,
    /// Voxels that took no part: constant or excluded.
    pub removed: usize,
    pub degrees: Degrees,
    pub warnings: Vec<Warning>,
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
    /// X', and (X'X)⁻¹.
    design: Mat<f64>,
    inverse: Mat<f64>,
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
    let strongest = (0..one.kept.len()).map(|k| gram[(k, k)] * one.variance[k]).fold(0.0, f64::max);
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
    let scaled = Mat::from_fn(kept.len(), volumes, |i, t| courses[(kept[i], t)] * scale[i]);
    let kept = kept.into_iter().map(|k| one.kept[k]).collect();
    Ok(StageTwo { kept, to_product, to_beta, design: scaled, inverse })
}

/// Takes what the confounds explain out of all sums, and their rows away; they come back as volumes x rank.
///
/// With Q the confounds and d their residuals d - QQ'd: rho d' loses (rho Q)(Q'd), and a voxel's square loses |Q'd|².
fn regress_out_confounds(sums: &mut Sums, count: usize) -> Mat<f64> {
    let (rows, volumes) = (count + 2, sums.rho.ncols());
    let rank = sums.rho.nrows() - rows;
    let confounds = sums.rho.subrows(rows, rank).transpose().to_owned();
    if rank == 0 {
        return confounds;
    }
    // The row of ones has no part in the confounds: they have no mean.
    let shares = sums.rho.subrows(0, count + 1) * &confounds;
    for (tile, squares) in sums.tiles.iter_mut().zip(sums.squares.chunks_mut(TILE)) {
        let explained = tile.subrows(rows, rank);
        let mut rest = tile.subrows(0, rows).to_owned();
        let mut top = rest.as_mut().subrows_mut(0, count + 1);
        matmul(top.as_mut(), Accum::Add, shares.as_ref(), explained, -1.0, Par::Seq);
        for (v, square) in squares.iter_mut().enumerate() {
            let centred = *square - rest[(rows - 1, v)].powi(2) / volumes as f64;
            let gone: f64 = explained.col(v).iter().map(|x| x * x).sum();
            *square -= gone;
            if centred - gone <= EXPLAINED * centred {
                *square = 0.0;
                rest.col_mut(v).fill(0.0);
            }
        }
        *tile = rest;
    }
    let mut rho = sums.rho.subrows(0, rows).to_owned();
    let mut top = rho.as_mut().subrows_mut(0, count + 1);
    matmul(top.as_mut(), Accum::Add, shares.as_ref(), confounds.transpose(), -1.0, Par::Seq);
    sums.rho = rho;
    confounds
}

/// Series of the sample that took part, in whole pairs, without mean and confounds.
fn cleaned_series(sums: &Sums, confounds: &Mat<f64>) -> Mat<f64> {
    let positions = &sums.series.positions;
    let varies: Vec<bool> = positions.iter().map(|&v| sums.squares[v] > 0.0).collect();
    let pairs = (0..positions.len() / 2).filter(|n| varies[2 * n] && varies[2 * n + 1]);
    let chosen: Vec<usize> = pairs.flat_map(|n| [2 * n, 2 * n + 1]).collect();
    let mut series = sums.series.matrix(&chosen);
    for column in series.col_iter_mut() {
        let mean = column.sum() / column.nrows() as f64;
        column.iter_mut().for_each(|x| *x -= mean);
    }
    if confounds.ncols() > 0 {
        let explained = confounds * (confounds.transpose() * &series);
        series -= explained;
    }
    series
}

/// Solves both stages. `excluded` marks the voxels that were left out of the pass, `left_out` counts them, and
/// `rounding` is the variance that rounding of stored values leaves in the sample's series.
pub(super) fn solve(
    mut sums: Sums,
    maps: &GroupMaps,
    excluded: &[bool],
    left_out: LeftOut,
    rounding: f64,
    options: &Options,
) -> Result<Solution, JobError> {
    let count = maps.count();
    let confounds = regress_out_confounds(&mut sums, count);
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
    let left_out = LeftOut { constant: gone - left_out.outside - left_out.non_finite, ..left_out };
    let mut warnings = Vec::new();
    warnings.extend(left_out.judge(maps.has_brain_mask(), options.warn_left_out, options.max_left_out)?);
    let mut flags = vec![None; count];
    let one = stage_one(maps, &removed, &mut flags)?;
    let two = stage_two(&one, &sums.rho, options.des_norm, &mut flags)?;
    let unseen = maps.share_left_out(&removed).into_iter().map(|share| share >= options.max_left_out);
    for (flag, _) in flags.iter_mut().zip(unseen).filter(|(flag, unseen)| flag.is_none() && *unseen) {
        *flag = Some(Flag::LowCoverage);
    }

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
    let degrees = degrees(&Question {
        series: cleaned_series(&sums, &confounds),
        rounding,
        confounds: &confounds,
        design: &two.design,
        inverse: &two.inverse,
    })?;
    let table = (degrees.dof >= options.min_dof.max(1)).then(|| TToZ::new(degrees.dof));
    let maps_out = fill_maps(sums, maps, &two, &degrees, table.as_ref(), options);
    let peaks = maps_out.peaks.iter().zip(&flags).map(|(peak, flag)| {
        peak.map(|(strength, voxel)| Peak {
            peak_mni_mm: maps.grid().world(maps.mask()[voxel] as usize),
            peak_z: table.as_ref().filter(|_| flag.is_none()).map(|table| table.z(strength)),
        })
    });
    // Statistics of flagged components are withheld.
    let [t, z] = [maps_out.t, maps_out.z].map(|maps| {
        let mut maps = maps?;
        for (row, _) in maps.iter_mut().zip(&flags).filter(|(_, flag)| flag.is_some()) {
            row.fill(0.0);
        }
        Some(maps)
    });
    let correlations = maps_out.moments.iter().zip(0..count).map(|(moments, k)| {
        let is_own = one.kept.contains(&k) && two.kept.contains(&k);
        is_own.then(|| moments.correlation(used as f64)).flatten()
    });
    Ok(Solution {
        time_courses,
        peaks: peaks.collect(),
        correlations: correlations.collect(),
        betas: maps_out.betas,
        t,
        z,
        flags,
        removed: gone,
        degrees,
        warnings,
    })
}

/// Sums of a component's map b and its centred group map s over the voxels that took part.
#[derive(Clone, Copy, Default)]
struct Moments {
    b: f64,
    s: f64,
    bb: f64,
    ss: f64,
    bs: f64,
}

impl Moments {
    fn add(&mut self, b: f64, s: f64) {
        self.b += b;
        self.s += s;
        self.bb += b * b;
        self.ss += s * s;
        self.bs += b * s;
    }

    fn merge(&mut self, other: &Self) {
        self.b += other.b;
        self.s += other.s;
        self.bb += other.bb;
        self.ss += other.ss;
        self.bs += other.bs;
    }

    fn correlation(&self, n: f64) -> Option<f64> {
        let (bb, ss) = (self.bb - self.b * self.b / n, self.ss - self.s * self.s / n);
        let r = (self.bs - self.b * self.s / n) / (bb * ss).sqrt();
        r.is_finite().then_some(r.clamp(-1.0, 1.0))
    }
}

struct Filled {
    betas: Vec<Vec<f32>>,
    t: Option<Vec<Vec<f32>>>,
    z: Option<Vec<Vec<f32>>>,
    /// Greatest |t| of every component, with its sign and its voxel; the greatest coefficient where there is no t.
    peaks: Vec<Option<(f64, usize)>>,
    moments: Vec<Moments>,
}

/// One tile of sums with the places that its maps go to, a row a component.
struct Task<'a> {
    number: usize,
    sums: Mat<f64>,
    squares: &'a [f64],
    group: &'a Mat<f64>,
    betas: Vec<&'a mut [f32]>,
    t: Vec<&'a mut [f32]>,
    z: Vec<&'a mut [f32]>,
}

/// What a thread has found in its tiles.
struct Found {
    peaks: Vec<Option<(f64, usize)>>,
    /// Number of a tile, and the moments of all components in it.
    moments: Vec<(usize, Vec<Moments>)>,
}

/// What turns coefficients into t and z: the number of volumes, the degrees of freedom and their table.
struct Statistics<'a> {
    volumes: f64,
    dof: f64,
    table: Option<&'a TToZ>,
    /// Square roots of the diagonal of (X'X)⁻¹, where directions weigh unequally each with its component's inflation.
    spread: Vec<f64>,
}

/// Applies stage 2 to all voxels; every tile of sums is freed when its maps are written.
fn fill_maps(
    sums: Sums,
    maps: &GroupMaps,
    two: &StageTwo,
    degrees: &Degrees,
    table: Option<&TToZ>,
    options: &Options,
) -> Filled {
    let (voxels, count) = (sums.squares.len(), maps.count());
    let with_z = options.z_maps && table.is_some();
    let with_t = options.t_maps && table.is_some();
    let mut betas = vec![vec![0f32; voxels]; count];
    let mut t = vec![vec![0f32; if with_t { voxels } else { 0 }]; count];
    let mut z = vec![vec![0f32; if with_z { voxels } else { 0 }]; count];
    let mut beta_rows: Vec<_> = betas.iter_mut().map(|row| row.chunks_mut(TILE)).collect();
    let mut t_rows: Vec<_> = t.iter_mut().map(|row| row.chunks_mut(TILE)).collect();
    let mut z_rows: Vec<_> = z.iter_mut().map(|row| row.chunks_mut(TILE)).collect();
    let parts = sums.tiles.into_iter().zip(sums.squares.chunks(TILE)).zip(&maps.tiles);
    let tasks = parts.enumerate().map(|(number, ((tile, squares), group))| Task {
        number,
        sums: tile,
        squares,
        group,
        betas: beta_rows.iter_mut().filter_map(Iterator::next).collect(),
        t: t_rows.iter_mut().filter_map(Iterator::next).collect(),
        z: z_rows.iter_mut().filter_map(Iterator::next).collect(),
    });
    let statistics = Statistics {
        volumes: sums.rho.ncols() as f64,
        dof: degrees.dof as f64,
        table,
        spread: (0..two.kept.len())
            .map(|k| (two.inverse[(k, k)] * degrees.inflation.get(k).unwrap_or(&1.0)).sqrt())
            .collect(),
    };
    let queue = Mutex::new(tasks);
    let Found { peaks, mut moments } = thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads.max(1))
            .map(|_| scope.spawn(|| fill_tiles(&queue, two, &statistics, count)))
            .collect();
        let mut found = fill_tiles(&queue, two, &statistics, count);
        for other in others {
            let more = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (peak, other) in found.peaks.iter_mut().zip(more.peaks) {
                if let Some((t, voxel)) = other {
                    raise(peak, t, voxel);
                }
            }
            found.moments.extend(more.moments);
        }
        found
    });
    drop(queue);
    drop((beta_rows, t_rows, z_rows));
    // In the order of the tiles, so that threads do not change the sums.
    moments.sort_by_key(|(number, _)| *number);
    let mut sums = vec![Moments::default(); count];
    for (_, parts) in moments {
        sums.iter_mut().zip(&parts).for_each(|(sum, part)| sum.merge(part));
    }
    Filled { betas, t: with_t.then_some(t), z: with_z.then_some(z), peaks, moments: sums }
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

/// Takes tiles out of the queue until it is empty.
fn fill_tiles<'a>(
    queue: &Mutex<impl Iterator<Item = Task<'a>>>,
    two: &StageTwo,
    statistics: &Statistics<'_>,
    count: usize,
) -> Found {
    let mut found = Found { peaks: vec![None; count], moments: Vec::new() };
    loop {
        let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let Some(task) = next else { break found };
        fill_tile(task, two, statistics, &mut found);
    }
}

fn fill_tile(mut task: Task<'_>, two: &StageTwo, statistics: &Statistics<'_>, found: &mut Found) {
    let (width, first) = (task.sums.ncols(), task.number * TILE);
    let rows = two.kept.len();
    let mut beta = Mat::zeros(rows, width);
    matmul(beta.as_mut(), Accum::Replace, two.to_beta.as_ref(), task.sums.as_ref(), 1.0, Par::Seq);
    let mut product = Mat::zeros(rows, width);
    matmul(product.as_mut(), Accum::Replace, two.to_product.as_ref(), task.sums.as_ref(), 1.0, Par::Seq);
    let sum_row = task.sums.nrows() - 1;
    let deviation: Vec<f64> = (0..width)
        .map(|v| {
            let sum = task.sums[(sum_row, v)];
            let total = task.squares[v] - sum * sum / statistics.volumes;
            let fitted: f64 = beta.col(v).iter().zip(product.col(v).iter()).map(|(b, p)| b * p).sum();
            // Rounding may take a perfect fit below zero; what is left of it stands for "no residual".
            ((total - fitted).max(total * 1e-15) / statistics.dof).sqrt()
        })
        .collect();
    let mut moments = vec![Moments::default(); task.betas.len()];
    for (i, &k) in two.kept.iter().enumerate() {
        let spread = statistics.spread[i];
        for v in 0..width {
            if task.squares[v] == 0.0 {
                continue;
            }
            let b = beta[(i, v)];
            task.betas[k][v] = b as f32;
            moments[k].add(b, task.group[(k, v)]);
            let Some(table) = statistics.table else {
                raise(&mut found.peaks[k], b, first + v);
                continue;
            };
            let t = b / (spread * deviation[v]);
            raise(&mut found.peaks[k], t, first + v);
            if let Some(kept) = task.t.get_mut(k).and_then(|row| row.get_mut(v)) {
                *kept = t as f32;
            }
            if let Some(z) = task.z.get_mut(k).and_then(|row| row.get_mut(v)) {
                *z = table.z(t) as f32;
            }
        }
    }
    found.moments.push((task.number, moments));
}
