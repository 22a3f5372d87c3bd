//! Both sides held against the truth.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::bootstrap::{Bootstrap, Interval};
use super::cohorts::{Cohorts, CompareError, Study};
use super::findings::found;
use super::measures::{BINS, Measured, Ranked, Scored};
use super::truth::{StudyTruth, Truth};

/// A figure of each side, and B - A over the same draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub a: Interval,
    pub b: Interval,
    pub difference: Interval,
}

/// The share of images with the finding among those of one bin of probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// From here on.
    pub from: f64,
    /// Up to here; 1 itself belongs to the last bin.
    pub to: f64,
    pub images: u64,
    pub true_images: u64,
    pub mean_probability: Option<f64>,
    pub observed: Interval,
}

/// Calibration of each side, bin by bin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    pub a: Vec<ReliabilityBin>,
    pub b: Vec<ReliabilityBin>,
}

/// The figures that an interval is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Auc,
    Sensitivity,
    Specificity,
    Brier,
}

impl Rate {
    pub const ALL: [Self; 4] = [Self::Auc, Self::Sensitivity, Self::Specificity, Self::Brier];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auc => "AUC",
            Self::Sensitivity => "sensitivity",
            Self::Specificity => "specificity",
            Self::Brier => "Brier score",
        }
    }

    const fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Auc => measured.auc,
            Self::Sensitivity => measured.sensitivity,
            Self::Specificity => measured.specificity,
            Self::Brier => measured.brier,
        }
    }

    /// B - A.
    const fn difference(self, [a, b]: &[Measured; 2]) -> f64 {
        self.of(b) - self.of(a)
    }
}

/// One label against the truth, over the compared studies of which it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgedLabel {
    pub label: String,
    pub images: u64,
    pub true_images: u64,
    /// Of patients, with at least one of these images.
    pub groups: usize,
    pub auc: Judged,
    /// At the threshold that the documents decided by.
    pub sensitivity: Judged,
    pub specificity: Judged,
    pub brier: Judged,
    pub reliability: Reliability,
}

impl JudgedLabel {
    pub fn rate(&self, rate: Rate) -> &Judged {
        match rate {
            Rate::Auc => &self.auc,
            Rate::Sensitivity => &self.sensitivity,
            Rate::Specificity => &self.specificity,
            Rate::Brier => &self.brier,
        }
    }
}

/// Both sides held against the truth, and what of either was not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    pub bootstrap: Bootstrap,
    /// The column of groups; none where each study was drawn by itself.
    pub group: Option<String>,
    /// Compared studies that the truth names.
    pub studies: usize,
    /// Patients that the draws are made of.
    pub groups: usize,
    /// Compared studies that the truth does not name.
    pub studies_without_truth: usize,
    /// Studies of the truth that were not compared.
    pub truth_without_study: usize,
    /// Labels of both models that are no column.
    pub labels_without_truth: Vec<String>,
    /// Columns that are no label of both models.
    pub columns_without_label: Vec<String>,
    pub labels: Vec<JudgedLabel>,
}

/// Judges the radiographs that were compared.
///
/// # Errors
/// [`CompareError::Truth`] where the truth names none of the studies, or no label of both models.
pub(crate) fn judge(
    cohorts: &Cohorts,
    pairs: &[[&Study; 2]],
    compared: &[String],
    truth: &Truth,
    group: Option<&str>,
    bootstrap: Bootstrap,
) -> Result<Judgement, CompareError> {
    let known: Vec<(&[&Study; 2], &StudyTruth)> =
        pairs.iter().filter_map(|pair| Some((pair, truth.studies.get(&pair[0].key)?))).collect();
    if known.is_empty() {
        return Err(CompareError::Truth(unknown(pairs, truth)));
    }
    let columns: BTreeSet<&String> = truth.labels.iter().collect();
    let (judged, labels_without_truth): (Vec<&String>, Vec<&String>) =
        compared.iter().partition(|label| columns.contains(label));
    if judged.is_empty() {
        let there = truth.labels.join(", ");
        return Err(CompareError::Truth(format!(
            "no column is a label of both models; label columns: {there}"
        )));
    }
    let columns = truth.labels.iter().zip(&truth.problems);
    let problem =
        columns.filter(|(label, _)| judged.contains(label)).find_map(|(_, problem)| problem.as_ref());
    if let Some(problem) = problem {
        return Err(CompareError::Truth(problem.clone()));
    }
    // By name, so that the draws do not rest on the order of the file.
    let names: BTreeSet<&str> = known.iter().map(|(_, truth)| &*truth.group).collect();
    let numbers: BTreeMap<&str, u32> = names.iter().copied().zip(0..).collect();
    let mut labels = Vec::with_capacity(judged.len());
    for label in &judged {
        let images = images(cohorts, &known, &numbers, truth, label);
        labels.push(judge_label((*label).clone(), images, numbers.len(), bootstrap));
    }
    Ok(Judgement {
        bootstrap,
        group: group.map(str::to_owned),
        studies: known.len(),
        groups: numbers.len(),
        studies_without_truth: pairs.len() - known.len(),
        truth_without_study: truth.studies.len() - known.len(),
        labels_without_truth: labels_without_truth.into_iter().cloned().collect(),
        columns_without_label: truth.labels.iter().filter(|label| !judged.contains(label)).cloned().collect(),
        labels,
    })
}

