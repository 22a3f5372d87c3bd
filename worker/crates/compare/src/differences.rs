//! How far numbers lie apart.

use serde::Serialize;

/// Differences B - A of one number over pairs. Each figure is `None` where it is undefined.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Differences {
    /// Pairs that have the number on both sides.
    pub pairs: usize,
    pub mean: Option<f64>,
    /// Standard deviation, with n - 1.
    pub sd: Option<f64>,
    /// Bland-Altman limits of agreement: mean - 1.96 SD, mean + 1.96 SD (Bland and Altman 1986).
    pub limits_of_agreement: Option<[f64; 2]>,
    pub mean_absolute: Option<f64>,
    pub greatest_absolute: Option<f64>,
    pub least: Option<f64>,
    pub p1: Option<f64>,
    pub p5: Option<f64>,
    pub p25: Option<f64>,
    pub median: Option<f64>,
    pub p75: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub greatest: Option<f64>,
}

impl Differences {
    /// Of finite differences, in any order.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let pairs = values.len();
        if pairs == 0 {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / pairs as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (pairs > 1).then(|| (squares / (pairs - 1) as f64).sqrt());
        let shares = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];
        let [least, p1, p5, p25, median, p75, p95, p99, greatest] =
            shares.map(|share| quantile(&values, share));
        Self {
            pairs,
            mean: Some(mean),
            sd,
            limits_of_agreement: sd.map(|sd| [mean - 1.96 * sd, mean + 1.96 * sd]),
            mean_absolute: Some(values.iter().map(|value| value.abs()).sum::<f64>() / pairs as f64),
            greatest_absolute: values.iter().map(|value| value.abs()).max_by(f64::total_cmp),
            least,
            p1,
            p5,
            p25,
            median,
            p75,
            p95,
            p99,
            greatest,
        }
    }
}

/// The quantile of sorted values, between neighbours in proportion (type 7 of Hyndman and Fan 1996, NumPy's `linear`); none of none.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (place.floor(), place.ceil());
    let (low, high) = (*sorted.get(below as usize)?, *sorted.get(above as usize)?);
    Some(low + (high - low) * (place - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_by_hand() {
        let found = Differences::of(vec![3.0, -1.0, 1.0, 1.0]);
        assert_eq!((found.pairs, found.mean, found.mean_absolute), (4, Some(1.0), Some(1.5)));
        let sd = (8.0_f64 / 3.0).sqrt();
        assert_eq!(
            (found.sd, found.limits_of_agreement),
            (Some(sd), Some([1.0 - 1.96 * sd, 1.0 + 1.96 * sd]))
        );
        assert_eq!((found.least, found.p25, found.median), (Some(-1.0), Some(0.5), Some(1.0)));
        assert_eq!((found.p75, found.greatest, found.greatest_absolute), (Some(1.5), Some(3.0), Some(3.0)));
    }

    #[test]
    fn of_few_only_what_is_defined() {
        assert_eq!(Differences::of(Vec::new()), Differences::default());
        let one = Differences::of(vec![0.5]);
        assert_eq!(
            (one.mean, one.median, one.sd, one.limits_of_agreement),
            (Some(0.5), Some(0.5), None, None)
        );
    }
}
