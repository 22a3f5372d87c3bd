//! The tables of a page.

use super::bootstrap::Interval;
use super::components::ComponentComparison;
use super::differences::Differences;
use super::findings::LabelComparison;
use super::judgement::{JudgedLabel, Rate, ReliabilityBin};
use super::measures::BINS;
use super::page::{Table, fixed, signed};
use super::segments::{PresenceFlip, SegmentComparison};

pub(crate) fn decisions(labels: &[LabelComparison]) -> Table {
    let mut table = Table::new(
        &[
            "label",
            "compared",
            "only A",
            "only B",
            "both +",
            "both -",
            "- to +",
            "+ to -",
            "flips",
            "agreement",
            "kappa",
            "threshold A",
            "threshold B",
        ],
        1,
    );
    for label in labels {
        table.row(&[
            label.label.clone(),
            label.compared.to_string(),
            label.only_in_a.to_string(),
            label.only_in_b.to_string(),
            label.positive_in_both.to_string(),
            label.negative_in_both.to_string(),
            label.became_positive.to_string(),
            label.became_negative.to_string(),
            label.flips.to_string(),
            fixed(label.agreement, 4),
            fixed(label.kappa, 4),
            threshold(label.threshold_a),
            threshold(label.threshold_b),
        ]);
    }
    table
}

fn threshold(range: Option<[f32; 2]>) -> String {
    match range {
        None => fixed(None, 0),
        Some([least, greatest]) if least.to_bits() == greatest.to_bits() => format!("{least:.4}"),
        Some([least, greatest]) => format!("{least:.4} to {greatest:.4}"),
    }
}

pub(crate) fn differences<'a>(
    of: &str,
    rows: impl Iterator<Item = (String, &'a Differences)>,
    decimals: usize,
) -> Table {
    let mut table = Table::new(
        &[of, "pairs", "mean", "SD", "limits of agreement", "p5", "median", "p95", "greatest absolute"],
        1,
    );
    for (name, found) in rows {
        table.row(&[
            name,
            found.pairs.to_string(),
            signed(found.mean, decimals),
            fixed(found.sd, decimals),
            found.limits_of_agreement.map_or_else(
                || fixed(None, 0),
                |[low, high]| format!("{} to {}", signed(Some(low), decimals), signed(Some(high), decimals)),
            ),
            signed(found.p5, decimals),
            signed(found.median, decimals),
            signed(found.p95, decimals),
            fixed(found.greatest_absolute, decimals),
        ]);
    }
    table
}

pub(crate) fn components(components: &[ComponentComparison]) -> Table {
    let mut table = Table::new(
        &[
            "component",
            "compared",
            "only A",
            "only B",
            "matched",
            "changed",
            "withheld A",
            "withheld B",
            "agreement",
            "correlation with group map, mean B - A",
            "peak distance mm, median",
            "greatest",
        ],
        1,
    );
    for component in components {
        table.row(&[
            component.index.to_string(),
            component.compared.to_string(),
            component.only_in_a.to_string(),
            component.only_in_b.to_string(),
            component.matched.to_string(),
            component.changed.to_string(),
            component.withheld_in_a.to_string(),
            component.withheld_in_b.to_string(),
            fixed(component.agreement, 4),
            signed(component.group_correlation.mean, 4),
            fixed(component.peak_distance_mm.median, 1),
            fixed(component.peak_distance_mm.greatest, 1),
        ]);
    }
    table
}

pub(crate) fn segments(segments: &[SegmentComparison]) -> Table {
    let mut table = Table::new(
        &[
            "segment",
            "compared",
            "only A",
            "only B",
            "found in both",
            "in neither",
            "appeared",
            "vanished",
            "agreement",
            "kappa",
        ],
        1,
    );
    for segment in segments {
        table.row(&[
            segment.label.clone(),
            segment.compared.to_string(),
            segment.only_in_a.to_string(),
            segment.only_in_b.to_string(),
            segment.found_in_both.to_string(),
            segment.found_in_neither.to_string(),
            segment.appeared.to_string(),
            segment.vanished.to_string(),
            fixed(segment.agreement, 4),
            fixed(segment.kappa, 4),
        ]);
    }
    table
}

pub(crate) fn presence_flips(flips: &[PresenceFlip]) -> Table {
    let mut table = Table::new(&["study", "segment", "found in", "mL in A", "mL in B"], 3);
    for flip in flips {
        let [in_a, in_b] = [flip.volume_ml_a, flip.volume_ml_b].map(|volume| fixed(Some(volume), 2));
        table.row(&[flip.study.clone(), flip.label.clone(), flip.found_in.to_string(), in_a, in_b]);
    }
    table
}

pub(crate) fn rates(labels: &[JudgedLabel], rate: Rate) -> Table {
    let mut table =
        Table::new(&["label", "images", "true", "groups", "A", "B", "B - A", "0 outside interval"], 1);
    for label in labels {
        let judged = label.rate(rate);
        let is_off = if judged.difference.is_off_zero() { "yes" } else { "no" };
        table.row(&[
            label.label.clone(),
            label.images.to_string(),
            label.true_images.to_string(),
            label.groups.to_string(),
            interval(&judged.a, fixed),
            interval(&judged.b, fixed),
            interval(&judged.difference, signed),
            if judged.difference.low.is_some() { is_off.to_owned() } else { fixed(None, 0) },
        ]);
    }
    table
}

fn interval(interval: &Interval, shown: fn(Option<f64>, usize) -> String) -> String {
    match (interval.low, interval.high) {
        (Some(_), Some(_)) => format!(
            "{} ({} to {})",
            shown(interval.value, 4),
            shown(interval.low, 4),
            shown(interval.high, 4)
        ),
        _ => shown(interval.value, 4),
    }
}

/// A row for each side of each label.
pub(crate) fn reliability(labels: &[JudgedLabel]) -> Table {
    let bins: Vec<String> = (0..BINS).map(|bin| format!("0.{bin} on")).collect();
    let header: Vec<&str> = ["label", "side"].into_iter().chain(bins.iter().map(String::as_str)).collect();
    let mut table = Table::new(&header, 2);
    for label in labels {
        for (side, bins) in [("A", &label.reliability.a), ("B", &label.reliability.b)] {
            let mut cells = [const { String::new() }; BINS + 2];
            let shown = [label.label.clone(), side.to_owned()].into_iter().chain(bins.iter().map(observed));
            for (cell, text) in cells.iter_mut().zip(shown) {
                *cell = text;
            }
            table.row(&cells);
        }
    }
    table
}

fn observed(bin: &ReliabilityBin) -> String {
    match bin.observed.value {
        Some(share) => format!("{share:.2} ({})", bin.images),
        None => fixed(None, 0),
    }
}
