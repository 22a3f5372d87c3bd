//! Network matrices of a scan: how the time courses of its components go together.
//!
//! - correlation: Pearson's r of two courses over the volumes that took part;
//! - partial correlation: r of two courses without what the others explain, -P_ij / sqrt(P_ii P_jj), with P the inverse of
//!   the courses' covariance. The courses are standardised, and their covariance is shrunk towards a multiple of the
//!   identity by the share of Ledoit and Wolf (2004), because a scan has few volumes for as many components;
//! - Fisher's z: atanh(r).
//!
//! The same as nilearn's `ConnectivityMeasure` on standardised courses, with scikit-learn's `EmpiricalCovariance` for the
//! correlation and its `LedoitWolf` for the partial correlation.

use std::io::{self, Write};

use faer::linalg::solvers::{DenseSolveCore, Llt};
use faer::{Mat, Side};

/// A course that varies by no more than this share of its greatest value is constant but for rounding.
const CONSTANT: f64 = 1e-12;

/// Courses of which the others explain all but this share have no partial correlation: what is left is rounding.
const EXPLAINED: f64 = 1e-9;

/// One value for every two components; `None` where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkMatrix {
    size: usize,
    values: Vec<Option<f64>>,
}

impl NetworkMatrix {
    fn undefined(size: usize) -> Self {
        Self { size, values: vec![None; size * size] }
    }

    /// Number of components, K.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The value of two components; `None` where one has no course of its own, and for indices that are none.
    pub fn get(&self, row: usize, column: usize) -> Option<f64> {
        let inside = row < self.size && column < self.size;
        inside.then(|| self.values.get(row * self.size + column).copied().flatten()).flatten()
    }

    /// K rows of K values.
    pub fn rows(&self) -> impl Iterator<Item = &[Option<f64>]> {
        self.values.chunks(self.size.max(1))
    }

    /// Fisher's z of every correlation: atanh(r). There is none on the diagonal, nor for r of 1 or -1.
    #[must_use]
    pub fn fisher_z(&self) -> Self {
        let z = self.values.iter().map(|r| r.map(f64::atanh).filter(|z| z.is_finite()));
        let mut values: Vec<Option<f64>> = z.collect();
        for k in 0..self.size {
            // A component's own correlation may be a rounding away from one.
            values[k * self.size + k] = None;
        }
        Self { size: self.size, values }
    }

    /// Writes the matrix as tab-separated text: a header line, a row and a column for each component, its name first in its
    /// row, and `n/a` where there is no value. This is XCP-D's form of a `relmat.tsv`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write<W: Write>(&self, mut writer: W) -> io::Result<()> {
        let names: Vec<String> = (0..self.size).map(|k| format!("component_{k:03}")).collect();
        writeln!(writer, "Node\t{}", names.join("\t"))?;
        for (name, row) in names.iter().zip(self.rows()) {
            write!(writer, "{name}")?;
            for value in row {
                match value {
                    Some(value) => write!(writer, "\t{value:.9e}")?,
                    None => write!(writer, "\tn/a")?,
                }
            }
            writeln!(writer)?;
        }
        writer.flush()
    }
}

/// The network matrices of one scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Connectivity {
    pub correlation: NetworkMatrix,
    pub partial: NetworkMatrix,
    /// Share by which the covariance behind the partial correlations was shrunk, in [0, 1]; absent where there are none.
    pub shrinkage: Option<f64>,
}

/// Network matrices of time courses: T rows of `count` values, as [`crate::DualRegression`] has them.
///
/// A course that is constant or not finite (a component that was left out) has no correlation with any other, and the
/// partial correlations are those of the other courses. All are undefined with fewer than three rows; so are the partial
/// correlations of courses that cannot be told apart.
pub fn connectivity(courses: &[f64], count: usize) -> Connectivity {
    let mut out = Connectivity {
        correlation: NetworkMatrix::undefined(count),
        partial: NetworkMatrix::undefined(count),
        shrinkage: None,
    };
    let rows = courses.len().checked_div(count).unwrap_or_default();
    if rows < 3 || rows * count != courses.len() {
        return out;
    }
    let standard: Vec<Option<Vec<f64>>> = (0..count).map(|k| standardised(courses, count, k)).collect();
    let kept: Vec<usize> = (0..count).filter(|&k| standard[k].is_some()).collect();
    let columns: Vec<&Vec<f64>> = standard.iter().flatten().collect();
    if columns.is_empty() {
        return out;
    }
    let x = Mat::from_fn(rows, columns.len(), |t, k| columns[k][t]);
    let correlation = (x.transpose() * &x) * faer::Scale(1.0 / rows as f64);
    for (i, &row) in kept.iter().enumerate() {
        for (j, &column) in kept.iter().enumerate() {
            let r = if i == j { 1.0 } else { correlation[(i, j)].clamp(-1.0, 1.0) };
            out.correlation.values[row * count + column] = Some(r);
        }
    }
    let shrinkage = ledoit_wolf(&x, &correlation);
    if let Some(precision) = precision(&correlation, shrinkage) {
        out.shrinkage = Some(shrinkage);
        for (i, &row) in kept.iter().enumerate() {
            for (j, &column) in kept.iter().enumerate() {
                let r = -precision[(i, j)] / (precision[(i, i)] * precision[(j, j)]).sqrt();
                let r = if i == j { 1.0 } else { r.clamp(-1.0, 1.0) };
                out.partial.values[row * count + column] = Some(r);
            }
        }
    }
    out
}