fn unknown(pairs: &[[&Study; 2]], truth: &Truth) -> String {
    let ours = pairs.first().map_or("none", |pair| &pair[0].key);
    let theirs = truth.studies.keys().next().map_or("none", |study| study);
    format!(
        "none of the compared studies is named: the first of them is {ours:?}, the first of the truth {theirs:?}"
    )
}

/// The images of which the label's truth is known, as each side has them.
fn images(
    cohorts: &Cohorts,
    known: &[(&[&Study; 2], &StudyTruth)],
    numbers: &BTreeMap<&str, u32>,
    truth: &Truth,
    label: &String,
) -> [Vec<Scored>; 2] {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    let column = truth.labels.iter().position(|column| column == label);
    let Some((column, number)) = column.zip(cohorts.labels.find(label)) else { return [of_a, of_b] };
    for ([one, other], truth) in known {
        let value = truth.values.get(column).copied().flatten();
        let group = numbers.get(&*truth.group).copied();
        if let (Some(value), Some(group), Some(a), Some(b)) =
            (value, group, found(one, number), found(other, number))
        {
            for (found, of_side) in [(a, &mut of_a), (b, &mut of_b)] {
                let (score, positive) = (found.probability, found.positive);
                of_side.push(Scored { score, group, truth: value, positive });
            }
        }
    }
    [of_a, of_b]
}

/// Both sides of one label, measured once as they are and once for each draw.
pub(crate) fn judge_label(
    label: String,
    images: [Vec<Scored>; 2],
    groups: usize,
    bootstrap: Bootstrap,
) -> JudgedLabel {
    let with_images: BTreeSet<u32> = images[0].iter().map(|image| image.group).collect();
    let ranked = images.map(Ranked::new);
    let value = measured(&ranked, &vec![1; groups]);
    let draws = bootstrap.draw(groups, |weights| measured(&ranked, weights));
    let [auc, sensitivity, specificity, brier] = Rate::ALL.map(|rate| Judged::of(rate, &value, &draws));
    JudgedLabel {
        label,
        images: value[0].images,
        true_images: value[0].true_images,
        groups: with_images.len(),
        auc,
        sensitivity,
        specificity,
        brier,
        reliability: Reliability { a: reliability(&value, &draws, 0), b: reliability(&value, &draws, 1) },
    }
}

/// Both sides, an image as often as its group was drawn.
fn measured(ranked: &[Ranked; 2], weights: &[u32]) -> [Measured; 2] {
    [0, 1].map(|side: usize| ranked[side].measure(weights))
}

impl Judged {
    fn of(rate: Rate, value: &[Measured; 2], draws: &[[Measured; 2]]) -> Self {
        let [a, b] = [0, 1].map(|side: usize| {
            Interval::of(rate.of(&value[side]), draws.iter().map(|draw| rate.of(&draw[side])))
        });
        let differences = draws.iter().map(|draw| rate.difference(draw));
        Self { a, b, difference: Interval::of(rate.difference(value), differences) }
    }
}

fn reliability(value: &[Measured; 2], draws: &[[Measured; 2]], side: usize) -> Vec<ReliabilityBin> {
    let bins = value[side].bins.iter().enumerate().map(|(nth, bin)| {
        let observed = draws.iter().map(|draw| draw[side].bins[nth].observed());
        ReliabilityBin {
            from: nth as f64 / BINS as f64,
            to: (nth + 1) as f64 / BINS as f64,
            images: bin.images,
            true_images: bin.true_images,
            mean_probability: (bin.images > 0).then(|| bin.scores / bin.images as f64),
            observed: Interval::of(bin.observed(), observed),
        }
    });
    bins.collect()
}
