//! Findings of radiographs, label by label.

use std::collections::BTreeSet;

use serde::Serialize;

use super::cohorts::{Cohorts, Found, Study, Which};
use super::differences::Differences;
use super::flips::{Decision, Flip, Mark, foremost};
use super::kappa::Confusion;

/// One label on both sides, over the studies in which both have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelComparison {
    pub label: String,
    /// Studies that have the label on both sides.
    pub compared: u64,
    /// Compared studies that have it on one side only.
    pub only_in_a: u64,
    pub only_in_b: u64,
    pub positive_in_both: u64,
    pub negative_in_both: u64,
    /// Negative in A, positive in B.
    pub became_positive: u64,
    /// Positive in A, negative in B.
    pub became_negative: u64,
    pub flips: u64,
    /// Share of the compared studies with the same decision.
    pub agreement: Option<f64>,
    /// Cohen's kappa of the decisions.
    pub kappa: Option<f64>,
    /// Least and greatest threshold in the documents of the side.
    pub threshold_a: Option<[f32; 2]>,
    pub threshold_b: Option<[f32; 2]>,
    pub probability: Differences,
    pub logit: Differences,
}

/// All labels, in the order of their names, and the foremost flips.
pub(crate) fn compare(
    cohorts: &Cohorts,
    pairs: &[[&Study; 2]],
    shown: usize,
) -> (Vec<LabelComparison>, Vec<Flip>) {
    let mut marks = Vec::new();
    let labels: BTreeSet<u16> =
        pairs.iter().flatten().flat_map(|study| study.reading.findings()).map(|found| found.label).collect();
    let mut compared: Vec<_> = labels
        .into_iter()
        .filter_map(|label| {
            Some(one_label(cohorts, pairs, label, cohorts.labels.get(label)?.clone(), &mut marks))
        })
        .collect();
    compared.sort_unstable_by(|one, other| one.label.cmp(&other.label));
    let flips = foremost(marks, shown).into_iter().filter_map(|mark| named(cohorts, pairs, mark));
    (compared, flips.collect())
}

/// The finding of this label.
pub(crate) fn found(study: &Study, label: u16) -> Option<&Found> {
    let findings = study.reading.findings();
    findings.binary_search_by_key(&label, |found| found.label).ok().and_then(|place| findings.get(place))
}

fn one_label(
    cohorts: &Cohorts,
    pairs: &[[&Study; 2]],
    label: u16,
    name: String,
    marks: &mut Vec<Mark>,
) -> LabelComparison {
    let mut decisions = Confusion::default();
    let (mut probabilities, mut logits) = (Vec::new(), Vec::new());
    let (mut only_in_a, mut only_in_b) = (0, 0);
    for (pair, studies) in pairs.iter().enumerate() {
        let (a, b) = match studies.map(|study| found(study, label)) {
            [Some(a), Some(b)] => (a, b),
            [a, b] => {
                only_in_a += u64::from(a.is_some());
                only_in_b += u64::from(b.is_some());
                continue;
            }
        };
        decisions.add(a.positive, b.positive);
        probabilities.push(f64::from(b.probability) - f64::from(a.probability));
        logits.push(f64::from(b.logit) - f64::from(a.logit));
        if a.positive != b.positive {
            let distance = (b.probability - a.probability).abs();
            marks.push(Mark { pair, of: label.into(), distance });
        }
    }
    let [threshold_a, threshold_b] =
        [Which::A, Which::B].map(|side| cohorts.side(side).thresholds.get(&label).copied());
    LabelComparison {
        label: name,
        compared: decisions.total(),
        only_in_a,
        only_in_b,
        positive_in_both: decisions.count(true, true),
        negative_in_both: decisions.count(false, false),
        became_positive: decisions.count(false, true),
        became_negative: decisions.count(true, false),
        flips: decisions.total() - decisions.agreed(),
        agreement: decisions.agreement(),
        kappa: decisions.kappa(),
        threshold_a,
        threshold_b,
        probability: Differences::of(probabilities),
        logit: Differences::of(logits),
    }
}

fn named(cohorts: &Cohorts, pairs: &[[&Study; 2]], mark: Mark) -> Option<Flip> {
    let label = u16::try_from(mark.of).ok()?;
    let [one, other] = *pairs.get(mark.pair)?;
    let [a, b] = [one, other].map(|study| {
        let found = found(study, label)?;
        let said = if found.positive { "positive" } else { "negative" };
        Some(Decision { said: Some(said.to_owned()), probability: found.probability })
    });
    Some(Flip {
        study: one.key.to_string(),
        label: cohorts.labels.get(label).cloned(),
        component: None,
        a: a?,
        b: b?,
    })
}
