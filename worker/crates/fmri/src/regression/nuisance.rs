//! What is taken out of a scan before both regressions: volumes, and what confounds explain of the others.

use faer::Mat;
use nightread_domain::{ErrorCode, JobError, Stage};

/// A confound that keeps less than this share of its length beside those before it says nothing of its own.
const DEPENDENT: f64 = 1e-10;

/// Volumes that are left out, and confounds that are regressed out of the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nuisance {
    /// Whether each volume of the file is left out; empty where none is.
    pub left_out: Vec<bool>,
    /// Confounds, each a value for every volume of the file. Those of volumes left out are not looked at.
    pub columns: Vec<Vec<f64>>,
}

/// The same, made ready for one scan.
#[derive(Debug)]
pub(super) struct Plan {
    left_out: Vec<bool>,
    /// Orthonormal columns without a mean over the volumes that count, volumes x rank.
    pub confounds: Mat<f64>,
}

fn refuse(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::ConfoundsInvalid, message)
}

impl Plan {
    /// Confounds are centred and scaled over the volumes that count; one that does not vary there, or that the others
    /// explain, has no say.
    ///
    /// # Errors
    /// `confounds_invalid` when the lengths differ from the number of volumes, or a value that counts is not finite.
    pub(super) fn new(nuisance: &Nuisance, volumes: usize) -> Result<Self, JobError> {
        let lengths = nuisance.columns.iter().map(Vec::len);
        let marked = (!nuisance.left_out.is_empty()).then_some(nuisance.left_out.len());
        if let Some(length) = lengths.chain(marked).find(|&length| length != volumes) {
            return Err(refuse(format!("the confounds have {length} rows, the scan has {volumes} volumes")));
        }
        let left_out = nuisance.left_out.clone();
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for column in &nuisance.columns {
            let kept = column.iter().enumerate().filter(|(t, _)| !left_out.get(*t).is_some_and(|&out| out));
            let mut kept: Vec<f64> = kept.map(|(_, &x)| x).collect();
            if kept.iter().any(|x| !x.is_finite()) {
                return Err(refuse("a confound is not finite in a volume that counts"));
            }
            if orthogonalise(&mut kept, &basis) {
                basis.push(kept);
            }
        }
        let rows = volumes - left_out.iter().filter(|&&out| out).count();
        Ok(Self { left_out, confounds: Mat::from_fn(rows, basis.len(), |t, c| basis[c][t]) })
    }

    pub(super) fn leaves_out(&self, volume: usize) -> bool {
        self.left_out.get(volume).is_some_and(|&out| out)
    }

    /// How many of a file's volumes count.
    pub(super) fn volumes(&self, all: usize) -> usize {
        all - self.left_out.iter().filter(|&&out| out).count()
    }

    pub(super) fn rank(&self) -> usize {
        self.confounds.ncols()
    }
}

fn length(column: &[f64]) -> f64 {
    column.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Centres a column, takes the others out of it (twice: once leaves rounding behind) and scales it to length one.
/// False when nothing is left.
fn orthogonalise(column: &mut [f64], others: &[Vec<f64>]) -> bool {
    let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
    let largest = column.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    for x in column.iter_mut() {
        *x -= mean;
    }
    let whole = length(column);
    // What centring leaves of a constant is rounding.
    if whole <= 1e-14 * largest * (column.len() as f64).sqrt() {
        return false;
    }
    for _ in 0..2 {
        for other in others {
            let share: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
            column.iter_mut().zip(other).for_each(|(x, o)| *x -= share * o);
        }
    }
    let left = length(column);
    if left <= DEPENDENT * whole {
        return false;
    }
    for x in column.iter_mut() {
        *x /= left;
    }
    true
}
