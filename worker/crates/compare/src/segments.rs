//! Segments of CT volumes, label by label. Documents hold what was measured of a segment, not its voxels: how far two label maps overlap
//! cannot be told from them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::cohorts::{Cohorts, Measured, Study, Which};
use super::differences::Differences;
use super::flips::{Mark, foremost};
use super::kappa::Confusion;

/// One label on both sides, over the volumes in which both models have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentComparison {
    pub label: String,
    /// Volumes whose documents have the label on both sides, found or not.
    pub compared: u64,
    /// Compared volumes whose documents have it on one side only.
    pub only_in_a: u64,
    pub only_in_b: u64,
    /// Volumes in which both sides found it, and neither.
    pub found_in_both: u64,
    pub found_in_neither: u64,
    /// Not found in A, found in B.
    pub appeared: u64,
    /// Found in A, not found in B.
    pub vanished: u64,
    pub flips: u64,
    /// Share of the compared volumes in which both sides found it, or neither.
    pub agreement: Option<f64>,
    /// Cohen's kappa of its presence.
    pub kappa: Option<f64>,
    /// In millilitres, where both sides found it.
    pub volume_ml: Differences,
    /// The same in percent of the mean of both sides, for organs of very different sizes.
    pub volume_percent: Differences,
    /// Of its mean in Hounsfield units, where both sides found it.
    pub mean_hu: Differences,
}

/// A segment that one side found and the other did not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PresenceFlip {
    pub study: String,
    pub label: String,
    pub found_in: Which,
    /// Its millilitres, 0 where it was not found.
    pub volume_ml_a: f64,
    pub volume_ml_b: f64,
}

/// All segments of the volumes that were compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Segments {
    /// Segments over all volumes that are on both sides.
    pub compared: u64,
    /// Found by both sides, or by neither.
    pub matched: u64,
    pub flips: u64,
    pub agreement: Option<f64>,
    /// Cohen's kappa of their presence.
    pub kappa: Option<f64>,
    /// In the order of their names.
    pub by_label: Vec<SegmentComparison>,
    /// The flips of the greatest volume, at most as many as asked for.
    pub named_flips: Vec<PresenceFlip>,
}

/// All segments; names at most `shown` of the flips.
pub(crate) fn compare(cohorts: &Cohorts, pairs: &[[&Study; 2]], shown: usize) -> Segments {
    let mut marks = Vec::new();
    let mut presence = Confusion::default();
    let labels: BTreeSet<u16> =
        pairs.iter().flatten().flat_map(|study| study.reading.segments()).map(|one| one.label).collect();
    let mut by_label: Vec<_> = labels
        .into_iter()
        .filter_map(|label| {
            let name = cohorts.labels.get(label)?.clone();
            Some(one_label(pairs, label, name, &mut presence, &mut marks))
        })
        .collect();
    by_label.sort_unstable_by(|one, other| one.label.cmp(&other.label));
    let named_flips = foremost(marks, shown).into_iter().filter_map(|mark| named(cohorts, pairs, mark));
    Segments {
        compared: presence.total(),
        matched: presence.agreed(),
        flips: presence.total() - presence.agreed(),
        agreement: presence.agreement(),
        kappa: presence.kappa(),
        by_label,
        named_flips: named_flips.collect(),
    }
}

fn measured(study: &Study, label: u16) -> Option<&Measured> {
    let segments = study.reading.segments();
    let place = segments.binary_search_by_key(&label, |measured| measured.label).ok()?;
    segments.get(place)
}

fn one_label(
    pairs: &[[&Study; 2]],
    label: u16,
    name: String,
    presence: &mut Confusion<bool>,
    marks: &mut Vec<Mark>,
) -> SegmentComparison {
    let mut own = Confusion::default();
    let (mut volumes, mut shares, mut units) = (Vec::new(), Vec::new(), Vec::new());
    let (mut only_in_a, mut only_in_b) = (0, 0);
    for (pair, studies) in pairs.iter().enumerate() {
        let (a, b) = match studies.map(|study| measured(study, label)) {
            [Some(a), Some(b)] => (a, b),
            [a, b] => {
                only_in_a += u64::from(a.is_some());
                only_in_b += u64::from(b.is_some());
                continue;
            }
        };
        own.add(a.found, b.found);
        presence.add(a.found, b.found);
        if a.found != b.found {
            let distance = (b.volume_ml - a.volume_ml).abs() as f32;
            marks.push(Mark { pair, of: label.into(), distance });
        }
        if a.found && b.found {
            volumes.push(b.volume_ml - a.volume_ml);
            shares.extend(percent(a.volume_ml, b.volume_ml));
            units.extend(a.mean_hu.zip(b.mean_hu).map(|(a, b)| b - a));
        }
    }
    SegmentComparison {
        label: name,
        compared: own.total(),
        only_in_a,
        only_in_b,
        found_in_both: own.count(true, true),
        found_in_neither: own.count(false, false),
        appeared: own.count(false, true),
        vanished: own.count(true, false),
        flips: own.total() - own.agreed(),
        agreement: own.agreement(),
        kappa: own.kappa(),
        volume_ml: Differences::of(volumes),
        volume_percent: Differences::of(shares),
        mean_hu: Differences::of(units),
    }
}

/// B - A in percent of their mean; none of nothing.
fn percent(a: f64, b: f64) -> Option<f64> {
    let mean = f64::midpoint(a, b);
    (mean > 0.0).then(|| 100.0 * (b - a) / mean)
}

fn named(cohorts: &Cohorts, pairs: &[[&Study; 2]], mark: Mark) -> Option<PresenceFlip> {
    let label = u16::try_from(mark.of).ok()?;
    let [one, other] = *pairs.get(mark.pair)?;
    let (a, b) = (measured(one, label)?, measured(other, label)?);
    Some(PresenceFlip {
        study: one.key.to_string(),
        label: cohorts.labels.get(label)?.clone(),
        found_in: if a.found { Which::A } else { Which::B },
        volume_ml_a: a.volume_ml,
        volume_ml_b: b.volume_ml,
    })
}
