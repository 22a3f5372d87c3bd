//! Grades in order: K of them from K - 1 numbers, one between each two.

use crate::activations::sigmoid;
use crate::manifest::Activation;

/// The probability above which a grade is passed, as coral-pytorch has it (`proba_to_label`, `corn_label_from_logits`).
const PASSED: f64 = 0.5;

/// The probability of a grade above each but the last, P(y > k).
///
/// CORAL's are the logistic function of its logits. CORN's logits are of a grade above the k-th among those above the one before,
/// so its probabilities are products and never rise.
fn above(activation: Activation, logits: &[f32]) -> Vec<f64> {
    let probabilities = logits.iter().map(|logit| sigmoid(f64::from(*logit)));
    if activation == Activation::OrdinalCorn {
        return probabilities
            .scan(1.0_f64, |before, probability| {
                *before *= probability;
                Some(*before)
            })
            .collect();
    }
    probabilities.collect()
}

/// The probability of each grade, one more than there are logits: P(y > k - 1) - P(y > k), with 1 before the first and 0 after
/// the last. They sum to 1.
///
/// Where P(y > k) rises with k, which no distribution does and no trained CORAL layer, the least so far counts: a grade is never
/// less probable than 0.
pub(crate) fn grades(activation: Activation, logits: &[f32]) -> Vec<f64> {
    let mut before = 1.0_f64;
    let mut grades = Vec::with_capacity(logits.len() + 1);
    for probability in above(activation, logits) {
        let probability = probability.min(before);
        grades.push(before - probability);
        before = probability;
    }
    grades.push(before);
    grades
}

/// Which grade it is, from 0: how many are passed with a probability above one half. This is coral-pytorch's rule, of the
/// probabilities as the network gives them.
pub(crate) fn grade(activation: Activation, logits: &[f32]) -> usize {
    above(activation, logits).into_iter().filter(|probability| *probability > PASSED).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const BOTH: [Activation; 2] = [Activation::OrdinalCoral, Activation::OrdinalCorn];

    /// `tests/golden/ordinal.py`: coral-pytorch's grades, and the distributions that NumPy makes of its probabilities.
    #[test]
    fn grades_are_those_of_coral_pytorch() {
        let golden: Value = serde_json::from_str(include_str!("../tests/golden/ordinal.json")).unwrap();
        for activation in BOTH {
            let cases = golden[activation.as_str()].as_array().unwrap();
            assert!(cases.len() > 30);
            for case in cases {
                let logits: Vec<f32> = serde_json::from_value(case["logits"].clone()).unwrap();
                assert_eq!(grade(activation, &logits), case["grade"].as_u64().unwrap() as usize, "{case}");
                let wanted: Vec<f64> = serde_json::from_value(case["probabilities"].clone()).unwrap();
                let found = grades(activation, &logits);
                assert_eq!(found.len(), wanted.len());
                let apart = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(apart < 1e-6, "{case}: {found:?}");
            }
        }
    }

    #[test]
    fn probabilities_that_rise_are_told_by_the_least_so_far() {
        let logits = [0.0, 2.0, -3.0];
        let found = grades(Activation::OrdinalCoral, &logits);
        let wanted = [0.5, 0.0, 0.5 - sigmoid(-3.0), sigmoid(-3.0)];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
        assert_eq!(grade(Activation::OrdinalCoral, &logits), 1, "0.5 itself is not passed, 2.0 is");
    }

    proptest! {
        #[test]
        fn grades_are_a_distribution(logits in prop::collection::vec(-1e4_f32..1e4, 1..12)) {
            for activation in BOTH {
                let found = grades(activation, &logits);
                prop_assert_eq!(found.len(), logits.len() + 1);
                prop_assert!(found.iter().all(|probability| (0.0..=1.0).contains(probability)));
                prop_assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                prop_assert!(grade(activation, &logits) <= logits.len());
            }
        }

        /// Two grades are one label and its absence.
        #[test]
        fn two_grades_are_a_sigmoid(logit in -30.0_f32..30.0) {
            for activation in BOTH {
                let p = sigmoid(f64::from(logit));
                let found = grades(activation, &[logit]);
                prop_assert!((found[1] - p).abs() < 1e-15 && (found[0] - (1.0 - p)).abs() < 1e-15);
                prop_assert_eq!(grade(activation, &[logit]), usize::from(p > 0.5));
            }
        }
    }
}
