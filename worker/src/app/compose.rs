//! Composes what all jobs share: settings in, a ready pipeline out.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nightread_dicom::ChildCodec;
use nightread_domain::announcement::AllowedSources;
use nightread_domain::routing::Routing;
use nightread_domain::storing::HeatmapLabels;
use nightread_domain::{BlobStore, ErrorCode, JobError, Stage, Task};
use nightread_engine::{Catalogue, EngineOptions, Precision, Runtime, TELEMETRY_OFF, tune};
use nightread_radiograph::DecodeLimits;
use nightread_volume::LimitNames;

use super::account::account;
use super::stores::Stores;
use crate::adapters::amqp::RabbitOptions;
use crate::compute::cpu::CpuPool;
use crate::compute::digests::Digests;
use crate::compute::models::{LoadPolicy, LoadedModels};
use crate::compute::routes::{routing, rule_for};
use crate::compute::split::Split;
use crate::compute::verified::VerifiedModels;
use crate::flow::budget::ByteBudget;
use crate::pipeline::outage::{Noting, Outages, WatchedStore};
use crate::pipeline::tools::Tools;
use crate::readings::{LaneTime, Reader, ReadingOptions};
use crate::settings::{BrokerSettings, Limits, Settings, StorageSettings};

/// Most that a compressed image may inflate to.
const IMAGE_INFLATED_BYTES: u64 = 4 << 30;

/// What announcements may name: the configured containers, and URLs of the configured account only, by any of its names.
pub fn allowed(settings: &Settings) -> Result<AllowedSources> {
    let endpoint = match &settings.storage {
        Some(StorageSettings::Azure(access)) => Some(account(access)?.endpoint().to_owned()),
        Some(StorageSettings::Folder(_)) | None => None,
    };
    let more = settings.source_endpoints.iter().map(String::as_str).filter(|_| endpoint.is_some());
    let containers = settings.source_containers.iter().map(String::as_str);
    Ok(AllowedSources::new(
        endpoint.as_deref().into_iter().chain(more),
        containers,
        settings.results_container.as_str(),
    )?)
}

/// How to reach the broker, and how much to take from it.
pub fn rabbit(broker: &BrokerSettings, limits: &Limits) -> Result<RabbitOptions> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(RabbitOptions {
        more_hosts: broker.hosts.clone(),
        ca_pem: broker.ca_file.as_ref().map(read).transpose()?,
        permits: limits.jobs,
        weights: broker.weights,
        consumer_timeout: broker.consumer_timeout,
        ..RabbitOptions::new(broker.url.reveal())
    })
}

/// Models, routes and reading options: everything that jobs need but stores and the split of the machine.
#[derive(Debug)]
pub struct Composition {
    pub opened: LoadedModels,
    routing: Routing,
    reading: ReadingOptions,
}

/// Loads the runtime and opens the models of `catalogue` that the routes name, or only the named one. Blocks for seconds.
pub fn compose(settings: &Settings, catalogue: &Catalogue, only_model: Option<&str>) -> Result<Composition> {
    require_precision(settings)?;
    for broken in catalogue.problems() {
        tracing::warn!(%broken, "a model is left out");
    }
    let precision = settings.engine.precision();
    let routing = match only_model {
        Some(name) => Routing { rules: vec![rule_for(catalogue.get(name)?)] },
        None => routing(&settings.routing, catalogue, precision).map_err(|problem| anyhow!(problem))?,
    };
    let mut names: Vec<String> = routing.models().cloned().collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        let offers = precision.map_or("any".to_owned(), |precision| precision.to_string());
        return Err(anyhow!(
            "no model in {} offers {offers} weights: see `nightread models`",
            catalogue.place()
        ));
    }
    let limits = &settings.limits;
    let (opened, codec) = thread::scope(|scope| {
        let starting = scope.spawn(|| codec(limits));
        (opened(settings, catalogue, names), starting.join())
    });
    let opened = opened?;
    check_heatmap_labels(settings, &opened)?;
    doubt_embeddings(settings, &opened);
    let codec = codec.unwrap_or_else(|_| Err(broken_off()))?;
    let decode = decode_limits(limits);
    let reading = ReadingOptions {
        decode,
        stored_max: (settings.png16_max != u32::from(u16::MAX)).then_some(settings.png16_max),
        image_bytes: limits.image_bytes,
        heatmaps: settings.heatmaps.clone(),
        write_heatmap_arrays: settings.write_heatmap_arrays,
        write_embeddings: settings.write_embeddings,
        codec: Some(Arc::new(codec)),
        codec_of_volumes: Some(Arc::new(unstarted_codec(limits)?)),
        scans: settings.scans.clone(),
        sidecars: false,
        scan_limits: nightread_volume::Limits {
            max_voxels: limits.voxels,
            max_inflated_bytes: limits.inflated_bytes,
            names: LimitNames::SETTINGS,
            ..nightread_volume::Limits::default()
        },
        scan_threads: 1,
        volumes: settings.volumes.clone(),
        volume_time: settings.broker.as_ref().map(|broker| LaneTime::within(broker.consumer_timeout.volumes)),
    };
    Ok(Composition { opened, routing, reading })
}

