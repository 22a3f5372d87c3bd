//! The page of a comparison: what it says, in order.

use nightread_domain::result::NOTICE;

use super::comparison::{Comparison, SideFacts};
use super::components::Components;
use super::differences::Differences;
use super::joined::Reason;
use super::judgement::{Judgement, Rate};
use super::page::{Block, Page, Table, fixed, visible};
use super::reliability_chart::ReliabilityChart;
use super::segments::{SegmentComparison, Segments};
use super::tables;

/// What is shown of a comparison.
pub fn page(comparison: &Comparison) -> Page {
    let mut page =
        Page { title: "Comparison of results".to_owned(), blocks: Vec::new(), notice: NOTICE.to_owned() };
    summary(&mut page, comparison);
    studies(&mut page, comparison);
    if !comparison.labels.is_empty() {
        page.heading("Decisions by label");
        page.table(tables::decisions(&comparison.labels));
        page.heading("Differences of probability, B - A");
        let probabilities = comparison.labels.iter().map(|label| (label.label.clone(), &label.probability));
        page.table(tables::differences("label", probabilities, 4));
        page.heading("Differences of the logit, B - A");
        let logits = comparison.labels.iter().map(|label| (label.label.clone(), &label.logit));
        page.table(tables::differences("label", logits, 4));
    }
    if let Some(components) = &comparison.components {
        scans(&mut page, components);
    }
    if let Some(segments) = &comparison.segments {
        volumes(&mut page, segments);
    }
    flips(&mut page, comparison);
    if let Some(judgement) = &comparison.judgement {
        judged(&mut page, judgement);
    }
    page
}

fn summary(page: &mut Page, comparison: &Comparison) {
    let share = comparison
        .flip_share
        .map_or_else(|| "nothing was compared".to_owned(), |share| format!("{:.3} %", 100.0 * share));
    page.text(&format!(
        "{} of {} decisions differ ({share}) over {} studies. {}",
        comparison.flips,
        comparison.decisions,
        comparison.compared,
        if comparison.passed { "Within the limits." } else { "Past the limits." }
    ));
    let mut sides =
        Table::new(&["side", "source", "model", "version", "precision", "documents", "unreadable"], 5);
    for (name, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        side_rows(&mut sides, name, side);
    }
    page.table(sides);
    let mut checks = Table::new(&["limit on", "result", "found", "of", "at most"], 2);
    // Every label has a limit of its own; those that hold say nothing new.
    let told = comparison.checks.iter().filter(|check| !check.passed || !check.what.contains(" of "));
    for check in told {
        let result = if check.passed { "within" } else { "PAST" };
        let [found, of, limit] = [check.found.to_string(), check.of.to_string(), check.limit.to_string()];
        checks.row(&[check.what.clone(), result.to_owned(), found, of, limit]);
    }
    page.table(checks);
}

fn side_rows(table: &mut Table, name: &str, side: &SideFacts) {
    for (place, counted) in side.models.iter().enumerate() {
        let model = &counted.model;
        let (source, unreadable) = match place {
            0 => (side.source.clone(), side.unreadable.to_string()),
            _ => (String::new(), String::new()),
        };
        table.row(&[
            name.to_owned(),
            source,
            model.name.clone(),
            model.version.clone(),
            model.precision.clone(),
            counted.documents.to_string(),
            unreadable,
        ]);
    }
}

fn studies(page: &mut Page, comparison: &Comparison) {
    page.heading("Studies");
    let mut counts = Table::new(&["studies", "count"], 1);
    counts.row(&["on either side".to_owned(), comparison.studies.to_string()]);
    counts.row(&["compared".to_owned(), comparison.compared.to_string()]);
    counts.row(&["failed in both".to_owned(), comparison.failed_in_both.to_string()]);
    for reason in Reason::ALL {
        counts.row(&[reason.as_str().to_owned(), comparison.unpaired.count(reason).to_string()]);
    }
    page.table(counts);
    let mut failures = Table::new(&["failure", "A", "B"], 1);
    for (code, [a, b]) in &comparison.failures {
        failures.row(&[(*code).to_owned(), a.to_string(), b.to_string()]);
    }
    page.table(failures);
    let mut named = Table::new(&["study", "why it is not compared", "failure"], 3);
    for study in &comparison.unpaired.named {
        let code = study.code.unwrap_or_default().to_owned();
        named.row(&[study.study.clone(), study.reason.as_str().to_owned(), code]);
    }
    let left_out = comparison.unpaired.studies - named.rows.len();
    page.table(named);
    if left_out > 0 {
        page.text(&format!("{left_out} more are not compared."));
    }
}

