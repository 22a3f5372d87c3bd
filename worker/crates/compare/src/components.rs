//! Components of scans, index by index. The index is the place among the group maps, so that two models are comparable only where they
//! have the same maps.

use std::collections::BTreeSet;

use serde::Serialize;

use super::cohorts::{Cohorts, Mapped, Study};
use super::differences::Differences;
use super::flips::{Decision, Flip, Mark, foremost};
use super::kappa::Confusion;

/// One component on both sides, over the scans in which both have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentComparison {
    /// Place among the group maps, from 0.
    pub index: u32,
    pub compared: u64,
    /// Compared scans that have it on one side only.
    pub only_in_a: u64,
    pub only_in_b: u64,
    /// Scans whose component has the same label on both sides, or none on both.
    pub matched: u64,
    /// With another label, or with one on one side only.
    pub changed: u64,
    /// Scans whose component has no label in A, and in B.
    pub withheld_in_a: u64,
    pub withheld_in_b: u64,
    pub agreement: Option<f64>,
    /// Cohen's kappa of the labels; no label counts as one of its own.
    pub kappa: Option<f64>,
    /// Of the label that each side gives, which need not be the same.
    pub probability: Differences,
    pub group_correlation: Differences,
    /// Between the two peaks, in millimetres of MNI space: not a signed difference.
    pub peak_distance_mm: Differences,
}

/// How often components of one label in A have another in B.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelChange {
    /// `None` where it was withheld.
    pub a: Option<String>,
    pub b: Option<String>,
    pub components: u64,
}

/// All components of the scans that were compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Components {
    /// Components over all scans that are on both sides.
    pub compared: u64,
    pub matched: u64,
    pub changed: u64,
    pub agreement: Option<f64>,
    pub kappa: Option<f64>,
    /// Whether the documents of both sides name one manifest, and so one set of group maps; none where that was not recorded.
    pub same_manifest: Option<bool>,
    pub by_index: Vec<ComponentComparison>,
    /// The most frequent first.
    pub changes: Vec<LabelChange>,
}

/// All components, in the order of their indices, and the foremost of the changed.
pub(crate) fn compare(cohorts: &Cohorts, pairs: &[[&Study; 2]], shown: usize) -> (Components, Vec<Flip>) {
    let mut marks = Vec::new();
    let mut labels = Confusion::default();
    let indices: BTreeSet<u32> = pairs
        .iter()
        .flatten()
        .flat_map(|study| study.reading.components())
        .map(|mapped| mapped.index)
        .collect();
    let by_index: Vec<_> =
        indices.into_iter().map(|index| one_index(pairs, index, &mut labels, &mut marks)).collect();
    let changed = labels.pairs().filter(|((a, b), _)| a != b);
    let mut changes: Vec<_> = changed
        .map(|((a, b), components)| LabelChange { a: cohorts.name(a), b: cohorts.name(b), components })
        .collect();
    changes.sort_by(|one, other| {
        other.components.cmp(&one.components).then_with(|| (&one.a, &one.b).cmp(&(&other.a, &other.b)))
    });
    let flips = foremost(marks, shown).into_iter().filter_map(|mark| named(cohorts, pairs, mark));
    let components = Components {
        compared: labels.total(),
        matched: labels.agreed(),
        changed: labels.total() - labels.agreed(),
        agreement: labels.agreement(),
        kappa: labels.kappa(),
        same_manifest: same_manifest(cohorts, pairs),
        by_index,
        changes,
    };
    (components, flips.collect())
}

fn mapped(study: &Study, index: u32) -> Option<&Mapped> {
    let components = study.reading.components();
    let place = components.binary_search_by_key(&index, |mapped| mapped.index).ok()?;
    components.get(place)
}

fn one_index(
    pairs: &[[&Study; 2]],
    index: u32,
    labels: &mut Confusion<Option<u16>>,
    marks: &mut Vec<Mark>,
) -> ComponentComparison {
    let mut own = Confusion::default();
    let (mut probabilities, mut correlations, mut distances) = (Vec::new(), Vec::new(), Vec::new());
    let (mut only_in_a, mut only_in_b, mut withheld) = (0, 0, [0, 0]);
    for (pair, studies) in pairs.iter().enumerate() {
        let (a, b) = match studies.map(|study| mapped(study, index)) {
            [Some(a), Some(b)] => (a, b),
            [a, b] => {
                only_in_a += u64::from(a.is_some());
                only_in_b += u64::from(b.is_some());
                continue;
            }
        };
        own.add(a.label, b.label);
        labels.add(a.label, b.label);
        withheld[0] += u64::from(a.label.is_none());
        withheld[1] += u64::from(b.label.is_none());
        probabilities.push(f64::from(b.probability) - f64::from(a.probability));
        correlations.extend(a.group_correlation.zip(b.group_correlation).map(|(a, b)| b - a));
        distances.extend(a.peak_mni_mm.zip(b.peak_mni_mm).map(|(a, b)| distance(a, b)));
        if a.label != b.label {
            marks.push(Mark { pair, of: index, distance: (b.probability - a.probability).abs() });
        }
    }
    ComponentComparison {
        index,
        compared: own.total(),
        only_in_a,
        only_in_b,
        matched: own.agreed(),
        changed: own.total() - own.agreed(),
        withheld_in_a: withheld[0],
        withheld_in_b: withheld[1],
        agreement: own.agreement(),
        kappa: own.kappa(),
        probability: Differences::of(probabilities),
        group_correlation: Differences::of(correlations),
        peak_distance_mm: Differences::of(distances),
    }
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (b - a).powi(2)).sum::<f64>().sqrt()
}

/// Whether every compared scan was read by one manifest on both sides.
fn same_manifest(cohorts: &Cohorts, pairs: &[[&Study; 2]]) -> Option<bool> {
    let mut scans = pairs.iter().filter(|[one, _]| !one.reading.components().is_empty()).peekable();
    scans.peek()?;
    scans.try_fold(true, |same, [one, other]| {
        let [one, other] =
            [one, other].map(|study| cohorts.models.get(study.model)?.manifest_sha256.as_ref());
        let (one, other) = one.zip(other)?;
        Some(same && one == other)
    })
}

fn named(cohorts: &Cohorts, pairs: &[[&Study; 2]], mark: Mark) -> Option<Flip> {
    let [one, other] = *pairs.get(mark.pair)?;
    let [a, b] = [one, other].map(|study| {
        let mapped = mapped(study, mark.of)?;
        Some(Decision { said: cohorts.name(mapped.label), probability: mapped.probability })
    });
    Some(Flip { study: one.key.to_string(), label: None, component: Some(mark.of), a: a?, b: b? })
}