/// Course `k` without its mean and of mean square one; `None` for one that does not vary.
fn standardised(courses: &[f64], count: usize, k: usize) -> Option<Vec<f64>> {
    let mut column: Vec<f64> = courses.chunks(count).filter_map(|row| row.get(k).copied()).collect();
    let rows = column.len() as f64;
    let largest = column.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let mean = column.iter().sum::<f64>() / rows;
    for x in &mut column {
        *x -= mean;
    }
    let deviation = (column.iter().map(|x| x * x).sum::<f64>() / rows).sqrt();
    // Comparisons with NaN are false.
    if !(deviation.is_finite() && deviation > CONSTANT * largest) {
        return None;
    }
    for x in &mut column {
        *x /= deviation;
    }
    Some(column)
}

/// The share by which the covariance `s` of the standardised rows `x` (T x K) is shrunk: Ledoit and Wolf, "A
/// well-conditioned estimator for large-dimensional covariance matrices" (2004), with the mean variance, here one, as target.
fn ledoit_wolf(x: &Mat<f64>, s: &Mat<f64>) -> f64 {
    let (rows, size) = (x.nrows() as f64, x.ncols() as f64);
    if x.ncols() < 2 {
        return 0.0;
    }
    let squares = x.row_iter().map(|row| row.iter().map(|x| x * x).sum::<f64>().powi(2));
    let spread = squares.sum::<f64>() / rows;
    let norm: f64 = s.col_iter().flat_map(|column| column.iter().map(|x| x * x)).sum();
    let trace: f64 = (0..s.nrows()).map(|k| s[(k, k)]).sum();
    let mean = trace / size;
    let delta = (norm - 2.0 * mean * trace + size * mean * mean) / size;
    let beta = ((spread - norm) / (size * rows)).min(delta);
    if beta > 0.0 { beta / delta } else { 0.0 }
}

/// The inverse of the shrunk correlations; `None` where they have none.
fn precision(correlation: &Mat<f64>, shrinkage: f64) -> Option<Mat<f64>> {
    let size = correlation.nrows();
    let shrunk = Mat::from_fn(size, size, |i, j| {
        (1.0 - shrinkage) * correlation[(i, j)] + if i == j { shrinkage } else { 0.0 }
    });
    let inverse = Llt::new(shrunk.as_ref(), Side::Lower).ok()?.inverse();
    // The inverse's diagonal is one over the share that the others do not explain.
    let sound = (0..size).all(|k| inverse[(k, k)].is_finite() && inverse[(k, k)] * EXPLAINED < 1.0);
    sound.then_some(inverse)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_course_that_says_nothing_has_no_correlations() {
        let courses: Vec<f64> = (0..40)
            .flat_map(|t| {
                let t = f64::from(t);
                [t.sin(), 0.0, (t * 0.3).cos() + t.sin(), 0.1 + 0.2, f64::NAN]
            })
            .collect();
        let found = connectivity(&courses, 5);
        for k in [1, 3, 4] {
            assert!(
                (0..5).all(|j| found.correlation.get(k, j).is_none() && found.partial.get(j, k).is_none())
            );
        }
        assert_eq!(found.correlation.get(0, 0), Some(1.0));
        let two = connectivity(&courses.chunks(5).flat_map(|row| [row[0], row[2]]).collect::<Vec<_>>(), 2);
        assert_eq!(found.correlation.get(0, 2), two.correlation.get(0, 1));
        assert_eq!(found.partial.get(0, 2), two.partial.get(0, 1));
        assert_eq!(found.shrinkage, two.shrinkage);
        let mut text = Vec::new();
        found.correlation.fisher_z().write(&mut text).expect("memory takes it");
        let text = String::from_utf8(text).expect("text");
        assert!(text.starts_with("Node\tcomponent_000\tcomponent_001\t") && text.lines().count() == 6);
        assert!(
            text.lines().nth(1).is_some_and(|row| row.starts_with("component_000\tn/a\tn/a\t")),
            "{text}"
        );
    }

    #[test]
    fn too_little_is_undefined_and_not_zero() {
        for (courses, count) in [(vec![], 0), (vec![], 3), (vec![1.0, 2.0, 4.0, 3.0], 2), (vec![1.0; 7], 2)] {
            let found = connectivity(&courses, count);
            assert!(found.correlation.rows().flatten().all(Option::is_none));
            assert_eq!((found.correlation.size(), found.shrinkage), (count, None));
        }
    }

    /// Two courses that are one: their correlation is 1 and has no z.
    #[test]
    fn equal_courses_have_no_fisher_z() {
        let courses: Vec<f64> =
            (0..30).flat_map(|t| [f64::from(t).sin(), 3.0 * f64::from(t).sin()]).collect();
        let found = connectivity(&courses, 2);
        assert!((found.correlation.get(0, 1).expect("r") - 1.0).abs() < 1e-12);
        assert!(found.correlation.fisher_z().get(0, 1).is_none_or(|z| z > 13.0));
    }

    proptest! {
        #[test]
        fn matrices_are_symmetric_bounded_and_blind_to_scale(
            values in prop::collection::vec(-10.0..10.0f64, 60),
            scale in 0.01..1000.0f64,
            shift in -100.0..100.0f64,
        ) {
            let found = connectivity(&values, 4);
            let other: Vec<f64> =
                values.iter().enumerate().map(|(n, x)| if n % 4 == 2 { x * scale + shift } else { *x }).collect();
            let other = connectivity(&other, 4);
            for (matrix, scaled) in [(&found.correlation, &other.correlation), (&found.partial, &other.partial)] {
                for i in 0..4 {
                    for j in 0..4 {
                        let (Some(a), Some(b)) = (matrix.get(i, j), matrix.get(j, i)) else { continue };
                        prop_assert!((a - b).abs() < 1e-9 && a.abs() <= 1.0);
                        let c = scaled.get(i, j).unwrap_or(f64::NAN);
                        prop_assert!((a - c).abs() < 1e-6, "{a} is not {c}");
                    }
                }
            }
        }
    }
}
