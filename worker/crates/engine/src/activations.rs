//! From logits to probabilities and back, in double precision.

/// The logistic function `1 / (1 + exp(-x))`, without overflow on either side.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// The furthest that log-odds are told: the logistic function of it is 1 in double precision.
const MOST_LOG_ODDS: f64 = 100.0;

/// `ln(p / (1 - p))`, the inverse of the logistic function, cut at -100 and 100.
pub fn log_odds(p: f64) -> f64 {
    (p.ln() - (-p).ln_1p()).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)
}

/// `exp(x_i) / sum exp(x_j)`, shifted by the largest logit so that nothing overflows. Empty in, empty out.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|x| (f64::from(*x) - f64::from(largest)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// TorchXRayVision's `op_norm`: piecewise linear, 0 to 0, the operating point to 0.5, 1 to 1.
///
/// `p < t: p / 2t`, else `1 - (1 - p) / 2(1 - t)`, for `p` in [0, 1] and `t` in (0, 1).
pub fn op_norm(p: f64, t: f64) -> f64 {
    if p < t { p / (2.0 * t) } else { 1.0 - (1.0 - p) / (2.0 * (1.0 - t)) }
}
