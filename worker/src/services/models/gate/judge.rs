//! Whether bf16 decides as FP32 does, and as well: the rules and figures of `judge` in `models/quantise/quantise.py`.

use nightread_compare::RocArea;
use nightread_domain::{JobError, Task};
use nightread_engine::{Activation, Arrays, GREATEST_LOSS, LEAST_AGREEMENT, Manifest, scores, softmax};

use super::interval::{Groups, Interval};
use super::pairs::Item;
use super::truth::{Known, by_class};

/// What a network says of an item.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What its result would say: the class of a component; else whether each reported label is positive, and behind these the
    /// class of each softmax.
    findings: Vec<usize>,
    /// By what each label's items are ranked.
    ranks: Vec<f64>,
    /// The numbers of all heads.
    logits: Vec<f32>,
}

impl Answer {
    /// # Errors
    /// Those of [`scores`].
    pub(super) fn of(manifest: &Manifest, arrays: &Arrays) -> Result<Self, JobError> {
        let several = manifest.output.heads.len() > 1;
        let mut ranks = vec![0.0; manifest.labels.len()];
        let (mut classes, mut logits) = (Vec::new(), Vec::new());
        let scores = scores(manifest, arrays)?;
        for (number, head) in manifest.output.heads.iter().enumerate() {
            let given = arrays.values(&head.logits)?;
            let is_softmax = head.activation == Activation::Softmax;
            if is_softmax {
                classes.push(greatest(given));
            }
            // Among several heads the labels of a softmax are ranked by their probability.
            let of_columns = if is_softmax && several {
                softmax(given)
            } else {
                given.iter().copied().map(f64::from).collect()
            };
            for ((index, _), rank) in manifest.columns(number).zip(of_columns) {
                ranks[index] = rank;
            }
            logits.extend_from_slice(given);
        }
        let findings = if manifest.task == Task::Components && by_class(manifest) {
            classes
        } else {
            scores.iter().map(|score| usize::from(score.positive)).chain(classes).collect()
        };
        Ok(Self { findings, ranks, logits })
    }
}

/// The place of the greatest, the first of several.
fn greatest<N: PartialOrd + Copy>(values: &[N]) -> usize {
    let mut found = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[found] {
            found = place;
        }
    }
    found
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub agreement: f64,
    pub metric: &'static str,
    pub fp32: Interval,
    pub bf16: Interval,
    /// The greatest of a number that the network gives, and as a share of the largest of them where that is above one.
    pub difference: f64,
    pub share: f64,
}

/// From what both say of each item, in the items' order.
pub(super) fn judge(manifest: &Manifest, items: &[Item], fp32: &[Answer], bf16: &[Answer]) -> Judged {
    let same = fp32.iter().zip(bf16).filter(|(one, other)| one.findings == other.findings).count();
    let pairs = || fp32.iter().zip(bf16).flat_map(|(one, other)| one.logits.iter().zip(&other.logits));
    let difference = pairs().map(|(one, other)| f64::from((one - other).abs())).fold(0.0, f64::max);
    let largest = pairs().map(|(one, _)| f64::from(one.abs())).fold(1.0, f64::max);
    Judged {
        agreement: same as f64 / items.len() as f64,
        metric: if by_class(manifest) { "accuracy" } else { "auc" },
        fp32: score(manifest, items, fp32),
        bf16: score(manifest, items, bf16),
        difference,
        share: difference / largest,
    }
}

impl Judged {
    /// Why it does not suffice; none where it does.
    pub(super) fn reasons(&self) -> Vec<String> {
        let Self {
            agreement,
            metric,
            fp32: Interval { value: before, .. },
            bf16: Interval { value: after, .. },
            ..
        } = self;
        let mut reasons = Vec::new();
        // What is no number fails too.
        if agreement.is_nan() || *agreement < LEAST_AGREEMENT {
            reasons.push(format!("agreement {agreement:.4} below {LEAST_AGREEMENT}"));
        }
        let loss = before - after;
        if loss.is_nan() || loss > GREATEST_LOSS {
            reasons.push(format!("{metric} falls from {before:.4} to {after:.4}, more than {GREATEST_LOSS}"));
        }
        reasons
    }
}

/// The accuracy of classes, or the mean AUC of the reported labels that have both classes.
fn score(manifest: &Manifest, items: &[Item], answers: &[Answer]) -> Interval {
    if by_class(manifest) {
        let known = items.iter().zip(answers).filter_map(|(item, answer)| match item.known {
            Known::Class(Some(class)) => Some((item.patient.as_str(), greatest(&answer.ranks) == class)),
            Known::Class(None) | Known::Labels(_) => None,
        });
        let known: Vec<_> = known.collect();
        let groups = Groups::new(known.iter().map(|(patient, _)| *patient));
        return groups.interval(|weights| {
            let (mut right, mut all) = (0, 0);
            for ((_, is_right), group) in known.iter().zip(&groups.of_item) {
                all += weights[*group];
                right += if *is_right { weights[*group] } else { 0 };
            }
            right as f64 / all as f64
        });
    }
    let groups = Groups::new(items.iter().map(|item| item.patient.as_str()));
    let reported = manifest.labels.iter().enumerate().filter(|(_, label)| !label.suppressed);
    let labels: Vec<_> = reported.map(|(index, _)| Ranked::of(index, items, answers, &groups)).collect();
    groups.interval(|weights| {
        let areas = labels.iter().map(|label| label.auc(weights)).filter(|area| !area.is_nan());
        let (sum, count) = areas.fold((0.0, 0_u32), |(sum, count), area| (sum + area, count + 1));
        sum / f64::from(count)
    })
}

/// The items of one label that are known, by ascending rank.
struct Ranked(Vec<(f64, bool, usize)>);

impl Ranked {
    fn of(index: usize, items: &[Item], answers: &[Answer], groups: &Groups) -> Self {
        let mut known = Vec::new();
        for ((item, answer), group) in items.iter().zip(answers).zip(&groups.of_item) {
            if let Known::Labels(truths) = &item.known
                && let Some(truth) = truths[index]
            {
                // -0 is 0, and tied with it.
                known.push((answer.ranks[index] + 0.0, truth, *group));
            }
        }
        known.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        Self(known)
    }

    /// NaN where one class is missing.
    fn auc(&self, weights: &[u64]) -> f64 {
        let mut area = RocArea::default();
        for tied in self.0.chunk_by(|one, other| one.0.to_bits() == other.0.to_bits()) {
            let weight = |wanted: bool| -> u64 {
                tied.iter().filter(|(_, truth, _)| *truth == wanted).map(|(.., group)| weights[*group]).sum()
            };
            area.add(weight(true), weight(false));
        }
        area.value()
    }
}
