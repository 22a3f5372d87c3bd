//! What `nightread process` shows in the end.

use std::cmp::Ordering;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nightread_domain::result::{Component, Finding, ResultDocument, Status};
use nightread_domain::{BlobRef, ErrorCode};
use serde_json::json;

use super::super::table::table;
use crate::pipeline::process::{Outcome, Report};

/// Longer tables are cut; the documents hold everything.
const MAX_ROWS: usize = 200;
const TOP_FINDINGS: usize = 4;
/// Labels of one scan, and component numbers of one label.
const MAX_LABELS: usize = 16;
const MAX_NUMBERS: usize = 12;
/// Families that are no brain networks; maps that say nothing have none.
const NO_NETWORK: [&str; 3] = ["NOISE", "UNKNOWN", ""];

/// One input.
#[derive(Clone, Debug)]
pub(super) struct Row {
    file: String,
    outcome: Outcome,
    document: Option<Arc<ResultDocument>>,
    path: Option<BlobRef>,
}

impl Row {
    pub(super) fn of(report: &Report) -> Self {
        Self {
            file: format!("/{}", report.job.source.name()),
            outcome: report.outcome,
            document: report.document.clone(),
            path: report.path.clone(),
        }
    }

    /// A file whose name cannot be a blob name, so that no document can be written for it.
    pub(super) fn refused(path: &Path) -> Self {
        Self {
            file: path.display().to_string(),
            outcome: Outcome::Failed(ErrorCode::SourceNotAllowed),
            document: None,
            path: None,
        }
    }

    fn is_good(&self) -> bool {
        self.document.as_ref().is_some_and(|document| document.status == Status::Ok)
    }

    fn said(&self) -> String {
        let Some(document) = &self.document else {
            return self.outcome.code().map_or("", ErrorCode::as_str).to_owned();
        };
        if let Some(error) = &document.error {
            return format!("{}: {}", error.code, error.message);
        }
        let mut text = match &document.components {
            Some(components) => by_label(components),
            None => top(&document.findings),
        };
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
        match groups.iter_mut().find(|(label, _)| *label == component.label) {
            Some((_, group)) => group.push(component),
            None => groups.push((&component.label, vec![component])),
        }
    }
    let is_network = |component: &Component| !NO_NETWORK.contains(&component.family.as_str());
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

fn top(findings: &[Finding]) -> String {
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    // Positive ones first, then by how near they come to their threshold.
    let closeness = |finding: &Finding| finding.probability - finding.threshold;
    ordered.sort_by(|a, b| closeness(b).partial_cmp(&closeness(a)).unwrap_or(Ordering::Equal));
    let shown: Vec<_> = ordered
        .iter()
        .take(TOP_FINDINGS)
        .map(|finding| {
            let verdict = if finding.positive { "positive" } else { "negative" };
            format!("{} {:.3} ({verdict} at {:.2})", finding.label, finding.probability, finding.threshold)
        })
        .collect();
    shown.join("\n")
}

/// All inputs.
#[derive(Debug)]
pub(super) struct Summary {
    rows: Vec<Row>,
    total: usize,
    elapsed: Duration,
}

impl Summary {
    pub(super) fn new(mut rows: Vec<Row>, total: usize, elapsed: Duration) -> Self {
        rows.sort_by(|a, b| a.file.cmp(&b.file));
        Self { rows, total, elapsed }
    }

    pub(super) fn all_good(&self) -> bool {
        self.rows.len() == self.total && self.rows.iter().all(Row::is_good)
    }

    fn count(&self, outcome: &str) -> usize {
        self.rows.iter().filter(|row| row.outcome.as_str() == outcome).count()
    }

    pub(super) fn as_text(&self, out: &Path) -> String {
        let mut rows = table(["file", "outcome", "findings"]);
        for row in self.rows.iter().take(MAX_ROWS) {
            let file = Path::new(&row.file)
                .file_name()
                .map_or_else(|| row.file.clone(), |n| n.display().to_string());
            rows.add_row([file, row.outcome.as_str().to_owned(), row.said()]);
        }
        let mut text = rows.to_string();
        if self.rows.len() > MAX_ROWS {
            let _infallible = write!(text, "\n... and {} more", self.rows.len() - MAX_ROWS);
        }
        let unfinished = self.total - self.rows.len();
        let rate = self.rows.len() as f64 / self.elapsed.as_secs_f64().max(1e-9);
        let _infallible = write!(
            text,
            "\n{} read, {} already done, {} failed, {unfinished} not finished, in {:.1} s ({rate:.1} a second)\n\
             results: {}\n\
             Research output of a machine-learning model. Not a medical device, not for diagnosis.",
            self.count("read"),
            self.count("already_done") + self.count("superseded"),
            self.count("failed"),
            self.elapsed.as_secs_f64(),
            out.display(),
        );
        text
    }

    pub(super) fn as_json(&self, out: &Path) -> serde_json::Value {
        let results: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let path: Option<PathBuf> = row.path.as_ref().map(|path| out.join(path.name()));
                json!({
                    "file": row.file,
                    "outcome": row.outcome.as_str(),
                    "code": row.outcome.code(),
                    "path": path,
                    "document": row.document.as_deref(),
                })
            })
            .collect();
        json!({
            "results": results,
            "summary": {
                "read": self.count("read"),
                "already_done": self.count("already_done") + self.count("superseded"),
                "failed": self.count("failed"),
                "not_finished": self.total - self.rows.len(),
                "seconds": self.elapsed.as_secs_f64(),
            },
        })
    }
}
