//! Rank of the data in time, and the degrees of freedom that t has.
//!
//! Filters, interpolated and repeated volumes leave fewer independent directions than there are volumes: with D = F W,
//! W white and F the filter, the residuals live in the range of F. The rank r is counted on a sample of voxels, above
//! what rounding of the stored values leaves. Where F is a projection (a sharp band, regressed confounds, every volume
//! twice) t has r + 1 - K degrees of freedom in FSL's count, which is T - K at full rank. Where it is not (gentle
//! filters, volumes interpolated from others, one volume repeated often) the directions weigh unequally, and t is that of
//! Worsley and Friston (NeuroImage 2:173, 1995): the residuals' covariance Σ says how many equal directions they stand for,
//! ν = tr(RΣ)² / tr(RΣRΣ), and what variance each contrast c has in place of RSS / ν: c'Σc RSS / tr(RΣ).
//! Σ is taken from differences of neighbouring voxels, so that networks have little part in it.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, Par, Scale, Side};
use nightread_domain::{ErrorCode, JobError, Stage};
use serde::Serialize;

/// A direction counts when its variance is above this many times that of rounding.
const OVER_ROUNDING: f64 = 1.5;
/// A direction below this share of a strong one carries no noise of its own. Strong is the first behind as many as there
/// are components, but behind no fewer than a twentieth and no more than an eighth of all.
const NEGLIGIBLE: f64 = 1e-4;
/// Rounding of double precision in the sums, as a share of the strongest direction.
const ARITHMETIC: f64 = 1e-13;
/// A filter is sharp when its last direction is so many times as strong as the first beside it, and has at least that
/// share of the median.
const SHARP: f64 = 300.0;
const LEVEL: f64 = 0.05;
/// Spread of the volumes' shares in the range of F (squared coefficient of variation) that a filter over all volumes
/// stays below; one over the rank is added, which a cosine basis has at the ends.
const EVEN: f64 = 0.02;
/// Fewer degrees of freedom than this are not looked at more closely.
const FEW: usize = 10;

/// How the degrees of freedom were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DofRule {
    /// Volumes less components and confounds.
    FullRank,
    /// The rank less the components.
    Rank,
    /// As many as equal directions would have to be for the same spread of the residual variance.
    Effective,
}

/// Degrees of freedom of one scan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Degrees {
    /// Rank of the demeaned data, confounds regressed out; `None` where the sample is too small to tell.
    pub rank: Option<usize>,
    /// Zero where nothing is left.
    pub dof: usize,
    pub rule: DofRule,
    /// By how much each component's variance differs from what equal directions would give; empty where it does not.
    pub inflation: Vec<f64>,
}

/// What is asked about.
pub(super) struct Question<'a> {
    /// Series of pairs of neighbours, volumes x voxels, without mean and confounds; none of them constant.
    pub series: Mat<f64>,
    /// Variance of rounding in a series.
    pub rounding: f64,
    /// Orthonormal confounds, volumes x rank.
    pub confounds: &'a Mat<f64>,
    /// Time courses of stage 2 without mean and confounds, components x volumes, and the inverse of their Gram matrix.
    pub design: &'a Mat<f64>,
    pub inverse: &'a Mat<f64>,
}

fn failed(what: impl std::fmt::Debug) -> JobError {
    JobError::new(Stage::Preprocess, ErrorCode::DecodeFailed, format!("the scan's rank: {what:?}"))
}

/// Mean over the voxels of the products of volumes, T x T; both triangles, of which one is computed.
fn covariance(series: &Mat<f64>) -> Mat<f64> {
    let (volumes, scale) = (series.nrows(), 1.0 / series.ncols().max(1) as f64);
    let mut out = Mat::zeros(volumes, volumes);
    let whole = BlockStructure::Rectangular;
    matmul(
        out.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        series.as_ref(),
        whole,
        series.transpose(),
        whole,
        scale,
        Par::Seq,
    );
    for column in 1..volumes {
        for row in 0..column {
            out[(row, column)] = out[(column, row)];
        }
    }
    out
}

fn columns(series: &Mat<f64>, which: impl Fn(usize) -> bool) -> Mat<f64> {
    let chosen: Vec<usize> = (0..series.ncols()).filter(|&v| which(v)).collect();
    Mat::from_fn(series.nrows(), chosen.len(), |t, v| series[(t, chosen[v])])
}

/// Finds the rank and the degrees of freedom.
///
/// # Errors
/// `decode_failed` when an eigenvalue problem does not converge: the values are not numbers.
pub(super) fn degrees(question: &Question<'_>) -> Result<Degrees, JobError> {
    let Question { series, rounding, confounds, design, .. } = question;
    let (volumes, count, components) = (series.nrows(), series.ncols(), design.nrows());
    let dimensions = (volumes - 1).saturating_sub(confounds.ncols());
    // Fewer series than volumes cannot show a full rank.
    let most = dimensions.min(count.saturating_sub(1));
    let full = Degrees {
        rank: (most == dimensions).then_some(dimensions),
        dof: (dimensions + 1).saturating_sub(components),
        rule: DofRule::FullRank,
        inflation: Vec::new(),
    };
    let strong = components.min(volumes / 8).max(volumes / 20);
    if most == 0 || is_full(series, *rounding, confounds, strong) {
        return Ok(full);
    }
    let (Spectrum { values, vectors }, floor) = spectrum(series, *rounding, strong)?;
    let rank = values.iter().take(most).take_while(|&&x| x > floor).count();
    if rank >= most {
        return Ok(full);
    }
    let by_rank = Degrees {
        rank: Some(rank),
        dof: (rank + 1).saturating_sub(components),
        rule: DofRule::Rank,
        inflation: Vec::new(),
    };
    let (last, next) = (values[rank.saturating_sub(1)], values[rank].max(f64::MIN_POSITIVE));
    let sharp = last >= SHARP * next && last >= LEVEL * values[rank / 2];
    if by_rank.dof < FEW || (sharp && is_even(&vectors, rank)) {
        return Ok(by_rank);
    }
    let (dof, inflation) = effective(question, full.dof);
    Ok(Degrees { rank: Some(rank), dof, rule: DofRule::Effective, inflation })
}

