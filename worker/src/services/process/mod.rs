//! `nightread process`: the service's pipeline over an embedded queue and folders.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use nightread_domain::announcement::{AllowedSources, Native, NativeSeries};
use nightread_domain::storing::{Identity, result_blob};
use nightread_domain::{Attributes, BlobRef, Lane, Message, Task};
use serde::Serialize;
use tokio::runtime::Runtime;

use self::inputs::Named;
use self::series::SeriesInput;
use self::summary::Row;
use self::watch::ProgressWatch;
use crate::adapters::memory::MemoryQueue;
use crate::adapters::storage::folder::FolderStore;
use crate::app::{self, Composition, Stores, WrongUse};
use crate::cli::ProcessArgs;
use crate::compute::models::LoadPolicy;
use crate::flow::valve::Valve;
use crate::pipeline::intake::{Outage, Run};
use crate::pipeline::serving::{RunEnd, Stop};
use crate::pipeline::tools::Tools;
use crate::services::autotune;
use crate::services::results::report::{self, Made};
use crate::services::results::table::by_name;
use crate::services::walk::Names;
use crate::settings::Settings;

pub(super) use self::inputs::{Inputs, LOCAL};
pub(crate) use self::summary::Summary;

mod inputs;
mod series;
mod summary;
mod table;
mod watch;

pub(super) const RESULTS: &str = "results";

/// With fewer inputs to read, measuring how to split the cores would take longer than it saves.
const WORTH_MEASURING: usize = 200;

/// What became of the inputs.
#[derive(Debug)]
pub(crate) struct Processed {
    pub ended: RunEnd,
    pub summary: Summary,
    /// The folder of the results, as an absolute path.
    pub out: PathBuf,
    /// What became of the report, where one was asked for.
    pub reported: Option<Result<Made>>,
}

/// Reads what `args` name. Blocks until all has ended, and ends `runtime` with it; `shows_progress` is for a terminal.
///
/// # Errors
/// [`WrongUse`] when nothing can be read as it was asked for; whatever kept the run from beginning.
pub(crate) fn run(
    args: &ProcessArgs,
    settings: &Settings,
    runtime: Runtime,
    shows_progress: bool,
) -> Result<Processed> {
    let started = Instant::now();
    let root = match &args.root {
        Some(root) => {
            root.canonicalize().map_err(|error| WrongUse(format!("--root {}: {error}", root.display())))?
        }
        None => PathBuf::from("/"),
    };
    args.table.as_deref().map(by_name).transpose().map_err(WrongUse)?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let out = args.out.canonicalize().context("the output folder has no absolute path")?;
    let inputs = Inputs::gather(&args.paths, &Names::new(&args.names)?, &out)?;
    if inputs.files.is_empty() {
        let besides = summary::besides(&inputs.left_out);
        return Err(WrongUse(format!("nothing to read: no studies are there{besides}")).into());
    }
    let named = Named::new(&inputs.files, &root).map_err(WrongUse)?;

    let sets = tempfile::Builder::new().prefix("nightread-sets-").tempdir()?;
    let containers = [(LOCAL.to_owned(), root.clone()), (series::SETS.to_owned(), sets.path().to_owned())];
    let source = FolderStore::of_a_person(containers).with_memory_bytes(settings.limits.memory_bytes);
    let stores = Stores {
        source: Arc::new(source),
        results: Arc::new(FolderStore::of_a_person([(RESULTS.to_owned(), out.clone())])),
        results_container: RESULTS.to_owned(),
        // A copy of a data set has other times and inodes, and the same studies.
        identity: Identity::Content,
        watched: vec![LOCAL.to_owned()],
        sidecars: true,
        spools: false,
    };
    let worth_measuring = |composition: &Composition| {
        let waiting = named.blobs.iter().filter(|blob| args.force || !has_result(composition, &out, blob));
        waiting.take(WORTH_MEASURING).count() == WORTH_MEASURING
    };
    let load_policy = LoadPolicy::Lazy { studies: named.blobs.len() };
    let model = args.model.as_deref();
    let composition = app::compose(settings, &app::catalogue(settings, model)?, model)?;
    let tools = autotune::tools(composition, settings, &stores, load_policy, worth_measuring)?;
    let tools = Arc::new(tools);
    let reads_volumes = tools.routing.rules.iter().any(|rule| rule.task == Task::Segmentation);
    let (asked, messages) = if reads_volumes {
        let gathered = runtime.block_on(series::gathered(&named.blobs, &*tools.source, &sets))?;
        let of_series = gathered.series.iter().map(|input| (input.name.clone(), of_set(input, args.force)));
        let of_files = gathered.files.into_iter().map(|blob| of_file(blob, args.force));
        of_files.chain(of_series).unzip()
    } else {
        named.blobs.iter().cloned().map(|blob| of_file(blob, args.force)).unzip()
    };
    let asked: Vec<BlobRef> = asked;
    let volume = Arc::clone(tools.reader.models.volumes().progress());
    let total = asked.len() + named.refused.len();
    let watch = Arc::new(ProgressWatch::new(total, &root, volume, shows_progress));
    for (file, error) in &named.refused {
        watch.refuse(file, error);
    }
    let ended = runtime.block_on(consume(tools, messages, Arc::clone(&watch), settings.drain))?;
    let ended_by = if let RunEnd::Fatal(error) = &ended { Some(error) } else { None };
    let rows = watch.finish(&asked, ended_by);
    if let Some(file) = &args.table {
        table::write(&rows, &out, file)?;
    }
    let elapsed = started.elapsed();
    let reported = args.report.as_ref().map(|page| {
        let documents = rows.iter().filter_map(Row::stored);
        let reported = runtime.block_on(report::of_run(page, &args.out, &root, settings, documents));
        reported.with_context(|| format!("no report: {}", page.display()))
    });
    // Nobody waits for what was given up in the middle.
    runtime.shutdown_background();
    let summary = Summary::new(rows, inputs.left_out, elapsed);
    Ok(Processed { ended, summary, out, reported })
}

