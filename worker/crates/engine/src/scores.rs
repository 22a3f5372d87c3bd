//! From what a network gives to probabilities: activation, calibration, threshold.

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::manifest::{Activation, Calibration, Manifest};

/// One reported label of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Position in the manifest's labels and in the model's output.
    pub index: usize,
    pub label: String,
    pub family: Option<String>,
    /// What the network gives, before any activation; its own probability where it gives that.
    pub logit: f32,
    /// After activation and calibration, in [0, 1].
    pub probability: f32,
    pub threshold: f32,
    /// `probability >= threshold`, compared as written.
    pub positive: bool,
}

/// How far beyond 0 and 1 a network's own probabilities may lie: what single precision makes of a sum.
const ROUNDING: f64 = 1e-6;

/// The scores of one item's logits, in the manifest's order, suppressed labels left out.
///
/// Computed in `f64`. A suppressed label still takes part in a softmax, because the network was trained with it.
/// Errors: `scores_not_finite` when a logit is NaN or infinite, `model_mismatch` when there is not one logit for each label,
/// `scores_not_probabilities` when there is no activation and a number lies outside of [0, 1] by more than 1e-6.
pub fn scores(manifest: &Manifest, logits: &[f32]) -> Result<Vec<Score>, JobError> {
    if logits.len() != manifest.labels.len() {
        return Err(JobError::new(
            Stage::Infer,
            ErrorCode::ModelMismatch,
            format!("{} logits for {} labels", logits.len(), manifest.labels.len()),
        ));
    }
    if let Some(index) = logits.iter().position(|logit| !logit.is_finite()) {
        let words = format!("logit {index} is {}", logits[index]);
        return Err(JobError::new(Stage::Infer, ErrorCode::ScoresNotFinite, words));
    }
    let activated: Vec<f64> = match manifest.output.activation {
        Activation::Sigmoid => logits.iter().map(|logit| sigmoid(f64::from(*logit))).collect(),
        Activation::Softmax => softmax(logits),
        Activation::None => own_probabilities(manifest, logits)?,
    };
    let reported = manifest.labels.iter().enumerate().filter(|(_, label)| !label.suppressed);
    Ok(reported
        .map(|(index, label)| {
            let probability = match (manifest.output.calibration, label.op_threshold) {
                (Calibration::XrvOpNorm, Some(operating_point)) => op_norm(activated[index], operating_point),
                _ => activated[index],
            } as f32;
            let threshold = label.threshold.unwrap_or(1.0) as f32;
            Score {
                index,
                label: label.name.clone(),
                family: label.family.clone(),
                logit: logits[index],
                probability,
                threshold,
                positive: probability >= threshold,
            }
        })
        .collect())
}

/// What the network gives as probabilities, when they are.
fn own_probabilities(manifest: &Manifest, given: &[f32]) -> Result<Vec<f64>, JobError> {
    let label = |index: usize| manifest.labels.get(index).map_or("", |label| label.name.as_str());
    let given = given.iter().copied().enumerate();
    given
        .map(|(index, value)| {
            let value = f64::from(value);
            if (-ROUNDING..=1.0 + ROUNDING).contains(&value) {
                return Ok(value.clamp(0.0, 1.0));
            }
            let words = format!(
                "the network gives {value} for {:?}, which is no probability: the manifest says that output.activation \
                 is none; sigmoid or softmax makes probabilities of logits",
                label(index)
            );
            Err(JobError::new(Stage::Infer, ErrorCode::ScoresNotProbabilities, words))
        })
        .collect()
}