/// Loads the runtime and verifies the models, at once where their precision is named: both take what a small study takes.
fn opened(settings: &Settings, catalogue: &Catalogue, names: Vec<String>) -> Result<LoadedModels> {
    let engine = &settings.engine;
    let (provider, search, cache) = (engine.provider(), engine.search(), engine.graph_cache.open());
    let Some(precision) = engine.precision() else {
        let runtime = Runtime::load(&search)?;
        let fastest = |name: String| -> Result<(String, Precision), JobError> {
            let manifest = catalogue.get(&name)?;
            let precision = match &manifest.ensemble {
                // Nothing is timed of several networks: FP32 where all have it.
                Some(_) => manifest.precisions().next().unwrap_or(Precision::Fp32),
                None => tune::fastest_precision(&runtime, manifest, provider)?,
            };
            Ok((name, precision))
        };
        let names = names.into_iter().map(fastest).collect::<Result<Vec<_>, _>>()?;
        let verified = VerifiedModels::open(catalogue, &names, provider)?;
        return Ok(LoadedModels::new(verified, runtime, provider, cache));
    };
    let names: Vec<_> = names.into_iter().map(|name| (name, precision)).collect();
    let (runtime, verified) = thread::scope(|scope| {
        let verifying = scope.spawn(|| VerifiedModels::open(catalogue, &names, provider));
        (Runtime::load(&search), verifying.join())
    });
    let (runtime, verified) = (runtime?, verified.unwrap_or_else(|_| Err(broken_off()))?);
    Ok(LoadedModels::new(verified, runtime, provider, cache))
}

fn broken_off() -> JobError {
    JobError::new(Stage::Start, ErrorCode::Internal, "a part of the start was broken off")
}

/// Embeddings are asked for in vain where no model gives one.
fn doubt_embeddings(settings: &Settings, opened: &LoadedModels) {
    let mut models = opened.models().filter(|model| model.manifest.task == Task::Radiograph).peekable();
    if settings.write_embeddings
        && models.peek().is_some()
        && models.all(|model| model.manifest.output.embedding.is_none())
    {
        tracing::warn!(
            "embeddings are asked for, and no model names one in its manifest: there will be none"
        );
    }
}

/// A label that no model of radiographs has would be waited for in vain, and so would any heatmap of models without
/// class-activation maps.
fn check_heatmap_labels(settings: &Settings, opened: &LoadedModels) -> Result<()> {
    let Some(asked) = &settings.heatmaps else { return Ok(()) };
    let mut known: Vec<&str> = opened
        .models()
        .filter(|model| model.manifest.task == Task::Radiograph && model.manifest.output.has_cam())
        .flat_map(|model| model.manifest.labels.iter().filter(|label| !label.suppressed))
        .map(|label| label.name.as_str())
        .collect();
    known.sort_unstable();
    known.dedup();
    if known.is_empty() {
        tracing::warn!(
            "heatmaps are asked for, and no model gives class-activation maps: there will be none"
        );
    }
    let HeatmapLabels::Named(asked) = asked else { return Ok(()) };
    match asked.iter().find(|label| !known.contains(&label.as_str())) {
        Some(label) => Err(anyhow!(
            "heatmaps are asked for of {label:?}, which no model can give; there are: {}",
            known.join(", ")
        )),
        None => Ok(()),
    }
}

