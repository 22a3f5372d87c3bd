//! One pass over a scan: sums from which both stages follow, in memory that does not grow with the volumes.
//!
//! With the pivot p (the first volume), d_t = y_t - p, X the maps centred over the mask and ones:
//! rho_t = X d_t, and A = sum_t [rho_t; 1] d_t' is (K + 2) x V. Both stages are affine in these.
//! A voxel that never changes has d = 0 throughout and adds exactly nothing, so that constant, excluded and
//! out-of-view voxels are all taken out at the end, by their share of X alone.
//!
//! Confounds q_t (orthonormal over the volumes that count, without a mean) add their products with d to A; they are
//! regressed out of the sums at the end, because what they explain is linear in these. The pivot has no part in it.

use std::sync::mpsc::sync_channel;
use std::thread;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use nightread_domain::JobError;
use nightread_volume::{Sampling, VolumeStream};

use super::maps::{GroupMaps, TILE};
use super::nuisance::Plan;
use super::series::Series;

/// Volumes of one block: rank-one updates of A would be bound by memory traffic, blocks are not.
const BLOCK: usize = 24;

/// What one pass over a scan leaves behind.
pub(super) struct Sums {
    /// Tiles of A, (K + 2 + confounds) x voxels.
    pub tiles: Vec<Mat<f64>>,
    /// Sum of d² at every voxel; zero marks the voxels that never changed.
    pub squares: Vec<f64>,
    /// Sum over the voxels of the squared change from the volume before, for each volume that counts; zero for the first.
    pub steps: Vec<f64>,
    /// rho_t with a one and the confounds below, (K + 2 + confounds) x T.
    pub rho: Mat<f64>,
    /// A sample of voxels as time series.
    pub series: Series,
    /// The first volume.
    pub pivot: Vec<f64>,
    /// Bytes of the file after the last volume.
    pub trailing: u64,
}

/// The end of a pass.
pub(super) enum Pass {
    Done(Box<Sums>),
    /// Voxels that held NaN or infinity in some volume: the scan has to be read once more without them.
    NonFinite(Vec<usize>),
}

/// Reads volumes at the mask's voxels, as deviations from the first.
struct Reader<'a> {
    stream: VolumeStream<'a>,
    sampling: &'a Sampling,
    /// Voxels left out, in the mask's order.
    excluded: &'a [bool],
    plan: &'a Plan,
    pivot: Vec<f64>,
    non_finite: Vec<bool>,
    any_non_finite: bool,
    /// Volumes read, and those of them that count.
    read: usize,
    volumes: usize,
}

impl Reader<'_> {
    /// Fills up to `BLOCK` rows of V deviations; the number of rows, zero at the end.
    fn fill(&mut self, block: &mut Vec<f64>) -> Result<usize, JobError> {
        let voxels = self.excluded.len();
        block.resize(BLOCK * voxels, 0.0);
        let mut rows = 0;
        for row in block.chunks_exact_mut(voxels) {
            while self.plan.leaves_out(self.read) && self.stream.next_volume()?.is_some() {
                self.read += 1;
            }
            let Some(raw) = self.stream.next_volume()? else { break };
            self.read += 1;
            raw.sample(self.sampling, row);
            rows += 1;
            self.volumes += 1;
            if self.volumes == 1 {
                self.pivot.copy_from_slice(row);
            }
            for (v, (x, pivot)) in row.iter_mut().zip(&mut self.pivot).enumerate() {
                if self.excluded[v] {
                    (*x, *pivot) = (0.0, 0.0);
                } else if x.is_finite() {
                    *x -= *pivot;
                } else {
                    self.non_finite[v] = true;
                    self.any_non_finite = true;
                }
            }
        }
        Ok(rows)
    }
}

/// The sums while they grow.
struct Accumulator<'a> {
    maps: &'a GroupMaps,
    plan: &'a Plan,
    tiles: Vec<Mat<f64>>,
    squares: Vec<f64>,
    steps: Vec<f64>,
    /// The last volume of the block before.
    last: Vec<f64>,
    /// Columns of rho, K + 2 + confounds each.
    rho: Vec<f64>,
    /// Columns of rho so far.
    volumes: usize,
    series: Series,
}