/// Largest eigenvalue of the covariance of white series of unit variance (Marchenko and Pastur).
fn edge(volumes: usize, series: usize) -> f64 {
    (1.0 + (volumes as f64 / series.max(1) as f64).sqrt()).powi(2)
}

/// Whether no direction is anywhere near the rounding or negligible: the usual case, settled by one factorisation.
fn is_full(series: &Mat<f64>, rounding: f64, confounds: &Mat<f64>, strong: usize) -> bool {
    let (volumes, pairs) = (series.nrows(), series.ncols() / 2);
    if pairs < volumes {
        return false;
    }
    // A pair for each volume is enough here.
    let part = columns(series, |v| (v / 2 * volumes / pairs) != ((v / 2 + 1) * volumes / pairs));
    let covariance = covariance(&part);
    let trace: f64 = (0..volumes).map(|t| covariance[(t, t)]).sum();
    let level = (4.0 * rounding * edge(volumes, part.ncols())).max(NEGLIGIBLE * trace / strong.max(1) as f64);
    // The mean and the confounds are no directions of the data: they are lifted out of the way.
    let lift = (trace + level) / volumes as f64;
    let lifted = covariance
        + confounds * confounds.transpose() * Scale(trace + level)
        + Mat::from_fn(volumes, volumes, |s, t| lift - if s == t { level } else { 0.0 });
    lifted.llt(Side::Lower).is_ok()
}

/// Directions with their variances, strongest first.
struct Spectrum {
    values: Vec<f64>,
    /// Directions as columns, in the order of their values.
    vectors: Mat<f64>,
}

/// The directions of one half of the pairs with the variance that the other half has in them, and the variance at and
/// below which a direction does not count. What a direction owes to the choice of voxels does not show in the other
/// half; with too few series for halves all of them serve for both, and only rounding is looked at.
fn spectrum(series: &Mat<f64>, rounding: f64, strong: usize) -> Result<(Spectrum, f64), JobError> {
    let (volumes, count) = (series.nrows(), series.ncols());
    let halves = count >= 3 * volumes;
    let [one, other] =
        [0, 1].map(|n| if halves { columns(series, |v| v / 2 % 2 == n) } else { series.clone() });
    let eigen = covariance(&one).self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let seen = eigen.U().transpose() * &other;
    let width = other.ncols().max(1) as f64;
    let mut order: Vec<(f64, usize)> =
        (0..volumes).map(|n| (seen.row(n).iter().map(|x| x * x).sum::<f64>() / width, n)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    if order.iter().any(|(x, _)| !x.is_finite()) {
        return Err(failed("not finite"));
    }
    let vectors = Mat::from_fn(volumes, volumes, |t, n| eigen.U()[(t, order[n].1)]);
    let values: Vec<f64> = order.into_iter().map(|(x, _)| x).collect();
    // Rounding turns the directions of a half a little: those without data see some of it (first-order perturbation
    // of white data, with the mean of the squared inverse eigenvalues by Marchenko and Pastur).
    let crowded = (volumes as f64 / one.ncols().max(1) as f64).min(0.6);
    let noise = if halves {
        (OVER_ROUNDING + crowded / (1.0 - crowded).powi(3)) * rounding
    } else {
        OVER_ROUNDING * edge(volumes, count) * rounding
    };
    let negligible = if halves { NEGLIGIBLE * values.get(strong).copied().unwrap_or(0.0) } else { 0.0 };
    let floor = noise.max(negligible).max(ARITHMETIC * values.first().copied().unwrap_or(0.0));
    Ok((Spectrum { values, vectors }, floor))
}

/// Whether the volumes share evenly in the range of the data. Volumes without any part in it do not count.
fn is_even(vectors: &Mat<f64>, rank: usize) -> bool {
    let shares: Vec<f64> = (0..vectors.nrows())
        .map(|t| (0..rank).map(|n| vectors[(t, n)].powi(2)).sum::<f64>())
        .filter(|&share| share > 1e-3)
        .collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let variance = shares.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / shares.len() as f64;
    variance / (mean * mean) < EVEN + 1.0 / rank as f64
}

/// Degrees of freedom of the residuals by their covariance, no more than `most`, and the inflation of every component.
fn effective(question: &Question<'_>, most: usize) -> (usize, Vec<f64>) {
    let Question { series, design, inverse, .. } = question;
    let pairs = series.ncols() / 2;
    let differences = Mat::from_fn(series.nrows(), pairs, |t, n| series[(t, 2 * n + 1)] - series[(t, 2 * n)]);
    let contrasts = *inverse * *design;
    let residuals = &differences - design.transpose() * (&contrasts * &differences);
    // With E the residuals, Σ of them is EE'/n: its trace, and that of its square without what n series add by chance.
    let n = pairs as f64;
    let trace = residuals.squared_norm_l2() / n;
    let whole = covariance(&residuals).squared_norm_l2() - trace * trace / n;
    let dof = if whole > 0.0 { (trace * trace / whole).round() as usize } else { 0 }.min(most);
    // Variance that the differences have along each contrast of unit length.
    let along = &contrasts * &differences;
    let inflation = (0..contrasts.nrows()).map(|k| {
        let length = contrasts.row(k).squared_norm_l2();
        along.row(k).squared_norm_l2() / n / length * dof as f64 / trace
    });
    (dof, inflation.collect())
}
