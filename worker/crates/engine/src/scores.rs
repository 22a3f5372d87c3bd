//! From what a network gives to probabilities: activation, calibration, threshold.

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::activations::{log_odds, op_norm, sigmoid, softmax};
use crate::manifest::{Activation, Calibration, Head, Label, Manifest};
use crate::ordinal::grades;
use crate::outputs::Arrays;

/// One reported label of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Place among the manifest's labels.
    pub index: usize,
    /// Place of its head among those of the manifest, and its column there, or its grade.
    pub head: usize,
    pub column: usize,
    pub label: String,
    pub family: Option<String>,
    /// What the network gives, before any activation; its own probability where it gives that; of a grade, which has no number
    /// of its own, the [`log_odds`] of its probability.
    pub logit: f32,
    /// After activation and calibration, in [0, 1].
    pub probability: f32,
    pub threshold: f32,
    /// `probability >= threshold`, compared as written.
    pub positive: bool,
}

/// How far beyond 0 and 1 a network's own probabilities may lie: what single precision makes of a sum.
const ROUNDING: f64 = 1e-6;

/// The scores of one item, in the manifest's order, suppressed labels left out.
///
/// Computed in `f64`. A suppressed label still takes part in a softmax, because the network was trained with it.
/// Errors: `scores_not_finite` when a number is NaN or infinite, `model_mismatch` when a head is not there or has not one
/// number for each of its labels, `scores_not_probabilities` when there is no activation and a number lies outside of
/// [0, 1] by more than 1e-6.
pub fn scores(manifest: &Manifest, arrays: &Arrays) -> Result<Vec<Score>, JobError> {
    let mut found = Vec::with_capacity(manifest.labels.len());
    for (number, head) in manifest.output.heads.iter().enumerate() {
        let columns: Vec<_> = manifest.columns(number).collect();
        scores_of(head, &columns, arrays.values(&head.logits)?, &mut found)?;
    }
    found.sort_by_key(|score| score.index);
    Ok(found)
}

/// The scores of one head: `columns` are its labels, each with its place among all.
fn scores_of(
    head: &Head,
    columns: &[(usize, &Label)],
    given: &[f32],
    found: &mut Vec<Score>,
) -> Result<(), JobError> {
    if given.len() != head.activation.columns(columns.len()) {
        let words =
            format!("output {:?} has {} numbers for {} labels", head.logits, given.len(), columns.len());
        return Err(JobError::new(Stage::Infer, ErrorCode::ModelMismatch, words));
    }
    if let Some(column) = given.iter().position(|value| !value.is_finite()) {
        let words = format!("output {:?} is {} at {column}", head.logits, given[column]);
        return Err(JobError::new(Stage::Infer, ErrorCode::ScoresNotFinite, words));
    }
    let activated: Vec<f64> = match head.activation {
        Activation::Sigmoid => given.iter().map(|logit| sigmoid(f64::from(*logit))).collect(),
        Activation::Softmax => softmax(given),
        Activation::None => own_probabilities(head, columns, given)?,
        Activation::OrdinalCoral | Activation::OrdinalCorn => grades(head.activation, given),
    };
    for (column, &(index, label)) in columns.iter().enumerate().filter(|(_, (_, label))| !label.suppressed) {
        let probability = match (head.calibration, label.op_threshold) {
            (Calibration::XrvOpNorm, Some(operating_point)) => op_norm(activated[column], operating_point),
            _ => activated[column],
        } as f32;
        let threshold = label.threshold.unwrap_or(1.0) as f32;
        found.push(Score {
            index,
            head: label.head,
            column,
            label: label.name.clone(),
            family: label.family.clone(),
            logit: if head.activation.is_ordinal() {
                log_odds(activated[column]) as f32
            } else {
                given[column]
            },
            probability,
            threshold,
            positive: probability >= threshold,
        });
    }
    Ok(())
}

