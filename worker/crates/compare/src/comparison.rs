//! The whole comparison.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::Bootstrap;
use super::cohorts::{Cohorts, CompareError, JoinKey, ModelCount, Which};
use super::components::{self, Components};
use super::findings::{self, LabelComparison};
use super::flips::Flip;
use super::joined::{Joined, Unpaired};
use super::judgement::{Judgement, judge};
use super::limits::{Limit, LimitCheck, RolloutLimits};
use super::segments::{self, Segments};
use super::truth::Truth;

/// The value of `schema` in a comparison.
pub const SCHEMA: &str = "nightread.comparison.v1";

/// How two sides are compared.
#[derive(Clone, Debug)]
pub struct CompareOptions<'a> {
    pub limits: RolloutLimits,
    /// The most flips, and the most studies without a counterpart, that are named; all are counted.
    pub named: usize,
    /// Labels to judge by, and the column of groups in them.
    pub truth: Option<(&'a Truth, Option<&'a str>)>,
    pub bootstrap: Bootstrap,
    /// Where the documents of A and of B come from, in words.
    pub sources: [String; 2],
    /// Documents of A and of B that could not be read.
    pub unreadable: [usize; 2],
}

/// One side, as the documents tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideFacts {
    /// Where its documents come from.
    pub source: String,
    pub documents: usize,
    pub unreadable: usize,
    pub models: Vec<ModelCount>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    pub joined_by: JoinKey,
    pub a: SideFacts,
    pub b: SideFacts,
    /// Studies on either side.
    pub studies: usize,
    /// Studies that were read on both sides.
    pub compared: usize,
    pub failed_in_both: usize,
    pub unpaired: Unpaired,
    /// Failed studies of A and of B, by error code.
    pub failures: BTreeMap<&'static str, [usize; 2]>,
    /// Decisions that were compared: each label of each radiograph, each component of each scan, each segment of each volume.
    pub decisions: u64,
    /// Decisions that differ.
    pub flips: u64,
    pub flip_share: Option<f64>,
    pub labels: Vec<LabelComparison>,
    /// Of scans, where there are any.
    pub components: Option<Components>,
    /// Of CT volumes, where there are any.
    pub segments: Option<Segments>,
    /// The flips of the greatest difference of probability, at most as many as asked for: of radiographs, then of scans.
    pub named_flips: Vec<Flip>,
    pub judgement: Option<Judgement>,
    pub checks: Vec<LimitCheck>,
    pub passed: bool,
}

impl Comparison {
    /// Compares what was taken.
    ///
    /// # Errors
    /// What makes a comparison impossible or ambiguous: a study twice on a side, no study on both, no label on both, truth of other things.
    pub fn of(cohorts: &Cohorts, options: &CompareOptions<'_>) -> Result<Self, CompareError> {
        let joined = Joined::of(cohorts, options.named)?;
        let (labels, mut named_flips) = findings::compare(cohorts, &joined.pairs, options.named);
        let (components, changed) = components::compare(cohorts, &joined.pairs, options.named);
        named_flips.extend(changed);
        let components = Some(components).filter(|components| !components.by_index.is_empty());
        let segments = segments::compare(cohorts, &joined.pairs, options.named);
        let segments = Some(segments).filter(|segments| !segments.by_label.is_empty());
        let decisions = labels.iter().map(|label| label.compared).sum::<u64>()
            + components.as_ref().map_or(0, |components| components.compared)
            + segments.as_ref().map_or(0, |segments| segments.compared);
        if decisions == 0 && !joined.pairs.is_empty() {
            return Err(CompareError::NothingAlike);
        }
        let flips = labels.iter().map(|label| label.flips).sum::<u64>()
            + components.as_ref().map_or(0, |components| components.changed)
            + segments.as_ref().map_or(0, |segments| segments.flips);
        let judgement = match options.truth {
            Some((truth, group)) => Some(judged(cohorts, &joined, &labels, truth, group, options.bootstrap)?),
            None => None,
        };
        let [in_a, in_b] = [Which::A, Which::B].map(|side| SideFacts {
            source: options.sources[side as usize].clone(),
            documents: cohorts.documents(side),
            unreadable: options.unreadable[side as usize],
            models: cohorts.models_of(side),
        });
        let mut comparison = Self {
            schema: SCHEMA,
            joined_by: cohorts.key(),
            a: in_a,
            b: in_b,
            studies: joined.pairs.len() + joined.failed_in_both + joined.unpaired.studies,
            compared: joined.pairs.len(),
            failed_in_both: joined.failed_in_both,
            unpaired: joined.unpaired,
            failures: joined.failures,
            decisions,
            flips,
            flip_share: (decisions > 0).then(|| flips as f64 / decisions as f64),
            labels,
            components,
            segments,
            named_flips,
            judgement,
            checks: Vec::new(),
            passed: false,
        };
        comparison.checks = comparison.check(options.limits);
        comparison.passed = comparison.checks.iter().all(|check| check.passed);
        Ok(comparison)
    }

    fn check(&self, limits: RolloutLimits) -> Vec<LimitCheck> {
        let studies = self.studies as u64;
        let unread = (self.a.unreadable + self.b.unreadable) as u64;
        let documents = (self.a.documents + self.b.documents) as u64 + unread;
        let mut checks = vec![
            LimitCheck::new(
                "studies on one side only",
                self.unpaired.studies as u64,
                studies,
                limits.unpaired,
            ),
            LimitCheck::new("unreadable documents", unread, documents, limits.unpaired),
        ];
        if self.decisions == 0 {
            // Whatever the limits allow: a comparison of nothing passes nothing.
            checks.push(LimitCheck::new(
                "studies of which nothing was compared",
                studies,
                studies,
                Limit::Count(0),
            ));
        }
        if let Some(limit) = limits.flips {
            checks.push(LimitCheck::new("flips", self.flips, self.decisions, limit));
            let of_labels = self.labels.iter().map(|label| {
                LimitCheck::new(format!("flips of {}", label.label), label.flips, label.compared, limit)
            });
            checks.extend(of_labels);
            let scans = self.components.iter().flat_map(|components| &components.by_index);
            checks.extend(scans.map(|component| {
                let what = format!("changed labels of component {}", component.index);
                LimitCheck::new(what, component.changed, component.compared, limit)
            }));
            let volumes = self.segments.iter().flat_map(|segments| &segments.by_label);
            checks.extend(volumes.map(|segment| {
                let what = format!("flips of the presence of {}", segment.label);
                LimitCheck::new(what, segment.flips, segment.compared, limit)
            }));
        }
        checks
    }
}

fn judged(
    cohorts: &Cohorts,
    joined: &Joined<'_>,
    labels: &[LabelComparison],
    truth: &Truth,
    group: Option<&str>,
    bootstrap: Bootstrap,
) -> Result<Judgement, CompareError> {
    let common: Vec<String> =
        labels.iter().filter(|label| label.compared > 0).map(|label| label.label.clone()).collect();
    judge(cohorts, &joined.pairs, &common, truth, group, bootstrap)
}