fn scans(page: &mut Page, components: &Components) {
    page.heading("Components of scans");
    page.text(&format!(
        "{} of {} components changed their label; agreement {}, Cohen's kappa {}. Components are matched by their place among the group maps{}",
        components.changed,
        components.compared,
        fixed(components.agreement, 4),
        fixed(components.kappa, 4),
        match components.same_manifest {
            Some(true) => ".",
            Some(false) => ": the manifests of A and B differ, so make sure that their group maps are the same.",
            None => "; the documents do not say whether those are the same.",
        }
    ));
    page.table(tables::components(&components.by_index));
    let mut changes = Table::new(&["label in A", "label in B", "components"], 2);
    for change in &components.changes {
        changes.row(&[said(change.a.as_ref()), said(change.b.as_ref()), change.components.to_string()]);
    }
    page.table(changes);
    page.heading("Differences of the components' probability, B - A");
    let probabilities =
        components.by_index.iter().map(|component| (component.index.to_string(), &component.probability));
    page.table(tables::differences("component", probabilities, 4));
}

/// Of one segment.
type Figure = fn(&SegmentComparison) -> &Differences;

fn volumes(page: &mut Page, segments: &Segments) {
    page.heading("Segments of CT volumes");
    page.text(&format!(
        "{} of {} segments are found on one side only; agreement {}, Cohen's kappa {}. Segments are matched by their labels. How far the label maps overlap, documents do not tell.",
        segments.flips,
        segments.compared,
        fixed(segments.agreement, 4),
        fixed(segments.kappa, 4),
    ));
    page.table(tables::segments(&segments.by_label));
    let figures: [(&str, Figure, usize); 3] = [
        ("Differences of volume in mL, B - A", |segment| &segment.volume_ml, 2),
        ("Differences of volume in percent of the mean of both, B - A", |segment| &segment.volume_percent, 2),
        ("Differences of the mean in Hounsfield units, B - A", |segment| &segment.mean_hu, 2),
    ];
    for (heading, figure, decimals) in figures {
        page.heading(heading);
        page.text("Over the volumes in which both sides found the segment.");
        let rows = segments.by_label.iter().map(|segment| (segment.label.clone(), figure(segment)));
        page.table(tables::differences("segment", rows, decimals));
    }
}

fn said(label: Option<&String>) -> String {
    label.cloned().unwrap_or_else(|| "withheld".to_owned())
}

fn flips(page: &mut Page, comparison: &Comparison) {
    page.heading("Flips");
    let mut named =
        Table::new(&["study", "label or component", "A", "B", "probability A", "probability B"], 4);
    for flip in &comparison.named_flips {
        let component = flip.component.map(|index| format!("component {index}"));
        named.row(&[
            flip.study.clone(),
            flip.label.clone().or(component).unwrap_or_default(),
            said(flip.a.said.as_ref()),
            said(flip.b.said.as_ref()),
            fixed(Some(flip.a.probability.into()), 4),
            fixed(Some(flip.b.probability.into()), 4),
        ]);
    }
    let segments = comparison.segments.as_ref().map_or(&[][..], |segments| &segments.named_flips);
    let left_out = comparison.flips - (named.rows.len() + segments.len()) as u64;
    page.table(named);
    page.table(tables::presence_flips(segments));
    match (comparison.flips, left_out) {
        (0, _) => page.text("None."),
        (_, 0) => {}
        _ => page.text(&format!("{left_out} more flips, of smaller differences of probability or volume.")),
    }
}

fn judged(page: &mut Page, judgement: &Judgement) {
    page.heading("Against the truth");
    let drawn = match &judgement.group {
        Some(column) => format!("{} groups of the column {column}", judgement.groups),
        None => {
            "the studies one by one: if a patient has several images, the intervals are too narrow".to_owned()
        }
    };
    page.text(&format!(
        "{} studies are judged. Intervals hold 95 %: percentiles of {} bootstrap draws (seed {}) of {drawn}. A dash is undefined.",
        judgement.studies, judgement.bootstrap.draws, judgement.bootstrap.seed
    ));
    let mut not_judged = Table::new(&["not judged", "what"], 2);
    for (what, which) in [
        ("compared studies that the truth does not name", judgement.studies_without_truth.to_string()),
        ("studies of the truth that were not compared", judgement.truth_without_study.to_string()),
        ("labels of both models without a column", list(&judgement.labels_without_truth)),
        ("columns that are no label of both models", list(&judgement.columns_without_label)),
    ] {
        not_judged.row(&[what.to_owned(), which]);
    }
    page.table(not_judged);
    for rate in Rate::ALL {
        page.heading(&capital(rate.as_str()));
        page.table(tables::rates(&judgement.labels, rate));
    }
    page.heading("Reliability");
    page.text("Share of true images among those of a bin of probability, and how many they are.");
    page.table(tables::reliability(&judgement.labels));
    if !judgement.labels.is_empty() {
        page.text("Circles are A, squares are B; lines are 95 % intervals.");
    }
    let charts = judgement.labels.iter().map(|label| {
        let reliability = label.reliability.clone();
        Block::Chart(ReliabilityChart { label: visible(&label.label), reliability })
    });
    page.blocks.extend(charts);
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