impl Accumulator<'_> {
    fn add(&mut self, block: &[f64], rows: usize) {
        let voxels = self.squares.len();
        let count = self.maps.count();
        let volumes = MatRef::from_row_major_slice(&block[..rows * voxels], rows, voxels);
        let confounds = &self.plan.confounds;
        let mut rho = Mat::zeros(count + 2 + confounds.ncols(), rows);
        for (n, x) in self.maps.tiles.iter().enumerate() {
            let d = volumes.subcols(n * TILE, x.ncols());
            matmul(
                rho.as_mut().subrows_mut(0, count + 1),
                Accum::Add,
                x.as_ref(),
                d.transpose(),
                1.0,
                Par::Seq,
            );
        }
        rho.row_mut(count + 1).fill(1.0);
        for (c, column) in confounds.col_iter().enumerate() {
            for (t, cell) in rho.row_mut(count + 2 + c).iter_mut().enumerate() {
                *cell = column[self.volumes + t];
            }
        }
        self.volumes += rows;
        self.series.add(&block[..rows * voxels], voxels);
        for (n, tile) in self.tiles.iter_mut().enumerate() {
            let d = volumes.subcols(n * TILE, tile.ncols());
            matmul(tile.as_mut(), Accum::Add, rho.as_ref(), d, 1.0, Par::Seq);
        }
        for row in block[..rows * voxels].chunks_exact(voxels) {
            for (sum, x) in self.squares.iter_mut().zip(row) {
                *sum += x * x;
            }
        }
        self.add_steps(&block[..rows * voxels]);
        self.rho.extend(rho.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<_>>()));
    }
}

impl Accumulator<'_> {
    fn add_steps(&mut self, block: &[f64]) {
        let voxels = self.last.len();
        // The first volume is the pivot, so that it does not deviate from what `last` begins with.
        let before = std::iter::once(&self.last[..]).chain(block.chunks_exact(voxels));
        let steps = before
            .zip(block.chunks_exact(voxels))
            .map(|(one, other)| one.iter().zip(other).map(|(one, other)| (other - one).powi(2)).sum::<f64>());
        self.steps.extend(steps);
        if let Some(last) = block.chunks_exact(voxels).next_back() {
            self.last.copy_from_slice(last);
        }
    }
}

/// Passes over a scan once. With more than one thread, reading and inflating run beside the arithmetic.
pub(super) fn pass(
    stream: VolumeStream<'_>,
    maps: &GroupMaps,
    sampling: &Sampling,
    excluded: &[bool],
    plan: &Plan,
    threads: usize,
) -> Result<Pass, JobError> {
    let voxels = excluded.len();
    let rows = maps.count() + 2 + plan.confounds.ncols();
    let volumes = plan.volumes(stream.header().volumes);
    let mut reader = Reader {
        stream,
        sampling,
        excluded,
        plan,
        pivot: vec![0.0; voxels],
        non_finite: vec![false; voxels],
        any_non_finite: false,
        read: 0,
        volumes: 0,
    };
    let mut sums = Accumulator {
        maps,
        plan,
        tiles: maps.tiles.iter().map(|x| Mat::zeros(rows, x.ncols())).collect(),
        squares: vec![0.0; voxels],
        steps: Vec::with_capacity(volumes),
        last: vec![0.0; voxels],
        rho: Vec::new(),
        volumes: 0,
        series: Series::new(volumes),
    };
    if threads > 1 {
        beside(&mut reader, &mut sums)?;
    } else {
        let mut block = Vec::new();
        loop {
            let rows = reader.fill(&mut block)?;
            if rows == 0 {
                break;
            }
            // A pass that met NaN only goes on to find all of them.
            if !reader.any_non_finite {
                sums.add(&block, rows);
            }
        }
    }
    let Reader { stream, pivot, non_finite, any_non_finite, .. } = reader;
    let trailing = stream.finish()?;
    if any_non_finite {
        return Ok(Pass::NonFinite((0..voxels).filter(|&v| non_finite[v]).collect()));
    }
    let Accumulator { tiles, squares, steps, rho, volumes, series, .. } = sums;
    let rho = MatRef::from_column_major_slice(&rho, rows, volumes).to_owned();
    Ok(Pass::Done(Box::new(Sums { tiles, squares, steps, rho, series, pivot, trailing })))
}

/// Two blocks go round between a reading thread and this one.
fn beside(reader: &mut Reader<'_>, sums: &mut Accumulator<'_>) -> Result<(), JobError> {
    thread::scope(|scope| {
        let (full_tx, full_rx) = sync_channel::<(Vec<f64>, usize)>(1);
        let (empty_tx, empty_rx) = sync_channel::<Vec<f64>>(2);
        // The channel has room for both.
        for _ in 0..2 {
            let _ = empty_tx.send(Vec::new());
        }
        let reading = scope.spawn(move || -> Result<(), JobError> {
            // Either channel closes only when the other side has gone: by a panic, which the scope passes on.
            while let Ok(mut block) = empty_rx.recv() {
                let rows = reader.fill(&mut block)?;
                if rows == 0 {
                    break;
                }
                let used = if reader.any_non_finite { 0 } else { rows };
                if full_tx.send((block, used)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        for (block, rows) in full_rx {
            if rows > 0 {
                sums.add(&block, rows);
            }
            let _ = empty_tx.send(block);
        }
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
