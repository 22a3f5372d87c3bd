//! Spatial FastICA with g(u) = u³ and symmetric decorrelation (Hyvärinen and Oja, 1997; Hyvärinen, 1999).

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::random::Random;

/// One run of the fixed-point iteration.
#[derive(Clone, Debug)]
pub(super) struct Unmixing {
    /// Orthogonal, K x K: rows unmix whitened data.
    pub rows: Mat<f64>,
    pub iterations: usize,
    pub converged: bool,
    /// Sum of squared excess kurtosis of the components: what g(u) = u³ climbs.
    pub contrast: f64,
}

impl Unmixing {
    /// One that converged is better than any that did not.
    pub fn is_better_than(&self, other: &Self) -> bool {
        (self.converged, self.contrast)
            .partial_cmp(&(other.converged, other.contrast))
            .is_some_and(std::cmp::Ordering::is_gt)
    }
}

fn broke_down() -> JobError {
    let message = "the independent component analysis broke down";
    JobError::new(Stage::Preprocess, ErrorCode::NoUsableComponents, message)
}

/// W <- (W W')^(-1/2) W.
fn decorrelate(rows: &Mat<f64>) -> Result<Mat<f64>, JobError> {
    let eigen = (rows * rows.transpose()).self_adjoint_eigen(Side::Lower).map_err(|_| broke_down())?;
    let n = rows.nrows();
    if (0..n).any(|i| eigen.S()[i].is_nan() || eigen.S()[i] <= 0.0) {
        return Err(broke_down());
    }
    let scaled = Mat::from_fn(n, n, |i, j| eigen.U()[(i, j)] / eigen.S()[j].sqrt());
    Ok(&scaled * eigen.U().transpose() * rows)
}

/// Runs the iteration from a random orthogonal start on whitened data `z`, tiles of K x voxels with unit covariance.
pub(super) fn run(
    z: &[Mat<f64>],
    random: &mut Random,
    max_iterations: usize,
    tolerance: f64,
    par: Par,
) -> Result<Unmixing, JobError> {
    let count = z.first().map_or(0, Mat::nrows);
    let voxels: usize = z.iter().map(Mat::ncols).sum();
    let mut rows = decorrelate(&Mat::from_fn(count, count, |_, _| random.normal()))?;
    let mut u = Mat::zeros(count, z.iter().map(Mat::ncols).max().unwrap_or(0));
    let mut iterations = 0;
    loop {
        iterations += 1;
        let mut next = Mat::zeros(count, count);
        let mut fourth = vec![0.0; count];
        for tile in z {
            let mut u = u.as_mut().subcols_mut(0, tile.ncols());
            matmul(u.as_mut(), Accum::Replace, rows.as_ref(), tile.as_ref(), 1.0, par);
            for column in u.as_mut().col_iter_mut() {
                for (x, fourth) in column.iter_mut().zip(&mut fourth) {
                    let square = *x * *x;
                    *fourth += square * square;
                    *x *= square;
                }
            }
            matmul(next.as_mut(), Accum::Add, u.as_ref(), tile.transpose(), 1.0 / voxels as f64, par);
        }
        let contrast = fourth.iter().map(|sum| (sum / voxels as f64 - 3.0).powi(2)).sum();
        // E{z g(w'z)} - E{g'(w'z)} w, with E{g'} = 3 E{u²} = 3.
        let next = decorrelate(&(next - 3.0 * &rows))?;
        let change = (0..count)
            .map(|k| {
                (1.0 - next.row(k).iter().zip(rows.row(k).iter()).map(|(a, b)| a * b).sum::<f64>().abs())
                    .abs()
            })
            .fold(0.0, f64::max);
        rows = next;
        let converged = change < tolerance;
        if converged || iterations >= max_iterations {
            return Ok(Unmixing { rows, iterations, converged, contrast });
        }
    }
}
