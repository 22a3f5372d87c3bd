//! What several networks say of one item, as one.

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::activations::log_odds;
use crate::manifest::{Combine, Manifest};
use crate::scores::Score;

/// The scores of an ensemble of its members' own, in its order: the mean of their probabilities, which are after each one's own
/// activation and calibration, or the share of members whose probability reaches their own threshold. Thresholds are the
/// ensemble's; a logit is the log-odds of the probability.
///
/// Errors: `model_mismatch` when the manifest is no ensemble's, or a member has other labels.
pub fn combined(manifest: &Manifest, members: &[Vec<Score>]) -> Result<Vec<Score>, JobError> {
    let count = members.len();
    let ensemble = manifest.ensemble.as_ref().filter(|ensemble| ensemble.members.len() == count && count > 0);
    let Some(ensemble) = ensemble else {
        return Err(mismatch(format!("{} is no ensemble of {count} networks", manifest.name)));
    };
    if let Some(other) = members.iter().position(|scores| scores.len() != manifest.labels.len()) {
        let (given, wanted) = (members[other].len(), manifest.labels.len());
        return Err(mismatch(format!(
            "member {other} of {} gives {given} scores for {wanted} labels",
            manifest.name
        )));
    }
    let mut found = Vec::with_capacity(manifest.labels.len());
    for (index, label) in manifest.labels.iter().enumerate() {
        let scores = members.iter().map(|scores| &scores[index]);
        if let Some(other) = scores.clone().find(|score| score.label != label.name) {
            return Err(mismatch(format!(
                "a member of {} gives {:?} for {:?}",
                manifest.name, other.label, label.name
            )));
        }
        let sum: f64 = match ensemble.combine {
            Combine::Mean => scores.map(|score| f64::from(score.probability)).sum(),
            Combine::Vote => scores.map(|score| f64::from(u8::from(score.positive))).sum(),
        };
        let mean = sum / count as f64;
        let (probability, threshold) = (mean as f32, label.threshold.unwrap_or(1.0) as f32);
        found.push(Score {
            index,
            head: 0,
            column: index,
            label: label.name.clone(),
            family: None,
            logit: log_odds(mean) as f32,
            probability,
            threshold,
            positive: probability >= threshold,
        });
    }
    Ok(found)
}

fn mismatch(words: String) -> JobError {
    JobError::new(Stage::Infer, ErrorCode::ModelMismatch, words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::{Ensemble, Member};
    use crate::testing;

    fn manifest(combine: Combine, members: usize, labels: usize) -> Manifest {
        let member = |number: usize| Member {
            model: format!("m{number}"),
            manifest_sha256: String::new(),
            fp32_sha256: None,
            int8_sha256: None,
        };
        let members = (0..members).map(member).collect();
        let ensemble = Some(Ensemble { combine, members });
        Manifest { ensemble, ..testing::manifest("several", labels) }
    }

    fn scores(probabilities: &[f32], threshold: f32) -> Vec<Score> {
        let score = |(index, &probability): (usize, &f32)| Score {
            index,
            head: 0,
            column: index,
            label: format!("label {index}"),
            family: None,
            logit: 0.0,
            probability,
            threshold,
            positive: probability >= threshold,
        };
        probabilities.iter().enumerate().map(score).collect()
    }

    #[test]
    fn a_mean_is_of_probabilities_and_a_vote_of_decisions() {
        let members = [scores(&[0.75, 0.25], 0.5), scores(&[0.5, 0.0], 0.4), scores(&[0.25, 0.125], 0.1)];
        let mean = combined(&manifest(Combine::Mean, 3, 2), &members).unwrap();
        assert_eq!(mean.iter().map(|score| score.probability).collect::<Vec<_>>(), [0.5, 0.125]);
        assert_eq!(mean.iter().map(|score| score.positive).collect::<Vec<_>>(), [true, false]);
        assert!(mean[0].logit.abs() < 1e-6);
        // The third has a threshold that both of its probabilities reach.
        let vote = combined(&manifest(Combine::Vote, 3, 2), &members).unwrap();
        assert_eq!(vote[0].probability.to_bits(), 1.0_f32.to_bits());
        assert!((vote[1].probability - 1.0 / 3.0).abs() < 1e-7 && !vote[1].positive);
        assert!(vote.iter().all(|score| score.logit.is_finite()));
    }

    #[test]
    fn nothing_is_combined_of_fewer_or_of_others() {
        let ensemble = manifest(Combine::Mean, 2, 2);
        let both = [scores(&[0.5, 0.5], 0.5), scores(&[0.5, 0.5], 0.5)];
        assert!(combined(&ensemble, &both).is_ok());
        let mut swapped = both.clone();
        swapped[1].swap(0, 1);
        let mut short = both.clone();
        short[0].pop();
        for members in [&both[..1], &swapped[..], &short[..], &[]] {
            assert_eq!(combined(&ensemble, members).unwrap_err().code, ErrorCode::ModelMismatch);
        }
        assert!(combined(&testing::manifest("one", 2), &both).is_err());
    }

    proptest! {
        /// Whatever the order of the members; between the least and the greatest; the same of the same.
        #[test]
        fn a_mean_lies_among_its_members(values in prop::collection::vec(0.0_f32..=1.0, 2..9)) {
            let ensemble = manifest(Combine::Mean, values.len(), 1);
            let of = |values: &[f32]| {
                let members: Vec<_> = values.iter().map(|value| scores(&[*value], 0.5)).collect();
                combined(&ensemble, &members).unwrap()[0].probability
            };
            let found = of(&values);
            let (low, high) = values.iter().fold((1.0_f32, 0.0_f32), |(l, h), v| (l.min(*v), h.max(*v)));
            prop_assert!(low - 1e-6 <= found && found <= high + 1e-6);
            let turned: Vec<_> = values.iter().rev().copied().collect();
            prop_assert!((of(&turned) - found).abs() < 1e-6);
            prop_assert!((of(&vec![low; values.len()]) - low).abs() < 1e-6);
        }
    }
}
