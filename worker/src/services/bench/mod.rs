//! `nightread bench`: how fast this machine reads, for every way to split its cores.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nightread_domain::result::ErrorFacts;
use nightread_domain::storing::Identity;
use nightread_domain::{BlobRef, ErrorCode, Job, JobError, Lane, Media, Stage, Task};
use nightread_engine::Catalogue;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) use self::report::BenchReport;
use self::report::{Bulk, Row};
use self::usage::{Usage, resident_mib};
use super::process::{Inputs, LOCAL, RESULTS};
use crate::adapters::storage::folder::FolderStore;
use crate::app::{self, Composition, Stores};
use crate::compute::models::LoadPolicy;
use crate::compute::routes::routing;
use crate::compute::split::{Pace, Split, Until, candidates, closed_loop, grid};
use crate::flow::report::Outcome;
use crate::pipeline::process::process;
use crate::pipeline::tools::Tools;
use crate::services::autotune::images::Image;
use crate::services::autotune::{self, Samples};
use crate::services::walk::Names;
use crate::settings::Settings;
use crate::settings::validate::cores;

mod report;
mod usage;

/// Generated images differ in their noise.
const GENERATED: u64 = 8;

/// As the service does.
const LOAD_POLICY: LoadPolicy = LoadPolicy::Eager;

/// Images read one by one, for the time of a lone one.
const ALONE: usize = 5;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    /// Every split of the cores, so many times for so long.
    Grid { each: Duration, rounds: usize },
    /// So many images with one split.
    Bulk(usize),
}

/// Measures how fast files in `paths`, or generated images, are read. Blocks until it is done; `runtime` ends with it.
///
/// # Errors
/// When there is no model or nothing to read, or when an image was not read.
pub(crate) fn run(
    paths: &[PathBuf],
    model: Option<&str>,
    measure: Measure,
    settings: Settings,
    runtime: Runtime,
) -> Result<BenchReport> {
    let catalogue = app::catalogue(&settings, model)?;
    let model = match model {
        Some(model) => model.to_owned(),
        None => default_model(&settings, &catalogue)?,
    };
    let composition = app::compose(&settings, &catalogue, Some(&model))?;
    let bench = Bench::new(paths, settings, composition, &model, runtime)?;
    match measure {
        Measure::Grid { each, rounds } => bench.grid(each, rounds),
        Measure::Bulk(count) => bench.bulk(count),
    }
}

/// The model that reads images, or the one that there is.
fn default_model(settings: &Settings, catalogue: &Catalogue) -> Result<String> {
    let rules = routing(&settings.routing, catalogue, settings.engine.precision());
    let rules = rules.map_err(anyhow::Error::msg)?.rules;
    let images = rules.iter().find(|rule| rule.task == Task::Radiograph);
    let rule = images.or(rules.first()).context("there is no model of this precision: name one")?;
    Ok(rule.models.first().context("a route without a model")?.clone())
}

/// What all measurements share.
struct Bench {
    composition: Composition,
    settings: Settings,
    /// Of the files that are read in turn; none for models of scans.
    images: Arc<Vec<BlobRef>>,
    what: String,
    samples: Samples,
    runtime: Runtime,
    folder: TempDir,
}

impl Bench {
    fn new(
        paths: &[PathBuf],
        settings: Settings,
        mut composition: Composition,
        model: &str,
        runtime: Runtime,
    ) -> Result<Self> {
        autotune::choose_providers(&mut composition, &settings, LOAD_POLICY)?;
        let folder = tempfile::Builder::new().prefix("nightread-bench-").tempdir()?;
        let samples = Samples::of(&composition, LOAD_POLICY)?;
        if samples.is_empty() {
            bail!("{model} reads CT volumes: time one with `nightread process`, which tells each stage");
        }
        let (files, what) = if !samples.are_images() {
            if !paths.is_empty() {
                bail!("{model} reads scans: they are measured from the tensor on, without files");
            }
            (Vec::new(), "tensors of 8 components".to_owned())
        } else if paths.is_empty() {
            let side = autotune::SIDE;
            generated(folder.path(), &samples, side)?
        } else {
            let files = Inputs::gather(paths, &Names::default(), folder.path())?.files;
            let what = format!("{} given files", files.len());
            (files, what)
        };
        let images = files.iter().map(|file| blob(file)).collect::<Result<Vec<_>>>()?;
        if images.is_empty() && samples.are_images() {
            bail!("nothing to read: the folders hold no files");
        }
        Ok(Self { composition, settings, images: Arc::new(images), what, samples, runtime, folder })
    }

    /// Every split that the settings leave open, the whole grid in each round so that no row has the machine's best time
    /// for itself; and what `auto` would take.
    fn grid(&self, each: Duration, rounds: usize) -> Result<BenchReport> {
        let mut splits = grid(cores());
        for candidate in candidates(cores(), &self.settings.engine) {
            if !splits.contains(&candidate) {
                splits.push(candidate);
            }
        }
        splits.retain(|split| split.agrees(&self.settings.engine));
        let mut runs: Vec<Vec<Row>> = vec![Vec::new(); splits.len()];
        for _ in 0..rounds {
            for (split, rows) in splits.iter().zip(&mut runs) {
                rows.push(self.row(*split, each)?);
            }
        }
        let rows = runs.iter().filter_map(|rows| Row::median(rows)).collect();
        let auto =
            autotune::choose(&self.composition, &self.settings, &stores(self.folder.path()), LOAD_POLICY)?;
        Ok(BenchReport::new(&self.composition, &self.settings, &self.what).with_grid(rows, auto))
    }