/// What the network gives as probabilities, when they are.
fn own_probabilities(head: &Head, columns: &[(usize, &Label)], given: &[f32]) -> Result<Vec<f64>, JobError> {
    let mut probabilities = Vec::with_capacity(given.len());
    for (value, (_, label)) in given.iter().map(|value| f64::from(*value)).zip(columns) {
        if !(-ROUNDING..=1.0 + ROUNDING).contains(&value) {
            let words = format!(
                "output {:?} is {value} for {:?}, which is no probability: its activation in the manifest is none; \
                 sigmoid or softmax makes probabilities of logits",
                head.logits, label.name
            );
            return Err(JobError::new(Stage::Infer, ErrorCode::ScoresNotProbabilities, words));
        }
        probabilities.push(value.clamp(0.0, 1.0));
    }
    Ok(probabilities)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use ndarray::ArrayD;
    use proptest::prelude::*;

    /// The scores of what the heads give, by their names.
    fn scores(manifest: &Manifest, given: &[(&str, &[f32])]) -> Result<Vec<Score>, JobError> {
        let mut arrays = Arrays::default();
        for (name, values) in given {
            arrays
                .push(&(*name).into(), ArrayD::from_shape_vec(vec![values.len()], values.to_vec()).unwrap());
        }
        super::scores(manifest, &arrays)
    }

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
        let scores = scores(&manifest, &[("logits", &[0.0, 9.0, -1.0])]).unwrap();
        assert_eq!(scores.iter().map(|score| score.index).collect::<Vec<_>>(), [0, 2]);
        assert!(scores[0].positive, "0.5 is at the threshold");
        assert!(!scores[1].positive);
    }

    #[test]
    fn calibration_moves_the_operating_point_to_one_half() {
        let mut manifest = testing::manifest("scores", 1);
        manifest.output.heads[0].calibration = Calibration::XrvOpNorm;
        manifest.labels[0].op_threshold = Some(sigmoid(-3.0));
        let scores = scores(&manifest, &[("logits", &[-3.0])]).unwrap();
        assert!((scores[0].probability - 0.5).abs() < 1e-7);
    }

    #[test]
    fn hostile_logits_are_refused() {
        let manifest = testing::manifest("scores", 2);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                scores(&manifest, &[("logits", &[0.0, bad])]).unwrap_err().code,
                ErrorCode::ScoresNotFinite
            );
        }
        assert_eq!(scores(&manifest, &[("logits", &[0.0])]).unwrap_err().code, ErrorCode::ModelMismatch);
    }

    #[test]
    fn labels_that_exclude_each_other_sum_to_one_and_have_thresholds_of_their_own() {
        let mut manifest = testing::manifest("scores", 3);
        manifest.output.heads[0].activation = Activation::Softmax;
        manifest.labels[0].threshold = Some(0.2);
        let scores = scores(&manifest, &[("logits", &[1.0, 2.0, 0.5])]).unwrap();
        let sum: f64 = scores.iter().map(|score| f64::from(score.probability)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(scores.iter().map(|score| score.positive).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_networks_own_probabilities_are_taken_as_they_are_and_nothing_else_for_them() {
        let mut manifest = testing::manifest("scores", 3);
        manifest.output.heads[0].activation = Activation::None;
        let found = scores(&manifest, &[("logits", &[0.0, 0.5, 0.25])]).unwrap();
        assert_eq!(found.iter().map(|score| score.probability).collect::<Vec<_>>(), [0.0, 0.5, 0.25]);
        assert!(found[1].positive && !found[2].positive);
        // Single precision may end a softmax this far from 1.
        let rounded = scores(&manifest, &[("logits", &[1.000_000_5, -0.000_000_5, 1.0])]).unwrap();
        assert_eq!(rounded.iter().map(|score| score.probability).collect::<Vec<_>>(), [1.0, 0.0, 1.0]);
        for wrong in [1.000_01, -0.000_01, 3.2, -4.0] {
            let error = scores(&manifest, &[("logits", &[0.5, wrong, 0.5])]).unwrap_err();
            assert_eq!(error.code, ErrorCode::ScoresNotProbabilities);
            assert!(
                error.message.contains("\"label 1\"") && error.message.contains("sigmoid or softmax"),
                "{error}"
            );
        }
    }

    #[test]
    fn heads_are_joined_in_the_order_of_the_labels() {
        let mut manifest = testing::manifest("scores", 5);
        let head = |logits: &str, activation| Head {
            logits: logits.to_owned(),
            activation,
            ..manifest.output.heads[0].clone()
        };
        manifest.output.heads = vec![
            head("findings", Activation::Sigmoid),
            head("view", Activation::Softmax),
            head("quality", Activation::None),
        ];
        for (label, head) in manifest.labels.iter_mut().zip([1, 0, 2, 1, 0]) {
            label.head = head;
        }
        let given: [(&str, &[f32]); 3] =
            [("findings", &[0.0, 1.0]), ("view", &[2.0, 2.0]), ("quality", &[0.25])];
        let found = scores(&manifest, &given).unwrap();
        let places: Vec<_> = found.iter().map(|score| (score.index, score.head, score.column)).collect();
        assert_eq!(places, [(0, 1, 0), (1, 0, 0), (2, 2, 0), (3, 1, 1), (4, 0, 1)]);
        let probabilities: Vec<_> = found.iter().map(|score| score.probability).collect();
        assert_eq!(probabilities[..4], [0.5, 0.5, 0.25, 0.5]);
        assert!((probabilities[4] - sigmoid(1.0) as f32).abs() < 1e-7);
        assert_eq!(
            scores(&manifest, &given[..2]).unwrap_err().code,
            ErrorCode::ModelMismatch,
            "a head is missing"
        );
        let short: [(&str, &[f32]); 3] = [given[0], ("view", &[2.0]), given[2]];
        assert_eq!(
            scores(&manifest, &short).unwrap_err().code,
            ErrorCode::ModelMismatch,
            "a column is missing"
        );
    }

    #[test]
    fn grades_have_one_label_more_than_the_network_has_numbers() {
        let mut manifest = testing::manifest("scores", 4);
        manifest.output.heads[0].activation = Activation::OrdinalCorn;
        let found = scores(&manifest, &[("logits", &[2.0, 0.0, -1.0])]).unwrap();
        let p = [sigmoid(2.0), sigmoid(2.0) / 2.0, sigmoid(2.0) / 2.0 * sigmoid(-1.0)];
        for (score, wanted) in found.iter().zip([1.0 - p[0], p[0] - p[1], p[1] - p[2], p[2]]) {
            assert!((f64::from(score.probability) - wanted).abs() < 1e-7, "{score:?}");
            assert!((sigmoid(f64::from(score.logit)) - wanted).abs() < 1e-6, "{score:?}");
        }
        assert_eq!(found.len(), 4);
        let error = scores(&manifest, &[("logits", &[2.0, 0.0, -1.0, 1.0])]).unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelMismatch, "a number for each label is another network");
    }

    #[test]
    fn log_odds_are_finite_and_undo_the_sigmoid() {
        assert!(log_odds(0.0) <= -100.0 && log_odds(1.0) >= 100.0 && log_odds(0.5).abs() < 1e-15);
        for x in [-90.0, -20.0, -0.3, 4.0, 20.0] {
            assert!((log_odds(sigmoid(x)) - x).abs() < 1e-6, "{x}");
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
