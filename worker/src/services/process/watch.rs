//! Follows a run: a row for each input, and the progress bar, which moves while the run lasts and so is none of the command's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use nightread_domain::result::ErrorFacts;
use nightread_domain::{BlobRef, Disposition, ErrorCode, JobError, Stage};

use super::summary::Row;
use crate::flow::observer::Observer;
use crate::flow::report::{JobReport, Outcome};
use crate::flow::sweep::SweepProgress;

/// A volume takes minutes, in which no study ends.
const TICK: Duration = Duration::from_millis(500);

/// The rows so far, by file.
#[derive(Debug)]
pub(super) struct ProgressWatch {
    bar: ProgressBar,
    /// Names are below it.
    root: PathBuf,
    /// One for each model that read the file.
    rows: Mutex<BTreeMap<PathBuf, Vec<Row>>>,
}

impl ProgressWatch {
    pub fn new(total: usize, root: &Path, volume: Arc<SweepProgress>, shown: bool) -> Self {
        let shown = shown && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {eta} {volume}") {
            bar.set_style(style.with_key("volume", move |_: &ProgressState, line: &mut dyn Write| {
                // What cannot be shown is shown at the next tick.
                let _ = write!(line, "{volume}");
            }));
        }
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, root: root.to_owned(), rows: Mutex::default() }
    }

    /// A file that could not even be asked for.
    pub fn refuse(&self, file: &Path, error: &JobError) {
        self.end(Row::without_document(
            file.to_owned(),
            Outcome::GivenUp(error.code),
            ErrorFacts::from(error),
        ));
    }

    fn end(&self, row: Row) {
        self.bar.inc(1);
        self.note(row);
    }

    fn note(&self, row: Row) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let of_file = rows.entry(row.file.clone()).or_default();
        match of_file.iter_mut().find(|noted| noted.is_of_the_same(&row)) {
            // What this run read stands, though its file came again for another model.
            Some(noted) if noted.was_read_before(&row) => {}
            Some(noted) => *noted = row,
            None => {
                // Until a model was chosen there was one row for all.
                of_file.retain(|noted| !noted.is_of_none());
                of_file.push(row);
            }
        }
    }

    /// Every input's row. Those that never ended say what ended the run.
    pub fn finish(&self, asked: &[BlobRef], ended_by: Option<&JobError>) -> Vec<Row> {
        self.bar.finish_and_clear();
        let mut rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        let facts = ErrorFacts {
            code: ended_by.map_or(ErrorCode::ShuttingDown, |error| error.code),
            stage: ended_by.map_or(Stage::Start, |error| error.stage),
            message: "the run ended before this was read".to_owned(),
        };
        for blob in asked {
            let file = self.root.join(blob.name());
            rows.entry(file.clone()).or_insert_with(|| {
                vec![Row::without_document(file, Outcome::Unfinished(facts.code), facts.clone())]
            });
        }
        rows.into_values().flatten().collect()
    }
}

impl Observer for ProgressWatch {
    fn job_ended(&self, reports: &[JobReport], disposition: &Disposition) {
        for report in reports {
            self.note(Row::of(self.root.join(report.job.study.name().name()), report));
        }
        // What comes again counts when it ends for good; its rows stand until then.
        if matches!(disposition, Disposition::Done | Disposition::DeadLetter { .. }) {
            self.bar.inc(1);
        }
    }
}
