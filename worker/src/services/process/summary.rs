//! What `nightread process` shows in the end.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nightread_domain::result::{
    Component, ErrorFacts, Finding, Measurement, NOTICE, ResultDocument, Segment, Status,
};
use nightread_domain::{BlobRef, ErrorCode};
use serde::Serialize;

use super::inputs::LeftOut;
use crate::console::table::{shown, table};
use crate::flow::report::{JobReport, Outcome};
use crate::telemetry::logs::Verbosity;

/// Longer tables are cut, but never of a failure; the documents hold everything.
const MAX_GOOD_ROWS: usize = 200;
const TOP_FINDINGS: usize = 4;
/// Labels of one scan, and component numbers of one label.
const MAX_LABELS: usize = 16;
const MAX_NUMBERS: usize = 12;
/// Components without a label, because the scan does not cover them.
const NOT_COVERED: &str = "not covered";
/// Families that are no brain networks; maps that say nothing have none.
const NO_NETWORK: [&str; 3] = ["NOISE", "UNKNOWN", ""];

/// One input, as one model read it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub file: PathBuf,
    /// Empty where none was chosen.
    model: String,
    outcome: Outcome,
    error: Option<ErrorFacts>,
    document: Option<Arc<ResultDocument>>,
    path: Option<BlobRef>,
}

impl Row {
    pub fn of(file: PathBuf, report: &JobReport) -> Self {
        Self {
            file,
            model: report.model.clone(),
            outcome: report.outcome,
            error: report.error.clone(),
            document: report.document.clone(),
            path: report.path.clone(),
        }
    }

    /// An input for which none is written, and why.
    pub fn without_document(file: PathBuf, outcome: Outcome, error: ErrorFacts) -> Self {
        Self { file, model: String::new(), outcome, error: Some(error), document: None, path: None }
    }

    /// Whether both are of one model.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.model == other.model
    }

    pub const fn is_of_none(&self) -> bool {
        self.model.is_empty()
    }

    /// Whether this is a reading that the other only met.
    pub fn was_read_before(&self, other: &Self) -> bool {
        self.outcome == Outcome::Read && other.outcome == Outcome::AlreadyDone
    }

    /// The document that stands for this input, and where it lies.
    pub fn stored(&self) -> Option<(&BlobRef, &Arc<ResultDocument>)> {
        self.path.as_ref().zip(self.document.as_ref())
    }

    fn is_good(&self) -> bool {
        self.document.as_ref().is_some_and(|document| document.status == Status::Ok)
    }

    fn said(&self, most: usize) -> String {
        if let Some(error) = &self.error {
            return shown(&format!("{}: {}", error.code, error.message));
        }
        let Some(document) = &self.document else { return String::new() };
        let payload = document.payload.as_ref();
        let mut text = payload.and_then(|payload| payload.components().map(by_label)).unwrap_or_default();
        text += &top(document.findings(), most);
        for Measurement { label, value, unit } in document.measurements() {
            let line_end = if text.is_empty() { "" } else { "\n" };
            let _infallible = write!(text, "{line_end}{label} {value:.2} {unit}");
        }
        text += &by_volume(document.segments());
        for warning in &document.warnings {
            let _infallible = write!(text, "\n! {}", warning.code);
        }
        text
    }
}

/// A line for each label: how many components, their numbers, and how sure the surest is. What is no network comes last.
fn by_label(components: &[Component]) -> String {
    let mut groups: Vec<(&str, Vec<&Component>)> = Vec::new();
    for component in components {
        let name = component.label.as_deref().unwrap_or(NOT_COVERED);
        match groups.iter_mut().find(|(label, _)| *label == name) {
            Some((_, group)) => group.push(component),
            None => groups.push((name, vec![component])),
        }
    }
    groups.sort_by_key(|(_, group)| group.first().is_none_or(|first| !is_network(first)));
    let networks = components.iter().filter(|component| is_network(component)).count();
    let mut lines = vec![format!("{} components, {networks} of networks", components.len())];
    for (label, group) in groups.iter().take(MAX_LABELS) {
        let surest = group.iter().map(|component| component.probability).fold(0.0, f32::max);
        let numbers: Vec<_> =
            group.iter().take(MAX_NUMBERS).map(|component| component.index.to_string()).collect();
        let more = if group.len() > MAX_NUMBERS { " ..." } else { "" };
        lines.push(format!("{label} {surest:.2} ({}{more})", numbers.join(" ")));
    }
    if groups.len() > MAX_LABELS {
        lines.push(format!("... and {} more labels", groups.len() - MAX_LABELS));
    }
    lines.join("\n")
}

/// A line for each segment that was found, the largest first.
fn by_volume(segments: &[Segment]) -> String {
    let mut found: Vec<&Segment> = segments.iter().filter(|segment| segment.voxels > 0).collect();
    if segments.is_empty() {
        return String::new();
    }
    found.sort_by(|a, b| b.volume_ml.total_cmp(&a.volume_ml));
    let mut lines = vec![format!("{} of {} segments", found.len(), segments.len())];
    let shown = found.iter().take(MAX_LABELS);
    lines.extend(shown.map(|segment| format!("{} {:.0} ml", segment.label, segment.volume_ml)));
    if found.len() > MAX_LABELS {
        lines.push(format!("... and {} more", found.len() - MAX_LABELS));
    }
    lines.join("\n")
}

fn is_network(component: &Component) -> bool {
    !NO_NETWORK.contains(&component.family.as_str())
}