    fn row(&self, split: Split, each: Duration) -> Result<Row> {
        let results = tempfile::tempdir_in(self.folder.path())?;
        let tools =
            Arc::new(self.composition.tools(&self.settings, &stores(results.path()), split, LOAD_POLICY)?);
        let in_flight = self.settings.limits.jobs;
        self.pace(&tools, in_flight, Until::Jobs(2 * split.sessions))?;
        let before = Usage::now()?;
        let pace = self.pace(&tools, in_flight, Until::Elapsed(each))?;
        let used = Usage::now()?.since(&before);
        let alone = self.pace(&tools, 1, Until::Jobs(ALONE))?;
        Ok(Row::new(split, &pace, &alone, &used))
    }

    /// So many images once, with the split that the service would take.
    fn bulk(&self, count: usize) -> Result<BenchReport> {
        let results = tempfile::tempdir_in(self.folder.path())?;
        let stores = stores(results.path());
        let split = autotune::choose(&self.composition, &self.settings, &stores, LOAD_POLICY)?;
        let tools = Arc::new(self.composition.tools(&self.settings, &stores, split, LOAD_POLICY)?);
        let in_flight = self.settings.limits.jobs;
        self.pace(&tools, in_flight, Until::Jobs(2 * in_flight))?;
        let mut memory = Vec::new();
        let before = Usage::now()?;
        let pace = {
            let marks = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&marks);
            let pace = self.pace_noting(&tools, in_flight, Until::Jobs(count), move |number| {
                if number % (count / 4).max(1) == 0 {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(resident_mib());
                }
            })?;
            memory.append(&mut marks.lock().unwrap_or_else(PoisonError::into_inner));
            pace
        };
        let used = Usage::now()?.since(&before);
        memory.push(resident_mib());
        let bulk = Bulk::new(split, &pace, &used, memory);
        Ok(BenchReport::new(&self.composition, &self.settings, &self.what).with_bulk(bulk))
    }

    fn pace(&self, tools: &Arc<Tools>, in_flight: usize, until: Until) -> Result<Pace, JobError> {
        self.pace_noting(tools, in_flight, until, |_| ())
    }

    /// Reads the images in turn, the whole way; `note` is told the number of each job before it begins.
    fn pace_noting(
        &self,
        tools: &Arc<Tools>,
        in_flight: usize,
        until: Until,
        note: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Pace, JobError> {
        if self.images.is_empty() {
            return self.runtime.block_on(self.samples.read(Arc::clone(tools), in_flight, until));
        }
        let (images, tools) = (Arc::clone(&self.images), Arc::clone(tools));
        self.runtime.block_on(closed_loop(in_flight, until, move |number| {
            note(number);
            let (image, tools) = (images[number % images.len()].clone(), Arc::clone(&tools));
            async move {
                let job = Job { force: true, ..Job::of(image) };
                let processed = process(&job, Lane::Bulk, 0, &tools).await;
                // One model is measured.
                let Some(report) = processed.reports.first() else {
                    return Err(unread(job.study.name(), ErrorCode::DecodeFailed, None));
                };
                match report.outcome {
                    // With fewer files than jobs in flight, another of the same image may be stored first.
                    Outcome::Read
                    | Outcome::AlreadyDone
                    | Outcome::Superseded
                    | Outcome::NoStudy
                    | Outcome::PartOfSeries
                    | Outcome::Unfinished(ErrorCode::ResultContended) => Ok(()),
                    Outcome::Failed(code) | Outcome::Unfinished(code) | Outcome::GivenUp(code) => {
                        Err(unread(job.study.name(), code, report.error.as_ref()))
                    }
                }
            }
        }))
    }
}

fn stores(results: &Path) -> Stores {
    Stores {
        source: Arc::new(FolderStore::of_a_person([(LOCAL.to_owned(), PathBuf::from("/"))])),
        results: Arc::new(FolderStore::of_a_person([(RESULTS.to_owned(), results.to_owned())])),
        results_container: RESULTS.to_owned(),
        identity: Identity::Version,
        watched: Vec::new(),
        sidecars: false,
        spools: false,
    }
}

fn unread(source: &BlobRef, code: ErrorCode, error: Option<&ErrorFacts>) -> JobError {
    let why = error.map_or("", |error| error.message.as_str());
    let text = format!("/{} was not read: {why}: give only images that the model reads", source.name());
    JobError::new(Stage::Decode, code, text)
}

/// Files of generated images that the model reads, and what they are in words.
fn generated(folder: &Path, samples: &Samples, side: u32) -> Result<(Vec<PathBuf>, String)> {
    let images = folder.join("images");
    std::fs::create_dir(&images)?;
    let (mut files, mut what) = (Vec::new(), "");
    for seed in 0..GENERATED {
        for Image { media, bytes } in samples.images(side, seed)? {
            let ending = if media == Media::Dicom { "dcm" } else { "png" };
            what = if media == Media::Dicom { "DICOM" } else { "PNG" };
            let file = images.join(format!("{seed}.{ending}"));
            std::fs::write(&file, bytes)?;
            files.push(file);
        }
    }
    Ok((files, format!("generated 16-bit {what}, {side} x {side}")))
}

fn blob(file: &Path) -> Result<BlobRef> {
    let file = file.canonicalize()?;
    let name = file.to_str().map(|name| name.trim_start_matches('/'));
    let name = name.with_context(|| format!("{} is no UTF-8 name", file.display()))?;
    Ok(BlobRef::new(LOCAL, name)?)
}