/// The logistic function `1 / (1 + exp(-x))`, without overflow on either side.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    /// The reference's numbers come from its float32 buffer, hence the tolerance.
    #[test]
    fn op_norm_gives_the_reference_numbers() {
        let t = f64::from(0.031_012_505_f32);
        let golden = [
            (0.0, 0.0),
            (0.01, 0.161_225_284_857_780_12),
            (0.031_012_505, 0.499_999_995_277_833),
            (0.2, 0.587_197_975_015_243_5),
            (0.9, 0.948_399_746_876_905_4),
            (1.0, 1.0),
        ];
        for (p, expected) in golden {
            let found = op_norm(p, t);
            assert!((found - expected).abs() < 1e-12, "op_norm({p}) is {found}, not {expected}");
        }
    }

    #[test]
    fn activations_survive_extreme_logits() {
        assert_eq!(sigmoid(1e4).to_bits(), 1.0_f64.to_bits());
        assert!(sigmoid(-1e4).abs() < f64::MIN_POSITIVE);
        assert!((sigmoid(0.0) - 0.5).abs() < f64::EPSILON);
        assert!((sigmoid(2.0) - 0.880_797_077_977_882_4).abs() < 1e-15);
        let extreme = softmax(&[f32::MAX, f32::MIN, 0.0]);
        assert_eq!(extreme, [1.0, 0.0, 0.0]);
        let three = softmax(&[1.0, 2.0, 3.0]);
        let expected = [0.090_030_573_170_380_46, 0.244_728_471_054_797_65, 0.665_240_955_774_821_9];
        assert!(three.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{three:?}");
    }

    #[test]
    fn suppressed_labels_are_left_out_and_thresholds_are_inclusive() {
        let mut manifest = testing::manifest("scores", 3);
        manifest.labels[1].suppressed = true;
        manifest.labels[0].threshold = Some(0.5);
        let scores = scores(&manifest, &[0.0, 9.0, -1.0]).unwrap();
        assert_eq!(scores.iter().map(|score| score.index).collect::<Vec<_>>(), [0, 2]);
        assert!(scores[0].positive, "0.5 is at the threshold");
        assert!(!scores[1].positive);
    }

    #[test]
    fn calibration_moves_the_operating_point_to_one_half() {
        let mut manifest = testing::manifest("scores", 1);
        manifest.output.calibration = Calibration::XrvOpNorm;
        manifest.labels[0].op_threshold = Some(sigmoid(-3.0));
        let scores = scores(&manifest, &[-3.0]).unwrap();
        assert!((scores[0].probability - 0.5).abs() < 1e-7);
    }

    #[test]
    fn hostile_logits_are_refused() {
        let manifest = testing::manifest("scores", 2);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(scores(&manifest, &[0.0, bad]).unwrap_err().code, ErrorCode::ScoresNotFinite);
        }
        assert_eq!(scores(&manifest, &[0.0]).unwrap_err().code, ErrorCode::ModelMismatch);
    }

    #[test]
    fn labels_that_exclude_each_other_sum_to_one_and_have_thresholds_of_their_own() {
        let mut manifest = testing::manifest("scores", 3);
        manifest.output.activation = Activation::Softmax;
        manifest.labels[0].threshold = Some(0.2);
        let scores = scores(&manifest, &[1.0, 2.0, 0.5]).unwrap();
        let sum: f64 = scores.iter().map(|score| f64::from(score.probability)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(scores.iter().map(|score| score.positive).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_networks_own_probabilities_are_taken_as_they_are_and_nothing_else_for_them() {
        let mut manifest = testing::manifest("scores", 3);
        manifest.output.activation = Activation::None;
        let found = scores(&manifest, &[0.0, 0.5, 0.25]).unwrap();
        assert_eq!(found.iter().map(|score| score.probability).collect::<Vec<_>>(), [0.0, 0.5, 0.25]);
        assert!(found[1].positive && !found[2].positive);
        // Single precision may end a softmax this far from 1.
        let rounded = scores(&manifest, &[1.000_000_5, -0.000_000_5, 1.0]).unwrap();
        assert_eq!(rounded.iter().map(|score| score.probability).collect::<Vec<_>>(), [1.0, 0.0, 1.0]);
        for wrong in [1.000_01, -0.000_01, 3.2, -4.0] {
            let error = scores(&manifest, &[0.5, wrong, 0.5]).unwrap_err();
            assert_eq!(error.code, ErrorCode::ScoresNotProbabilities);
            assert!(error.message.contains("\"label 1\"") && error.message.contains("sigmoid or softmax"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn probabilities_are_probabilities(logits in prop::collection::vec(-1e6_f32..1e6, 1..40), t in 1e-6_f64..0.999_999) {
            let softmax = softmax(&logits);
            prop_assert!((softmax.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for (logit, share) in logits.iter().zip(softmax) {
                let p = sigmoid(f64::from(*logit));
                prop_assert!((0.0..=1.0).contains(&p) && (0.0..=1.0).contains(&share));
                prop_assert!((0.0..=1.0).contains(&op_norm(p, t)));
            }
        }

        #[test]
        fn op_norm_keeps_order(a in 0.0_f64..1.0, b in 0.0_f64..1.0, t in 1e-6_f64..0.999_999) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(op_norm(low, t) <= op_norm(high, t));
        }
    }
}
