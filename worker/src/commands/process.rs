//! `nightread process`: the service's pipeline over an embedded queue and folders.

use std::io::IsTerminal;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nightread_domain::announcement::{AllowedSources, Native};
use nightread_domain::{Attributes, BlobRef, Disposition, JobError, Lane, Message};
use walkdir::WalkDir;

use self::summary::{Row, Summary};
use super::{FAILED, WRONG_USE, print, say};
use crate::adapters::queue::memory::MemoryQueue;
use crate::adapters::storage::folder::FolderStore;
use crate::app::{self, Stores};
use crate::cli::{Format, ProcessArgs};
use crate::pipeline::intake::{Ended, Observer, Outage, Run, Stop};
use crate::pipeline::models::Opening;
use crate::pipeline::process::{Outcome, Report, Tools};
use crate::telemetry::logs;

mod summary;

/// The container that stands for this machine's files; blob names are absolute paths without the leading slash.
pub(super) const LOCAL: &str = "local";
pub(super) const RESULTS: &str = "results";

/// With fewer inputs, measuring how to split the cores would take longer than it saves.
const WORTH_MEASURING: usize = 200;

pub(super) fn run(args: &ProcessArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let jobs = args.jobs.map(|jobs| ("limits", "jobs", jobs.to_string()));
    let precision = args.precision.clone().map(|precision| ("models", "precision", precision));
    let flags: Vec<_> = jobs.into_iter().chain(precision).collect();
    let (_, settings, problems) = app::settings(&args.common, &flags);
    let Some(settings) = settings.filter(|_| problems.is_empty()) else {
        say(&problems.to_string());
        return Ok(ExitCode::from(WRONG_USE));
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let out = args.out.canonicalize().context("the output folder has no absolute path")?;
    let inputs = inputs(&args.paths, &out)?;
    if inputs.is_empty() {
        say("nothing to read: the folders hold no files");
        return Ok(ExitCode::from(WRONG_USE));
    }

    let source = FolderStore::of_a_person([(LOCAL.to_owned(), PathBuf::from("/"))]);
    let results = FolderStore::of_a_person([(RESULTS.to_owned(), out.clone())]);
    let stores = Stores {
        source: Arc::new(source),
        results: Arc::new(results),
        results_container: RESULTS.to_owned(),
    };
    let worth_measuring = inputs.len() >= WORTH_MEASURING;
    let (model, opening) = (args.model.as_deref(), Opening::AtFirstStudy);
    let tools = Arc::new(app::tools(&settings, &stores, model, opening, worth_measuring)?);
    let (messages, refused) = messages(&inputs, args.force);
    let watch = Arc::new(Watch::new(inputs.len(), args.format));
    for path in &refused {
        watch.add(Row::refused(path));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(consume(tools, messages, Arc::clone(&watch), settings.drain))?;
    let summary = watch.finish();
    match args.format {
        Format::Table => print(&summary.as_text(&out))?,
        Format::Json => print(&serde_json::to_string_pretty(&summary.as_json(&out))?)?,
    }
    match ended {
        Ended::Fatal(error) => Err(error.into()),
        Ended::Drained if summary.all_good() => Ok(ExitCode::SUCCESS),
        Ended::Drained | Ended::GaveBack => Ok(ExitCode::from(FAILED)),
    }
}

async fn consume(
    tools: Arc<Tools>,
    messages: Vec<Message>,
    watch: Arc<Watch>,
    drain_deadline: Duration,
) -> Result<Ended> {
    let stop = Stop::default();
    tokio::spawn(stop_on_interrupt(stop.clone()));
    let allowed = AllowedSources::new([], [LOCAL], RESULTS)?;
    let run = Run { tools, allowed, observer: watch, stop, drain_deadline, outage: Outage::End };
    Ok(run.run(Box::new(MemoryQueue::new(messages))).await)
}

/// Control-C finishes what is in hand; a second one gives it up.
async fn stop_on_interrupt(stop: Stop) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.drain.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.abandon.cancel();
        }
    }
}

/// The absolute path without `..` and links on the way, so that a file has one name however it was typed. The last
/// part is kept as it is: a link to a picture is an input of its own.
fn located(path: &Path) -> std::io::Result<PathBuf> {
    match (path.is_dir(), path.parent(), path.file_name()) {
        (true, _, _) => path.canonicalize(),
        (false, Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map(|parent| parent.join(name)).or_else(|_| absolute(path))
        }
        (false, _, _) => absolute(path),
    }
}

/// All files under the paths, absolute and in a stable order. A path that does not exist is an input that fails.
pub(super) fn inputs(paths: &[PathBuf], out: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let path = located(path).with_context(|| format!("{} has no absolute path", path.display()))?;
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
        let walk = WalkDir::new(&path).sort_by_file_name().into_iter();
        let kept = walk.filter_entry(|entry| {
            entry.path() != out && (entry.depth() == 0 || !is_hidden(entry.file_name()))
        });
        for entry in kept {
            match entry {
                // A link to a file is read; a link to a folder could loop.
                Ok(entry) if entry.path().is_file() => files.push(entry.into_path()),
                Ok(_) => {}
                Err(error) => {
                    if let Some(unreadable) = error.path() {
                        files.push(unreadable.to_owned());
                    }
                }
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// One announcement per file; and the files whose names cannot be blob names.
fn messages(inputs: &[PathBuf], force: bool) -> (Vec<Message>, Vec<PathBuf>) {
    let mut messages = Vec::with_capacity(inputs.len());
    let mut refused = Vec::new();
    for path in inputs {
        let name = path.to_str().map(|text| text.trim_start_matches('/'));
        let Some(blob) = name.and_then(|name| BlobRef::new(LOCAL, name).ok()) else {
            refused.push(path.clone());
            continue;
        };
        let native = Native { blob: blob.to_string(), model: None, force, correlation_id: None };
        // A struct of texts and a flag always serialises.
        let body = Bytes::from(serde_json::to_vec(&native).unwrap_or_default());
        messages.push(Message { body, attributes: Attributes::for_lane(Lane::Ingest) });
    }
    (messages, refused)
}

/// Keeps a row per finished file and moves the progress bar.
#[derive(Debug)]
struct Watch {
    bar: ProgressBar,
    started: Instant,
    rows: Mutex<Vec<Row>>,
    total: usize,
}

impl Watch {
    fn new(total: usize, format: Format) -> Self {
        let shown = std::io::stderr().is_terminal() && format == Format::Table;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {eta} {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), rows: Mutex::new(Vec::new()), total }
    }

    fn add(&self, row: Row) {
        self.bar.inc(1);
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }

    fn finish(&self) -> Summary {
        self.bar.finish_and_clear();
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        Summary::new(rows, self.total, self.started.elapsed())
    }
}

#[async_trait]
impl Observer for Watch {
    async fn job_ended(&self, report: &Report, _disposition: &Disposition) -> Result<(), JobError> {
        // What comes again is counted when it ends for good.
        if !matches!(report.outcome, Outcome::Unfinished(_)) {
            self.add(Row::of(report));
        }
        Ok(())
    }
}