/// Whether a document lies where this input's would. What it says is judged when the input's turn comes.
fn has_result(composition: &Composition, out: &Path, blob: &BlobRef) -> bool {
    composition.opened.models().any(|model| {
        let result = result_blob(RESULTS, &model.facts.name, &model.facts.version_in_paths(), blob);
        result.is_ok_and(|result| out.join(result.name()).exists())
    })
}

async fn consume(
    tools: Arc<Tools>,
    messages: Vec<Message>,
    watch: Arc<ProgressWatch>,
    drain_deadline: Duration,
) -> Result<RunEnd> {
    let stop = Stop::default();
    tokio::spawn(stop_on_interrupt(stop.clone()));
    let allowed = AllowedSources::new([], [LOCAL, series::SETS], RESULTS)?;
    let (valve, outage) = (Valve::default(), Outage::End);
    let run = Run {
        tools,
        allowed,
        observer: watch,
        sinks: Vec::new(),
        stop,
        valve,
        drain_deadline,
        outage,
        limit: None,
    };
    Ok(run.run(Box::new(MemoryQueue::new(messages))).await)
}

/// Control-C finishes what is in flight; a second one gives it up.
async fn stop_on_interrupt(stop: Stop) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.drain.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.abandon.cancel();
        }
    }
}

/// An input, and its announcement.
fn of_file(blob: BlobRef, force: bool) -> (BlobRef, Message) {
    let native = Native { blob: blob.to_string(), model: None, force, correlation_id: None };
    let message = message(&native);
    (blob, message)
}

fn of_set(input: &SeriesInput, force: bool) -> Message {
    message(&NativeSeries { force, ..NativeSeries::of_set(input.set.as_str()) })
}

fn message(native: &impl Serialize) -> Message {
    // A struct of texts and a flag always serialises.
    let body = Bytes::from(serde_json::to_vec(native).unwrap_or_default());
    Message { body, attributes: Attributes::for_lane(Lane::Ingest) }
}
