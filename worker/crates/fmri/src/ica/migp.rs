//! MIGP: a cohort's concatenated runs, kept as a bounded number of rows (Smith et al., NeuroImage 101:738, 2014).

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use nightread_domain::{ErrorCode, JobError, Stage};

/// Voxels of one tile; a Gram matrix is summed over tiles in double precision.
const TILE: usize = 2048;

/// Rows of single precision, cut into tiles of voxels.
pub(super) type Tiles = Vec<Mat<f32>>;

/// The bounded state: at most `factor * keep` rows and one run's more, whatever the number of runs.
#[derive(Debug)]
pub(super) struct Migp {
    keep: usize,
    voxels: usize,
    tiles: Tiles,
}

/// Rows are reduced when there are more than this many times the number that is kept.
const FACTOR: usize = 2;

impl Migp {
    /// `keep`: rows that a reduction leaves.
    pub fn new(voxels: usize, keep: usize) -> Self {
        let tiles = widths(voxels).map(|width| Mat::zeros(0, width)).collect();
        Self { keep, voxels, tiles }
    }

    pub fn rows(&self) -> usize {
        self.tiles.first().map_or(0, Mat::nrows)
    }

    /// Appends a run (rows of V values), tile by tile so that nothing is held twice, and reduces when there are too many
    /// rows.
    pub fn append(&mut self, run: Tiles, par: Par) -> Result<(), JobError> {
        if self.rows() == 0 {
            self.tiles = run;
        } else {
            for (tile, more) in self.tiles.iter_mut().zip(run) {
                let (old, width) = (tile.nrows(), tile.ncols());
                let mut grown = Mat::zeros(old + more.nrows(), width);
                grown.subrows_mut(0, old).copy_from(&*tile);
                grown.subrows_mut(old, more.nrows()).copy_from(&more);
                *tile = grown;
            }
        }
        if self.rows() > FACTOR * self.keep { self.reduce(par) } else { Ok(()) }
    }

    /// Reduces before a run of so many volumes is read, if that has more rows than are kept: beside such a run there is
    /// room for no more.
    pub fn make_room(&mut self, volumes: usize, par: Par) -> Result<(), JobError> {
        if volumes > self.keep && self.rows() > self.keep { self.reduce(par) } else { Ok(()) }
    }

    /// W <- U'W keeps the weight of every direction; nothing is whitened.
    fn reduce(&mut self, par: Par) -> Result<(), JobError> {
        let (vectors, _) = strongest(&gram(&self.tiles, par), self.keep)?;
        let turn = Mat::from_fn(vectors.ncols(), vectors.nrows(), |i, j| vectors[(j, i)] as f32);
        for tile in &mut self.tiles {
            let mut reduced = Mat::zeros(turn.nrows(), tile.ncols());
            matmul(reduced.as_mut(), Accum::Replace, turn.as_ref(), tile.as_ref(), 1.0, par);
            *tile = reduced;
        }
        Ok(())
    }

    /// Takes voxels out and removes every row's mean over those that stay.
    pub fn finish(self, keep: &[bool]) -> Tiles {
        let rows = self.rows();
        let used = keep.iter().filter(|&&x| x).count();
        let mut mean = vec![0.0f64; rows];
        for (tile, keep) in self.tiles.iter().zip(keep.chunks(TILE)) {
            for (column, _) in tile.col_iter().zip(keep).filter(|(_, keep)| **keep) {
                for (mean, &x) in mean.iter_mut().zip(column.iter()) {
                    *mean += f64::from(x) / used as f64;
                }
            }
        }
        debug_assert_eq!(keep.len(), self.voxels);
        let mut out = Tiles::new();
        // Each tile goes as its successor is made.
        for (tile, keep) in self.tiles.into_iter().zip(keep.chunks(TILE)) {
            let chosen: Vec<usize> = (0..tile.ncols()).filter(|&v| keep[v]).collect();
            out.push(Mat::from_fn(rows, chosen.len(), |r, v| {
                (f64::from(tile[(r, chosen[v])]) - mean[r]) as f32
            }));
        }
        out
    }
}

/// Widths of the tiles of V voxels.
pub(super) fn widths(voxels: usize) -> impl Iterator<Item = usize> {
    (0..voxels).step_by(TILE).map(move |first| TILE.min(voxels - first))
}

/// W W', summed over tiles in double precision.
pub(super) fn gram(tiles: &Tiles, par: Par) -> Mat<f64> {
    let rows = tiles.first().map_or(0, Mat::nrows);
    let mut sum = Mat::<f64>::zeros(rows, rows);
    let mut part = Mat::<f32>::zeros(rows, rows);
    for tile in tiles {
        matmul(part.as_mut(), Accum::Replace, tile.as_ref(), tile.transpose(), 1.0, par);
        for (sum, part) in sum.col_iter_mut().zip(part.col_iter()) {
            for (sum, part) in sum.iter_mut().zip(part.iter()) {
                *sum += f64::from(*part);
            }
        }
    }
    sum
}

/// The strongest eigenvectors of a symmetric matrix as columns, with their eigenvalues, descending.
pub(super) fn strongest(matrix: &Mat<f64>, count: usize) -> Result<(Mat<f64>, Vec<f64>), JobError> {
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| {
        JobError::new(Stage::Preprocess, ErrorCode::NonFiniteVoxels, "the scans' covariance is not finite")
    })?;
    let n = matrix.nrows();
    let count = count.min(n);
    let vectors = Mat::from_fn(n, count, |i, j| eigen.U()[(i, n - 1 - j)]);
    let values = (0..count).map(|j| eigen.S()[n - 1 - j]).collect();
    Ok((vectors, values))
}