pub(crate) fn decode_limits(limits: &Limits) -> DecodeLimits {
    DecodeLimits {
        max_pixels: limits.pixels,
        // An image is inflated in memory.
        max_inflated_bytes: limits.inflated_bytes.min(IMAGE_INFLATED_BYTES),
        ..DecodeLimits::default()
    }
}

/// The children that decode, one of them started: a system that cannot confine it is no system to read on.
pub(crate) fn codec(limits: &Limits) -> Result<ChildCodec, JobError> {
    let codec = unstarted_codec(limits)?;
    codec.make_ready()?;
    Ok(codec)
}

fn unstarted_codec(limits: &Limits) -> Result<ChildCodec, JobError> {
    // The variable spares each child a start anew: see `environment`.
    let (name, value) = TELEMETRY_OFF;
    let codec = ChildCodec::new(this_program()?, ["codec-child"]).with_variable(name, value);
    Ok(codec.with_memory(ChildCodec::memory_for(decode_limits(limits).max_pixels)))
}

impl Composition {
    /// Serves the models, starts decode threads, and joins them with stores to what all jobs share.
    pub fn tools(
        &self,
        settings: &Settings,
        stores: &Stores,
        split: Split,
        load_policy: LoadPolicy,
    ) -> Result<Tools, JobError> {
        let options = EngineOptions {
            sessions: split.sessions,
            intra_threads: split.intra_threads,
            max_batch_items: settings.engine.batch_items,
            ..EngineOptions::for_cores(split.sessions)
        };
        let outages = Outages::new(
            Arc::clone(&stores.source),
            Arc::clone(&stores.results),
            stores.watched.clone(),
            stores.results_container.clone(),
            settings.limits.outage_failures,
        );
        let outages = Arc::new(outages);
        let watched = |store: &Arc<dyn BlobStore>| -> Arc<dyn BlobStore> {
            Arc::new(WatchedStore::new(Arc::clone(store), Noting::new(Arc::clone(&outages))))
        };
        let source = watched(&stores.source);
        let reader = Reader {
            models: self.opened.serve(options, load_policy)?,
            cpu: CpuPool::new(split.decode_threads)?,
            cpu_of_volumes: CpuPool::of_volumes(split.decode_threads)?,
            options: ReadingOptions {
                scan_threads: split.decode_threads.min(2),
                sidecars: stores.sidecars,
                ..self.reading.clone()
            },
            beside: Arc::clone(&source),
            bytes_of_volumes: ByteBudget::new(settings.limits.volume_bytes),
        };
        Ok(Tools {
            source,
            results: watched(&stores.results),
            results_container: stores.results_container.clone(),
            source_containers: stores.watched.clone(),
            identity: stores.identity,
            routing: self.routing.clone(),
            digests: Digests::default(),
            reader,
            limits: settings.limits.clone(),
            failpoint: settings.failpoint,
            outages,
            bytes_in_files: stores.bytes_in_files(&settings.limits),
            bytes_in_flight: ByteBudget::new(settings.limits.in_flight_bytes),
        })
    }
}

/// Whether the precision that is named can be computed here, by the provider that is named.
///
/// # Errors
/// Those of [`Precision::require`].
pub fn require_precision(settings: &Settings) -> Result<(), JobError> {
    // What stands for `auto` is the provider that computes no bf16: which one is taken is not known before a trial.
    settings.engine.precision().map_or(Ok(()), |precision| precision.require(settings.engine.provider()))
}

/// The precision named in the settings; FP32 where none is named, because every model has it.
pub fn precision(settings: &Settings) -> Result<Precision> {
    settings.engine.precision().context("[models] precision is auto: results are found by a named one")
}

fn this_program() -> Result<PathBuf, JobError> {
    std::env::current_exe().map_err(|error| {
        JobError::new(Stage::Start, ErrorCode::Internal, "cannot find this program's own file")
            .with_source(error)
    })
}
