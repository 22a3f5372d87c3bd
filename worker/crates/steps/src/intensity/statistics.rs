//! Scaling by what the image itself has.

use super::scale::{extremes, stretch};

/// The image has one value where two are needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flat;

/// The least value becomes `to[0]`, the greatest `to[1]`.
pub(crate) fn min_max(values: &mut [f32], to: [f64; 2]) -> Result<(), Flat> {
    let (least, most) = extremes(values);
    if least >= most {
        return Err(Flat);
    }
    stretch(values, least, most - least, to);
    Ok(())
}

/// `lower` and `upper` in percent, as `numpy.percentile` interpolates them: linearly between the two nearest in order.
pub(crate) fn percentile(values: &mut [f32], lower: f64, upper: f64, to: [f64; 2]) -> Result<(), Flat> {
    let mut sorted = values.to_vec();
    let (least, most) = (quantile(&mut sorted, lower / 100.0), quantile(&mut sorted, upper / 100.0));
    if least >= most {
        return Err(Flat);
    }
    stretch(values, least, most - least, to);
    Ok(())
}

/// `(x - mean) / std`, both of all pixels.
pub(crate) fn z_score(values: &mut [f32]) -> Result<(), Flat> {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    let (mean, deviation) = (mean as f32, variance.sqrt() as f32);
    if deviation <= 0.0 {
        return Err(Flat);
    }
    for value in values {
        *value = (*value - mean) / deviation;
    }
    Ok(())
}

/// `share` in [0, 1]; `values` are brought into another order.
fn quantile(values: &mut [f32], share: f64) -> f32 {
    let at = share * (values.len() - 1) as f64;
    let index = (at.floor() as usize).min(values.len() - 1);
    let (_, &mut low, above) = values.select_nth_unstable_by(index, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    let t = at - index as f64;
    (f64::from(low) + (f64::from(high) - f64::from(low)) * t) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_image_has_no_scale() {
        let to = [0.0, 1.0];
        assert_eq!(min_max(&mut [7.0; 9], to), Err(Flat));
        assert_eq!(z_score(&mut [7.0; 9]), Err(Flat));
        let mut nearly = [7.0; 1000];
        nearly[3] = 9.0;
        assert_eq!(percentile(&mut nearly, 1.0, 99.0, to), Err(Flat));
        assert_eq!(min_max(&mut nearly, to), Ok(()));
    }

    #[test]
    fn percentiles_lie_between_the_two_nearest() {
        let mut values: Vec<f32> = (0..=10u8).rev().map(f32::from).collect();
        for (share, expected) in [(0.0, 0.0), (0.25, 2.5), (0.5, 5.0), (0.999, 9.99), (1.0, 10.0f32)] {
            assert_eq!(quantile(&mut values, share).to_bits(), expected.to_bits(), "{share}");
        }
    }
}
