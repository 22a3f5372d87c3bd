//! Choosing the columns of a design that can be solved for, by a Cholesky factorisation in order that skips.

use faer::Mat;

/// A column counts as dependent when less than this share of its variance is left after the columns before it.
const TOLERANCE: f64 = 1e-9;

/// Which columns to solve for.
pub(super) struct Selection {
    /// Indices that are kept, ascending.
    pub kept: Vec<usize>,
    /// Indices without variance of their own.
    pub empty: Vec<usize>,
    /// Indices that the kept ones before them explain.
    pub dependent: Vec<usize>,
}

/// Goes through a symmetric positive semi-definite Gram matrix in order and keeps every column that is not explained
/// by those kept before it. `floor[k]` is the variance at and below which column k counts as empty.
pub(super) fn select(gram: &Mat<f64>, floor: impl Fn(usize) -> f64) -> Selection {
    let mut out = Selection { kept: Vec::new(), empty: Vec::new(), dependent: Vec::new() };
    // Rows of the Cholesky factor of the kept columns, scaled to unit diagonal.
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for k in 0..gram.nrows() {
        let own = gram[(k, k)];
        if own.is_nan() || own <= floor(k) {
            out.empty.push(k);
            continue;
        }
        let mut row = Vec::with_capacity(rows.len() + 1);
        for (j, &kept) in out.kept.iter().enumerate() {
            let correlation = gram[(k, kept)] / (own * gram[(kept, kept)]).sqrt();
            let known: f64 = row.iter().zip(&rows[j]).map(|(a, b): (&f64, &f64)| a * b).sum();
            row.push((correlation - known) / rows[j][j]);
        }
        let left = 1.0 - row.iter().map(|x| x * x).sum::<f64>();
        if left <= TOLERANCE {
            out.dependent.push(k);
        } else {
            row.push(left.sqrt());
            rows.push(row);
            out.kept.push(k);
        }
    }
    out
}

/// The rows and columns of a matrix at the given indices.
pub(super) fn submatrix(matrix: &Mat<f64>, indices: &[usize]) -> Mat<f64> {
    Mat::from_fn(indices.len(), indices.len(), |i, j| matrix[(indices[i], indices[j])])
}