fn top(findings: &[Finding], most: usize) -> String {
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    // Positive ones first, then by how near they come to their threshold.
    ordered.sort_by(|a, b| {
        let [a, b] = [a, b].map(|finding| finding.probability - finding.threshold);
        b.partial_cmp(&a).unwrap_or(Ordering::Equal)
    });
    let shown: Vec<_> = ordered
        .iter()
        .take(most)
        .map(|finding| {
            let verdict = if finding.positive { "positive" } else { "negative" };
            format!("{} {:.3} ({verdict} at {:.2})", finding.label, finding.probability, finding.threshold)
        })
        .collect();
    shown.join("\n")
}

/// All inputs: failures first.
#[derive(Debug)]
pub(crate) struct Summary {
    rows: Vec<Row>,
    left_out: LeftOut,
    elapsed: Duration,
}

impl Summary {
    pub(super) fn new(mut rows: Vec<Row>, left_out: LeftOut, elapsed: Duration) -> Self {
        rows.sort_by(|a, b| a.is_good().cmp(&b.is_good()).then_with(|| a.file.cmp(&b.file)));
        Self { rows, left_out, elapsed }
    }

    pub fn all_good(&self) -> bool {
        self.rows.iter().all(Row::is_good)
    }

    fn ended(&self, outcome: &str) -> usize {
        self.rows.iter().filter(|row| row.outcome.as_str() == outcome).count()
    }

    fn counts(&self) -> Counts {
        Counts {
            read: self.ended("read"),
            already_done: self.ended("already_done") + self.ended("superseded"),
            failed: self.ended("failed"),
            given_up: self.ended("given_up"),
            not_finished: self.ended("unfinished"),
            left_out: self.left_out,
            seconds: self.elapsed.as_secs_f64(),
        }
    }

    /// Whether some file was read by more than one model.
    fn has_several_models(&self) -> bool {
        let mut files = BTreeSet::new();
        self.rows.iter().any(|row| !files.insert(&row.file))
    }

    pub fn as_text(&self, out: &Path, verbosity: Verbosity) -> String {
        let (good_rows, findings) = match verbosity {
            Verbosity::Quiet => (0, TOP_FINDINGS),
            Verbosity::Usual => (MAX_GOOD_ROWS, TOP_FINDINGS),
            Verbosity::Verbose | Verbosity::Debug => (usize::MAX, usize::MAX),
        };
        let (failed, good) = self.rows.split_at(self.rows.partition_point(|row| !row.is_good()));
        let folder = common_folder(&self.rows);
        let names_models = self.has_several_models();
        let mut rows = table(["file", "outcome", "findings"]);
        for row in failed.iter().chain(good.iter().take(good_rows)) {
            let file = folder.and_then(|folder| row.file.strip_prefix(folder).ok()).unwrap_or(&row.file);
            let file = shown(&file.display().to_string());
            let mut said = row.said(findings);
            if names_models && !row.is_of_none() {
                said = format!("{}: {said}", shown(&row.model));
            }
            rows.add_row([file, row.outcome.as_str().to_owned(), said]);
        }
        let mut text = if rows.is_empty() { String::new() } else { format!("{rows}\n") };
        if verbosity != Verbosity::Quiet && good.len() > good_rows {
            let _infallible = writeln!(text, "... and {} more that have results", good.len() - good_rows);
        }
        let counts = self.counts();
        let ended = self.rows.len() - counts.not_finished;
        let _infallible = writeln!(
            text,
            "{} read, {} already done, {} failed, {} given up, {} not finished, in {:.1} s ({:.1} a second){}",
            counts.read,
            counts.already_done,
            counts.failed,
            counts.given_up,
            counts.not_finished,
            counts.seconds,
            ended as f64 / counts.seconds.max(1e-9),
            besides(&self.left_out),
        );
        if let Some(folder) = folder {
            let _infallible = writeln!(text, "inputs:  {}", shown(&folder.display().to_string()));
        }
        let _infallible = write!(text, "results: {}\n{NOTICE}", shown(&out.display().to_string()));
        text
    }

    /// The documents as they are stored: their own numbers, never by way of another form.
    pub fn as_json(&self, out: &Path) -> impl Serialize {
        let results: Vec<_> = self
            .rows
            .iter()
            .map(|row| Told {
                file: row.file.display().to_string(),
                model: row.model.as_str(),
                outcome: row.outcome.as_str(),
                code: row.error.as_ref().map(|error| error.code),
                message: row.error.as_ref().map(|error| error.message.as_str()),
                path: row.path.as_ref().map(|path| out.join(path.name()).display().to_string()),
                document: row.document.as_deref(),
            })
            .collect();
        All { results, summary: self.counts() }
    }
}

/// What folders held besides, for the end of a sentence.
pub(super) fn besides(left_out: &LeftOut) -> String {
    let parts = [
        (left_out.no_study, "that are plainly no study"),
        (left_out.linked_folders, "linked folders"),
        (left_out.by_patterns, "by --include and --exclude"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { String::new() } else { format!("\nleft out: {}", parts.join(", ")) }
}

/// The folder that all inputs are in, unless it is the root of everything.
fn common_folder(rows: &[Row]) -> Option<&Path> {
    let mut folders = rows.iter().filter_map(|row| row.file.parent());
    let first = folders.next()?;
    let common = folders
        .try_fold(first, |common, folder| common.ancestors().find(|ancestor| folder.starts_with(ancestor)))?;
    common.parent().is_some().then_some(common)
}

#[derive(Debug, Serialize)]
struct All<'a> {
    results: Vec<Told<'a>>,
    summary: Counts,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    file: String,
    model: &'a str,
    outcome: &'static str,
    code: Option<ErrorCode>,
    message: Option<&'a str>,
    path: Option<String>,
    document: Option<&'a ResultDocument>,
}

#[derive(Debug, Serialize)]
struct Counts {
    read: usize,
    already_done: usize,
    failed: usize,
    given_up: usize,
    not_finished: usize,
    left_out: LeftOut,
    seconds: f64,
}
