//! The rules between settings.

use std::path::PathBuf;
use std::time::Duration;

use nightread_domain::announcement::AllowedSources;
use nightread_domain::result::ArtefactKind;
use nightread_domain::routing::{Routing, Rule};
use nightread_domain::storing::HeatmapLabels;
use nightread_domain::{BlobRef, Task};
use nightread_fmri::confounds::Wanted;
use toml::{Table, Value};

use super::keys::{self, Key};
use super::raw::{Problems, RawSettings};
use super::registry::registry;
use super::remote_write::remote_write;
use super::services;
use super::{
    AzureAccess, EngineSettings, GraphCacheChoice, Limits, PrecisionChoice, ProviderChoice, ScanSettings,
    Secret, Settings, StorageSettings, VolumeSettings,
};
use super::{deliver, dicom};
use crate::flow::failpoint::Failpoint;

pub(super) fn validate(raw: &RawSettings, problems: &mut Problems) -> Option<Settings> {
    let storage = storage(raw, problems);
    let source_containers = raw.list(keys::SOURCES_CONTAINERS);
    let results_container = raw.text(keys::RESULTS_CONTAINER).unwrap_or_default().to_owned();
    containers(&source_containers, &results_container, problems);
    let registry = registry(raw, (&source_containers, &results_container), problems);
    let limits = limits(raw, problems);
    let engine = engine(raw, problems);
    if let Some(registry) = &registry {
        registry.check_graphs(&engine.graph_cache, problems);
    }
    let listen = raw.text(keys::HTTP_LISTEN).unwrap_or_default().parse().ok();
    if listen.is_none() {
        problems.add("[http] listen: an address with a port is expected, for example 127.0.0.1:8080");
    }
    let failpoint = raw.text(keys::WORKER_FAILPOINT).and_then(|name| {
        let parsed = Value::String(name.to_owned()).try_into::<Failpoint>().ok();
        if parsed.is_none() {
            problems.add("[worker] failpoint: after_fetch, after_infer or after_store is expected");
        }
        parsed
    });
    let png16_max = raw.integer(keys::IMAGES_PNG16_MAX).unwrap_or_default();
    if !(256..=65535).contains(&png16_max) {
        problems.add("[images] png16_max: 256 to 65535 is expected");
    }
    let drain = raw.integer(keys::WORKER_DRAIN_SECONDS).unwrap_or_default();
    if drain == 0 {
        problems.add("[worker] drain_seconds: at least 1 is expected");
    }
    Some(Settings {
        storage,
        source_containers,
        source_endpoints: endpoints(raw, problems),
        results_container,
        publish_results: raw.boolean(keys::RESULTS_PUBLISH),
        models_dir: models_dir(raw),
        registry,
        routing: routing(&raw.routes, problems),
        engine,
        limits,
        spool_dir: spool_dir(raw, problems),
        png16_max: u32::try_from(png16_max).ok()?,
        heatmaps: raw
            .boolean(keys::IMAGES_WRITE_HEATMAPS)
            .then(|| HeatmapLabels::parse(&raw.list(keys::IMAGES_HEATMAP_LABELS))),
        write_heatmap_arrays: raw.boolean(keys::IMAGES_WRITE_HEATMAP_ARRAYS),
        write_embeddings: raw.boolean(keys::IMAGES_WRITE_EMBEDDINGS),
        scans: ScanSettings {
            resample: raw.boolean(keys::SCANS_RESAMPLE),
            files: files_of_scans(raw),
            nuisance: nuisance(raw, problems),
        },
        volumes: VolumeSettings {
            interpolate_missing: raw.boolean(keys::VOLUMES_INTERPOLATE_MISSING),
            files: files_of_volumes(raw),
        },
        report_class: dicom::report_class(raw, problems),
        segmentation_form: dicom::segmentation_form(raw, problems),
        targets: deliver::targets(raw, problems),
        deliver_jobs: raw.at_least_one(keys::DELIVER_JOBS, problems) as usize,
        commitment_listen: deliver::commitment_listen(raw, problems),
        broker: services::broker(raw, problems),
        relay: services::relay(raw, problems),
        assemble: services::assemble(raw, problems),
        webhook: services::webhook(raw, problems),
        backlog: services::backlog(raw, problems),
        report_every: Duration::from_secs(
            raw.integer(keys::WORKER_REPORT_SECONDS).unwrap_or_default().max(1),
        ),
        scheduled_events: services::scheduled_events(raw, problems),
        client_id: raw.text(keys::STORAGE_CLIENT_ID).map(str::to_owned),
        listen: listen?,
        remote_write: remote_write(raw, problems),
        drain: Duration::from_secs(drain),
        failpoint,
    })
}

fn files_of_volumes(raw: &RawSettings) -> Vec<ArtefactKind> {
    let kinds = [
        (keys::VOLUMES_WRITE_LABEL_MAP, ArtefactKind::LabelMap),
        (keys::VOLUMES_WRITE_PREVIEW, ArtefactKind::Preview),
    ];
    kinds.into_iter().filter(|(key, _)| raw.boolean(*key)).map(|(_, kind)| kind).collect()
}

fn storage(raw: &RawSettings, problems: &mut Problems) -> Option<StorageSettings> {
    match raw.text(keys::STORAGE_KIND) {
        Some("folder") => {
            raw.text(keys::STORAGE_FOLDER).map(|folder| StorageSettings::Folder(PathBuf::from(folder)))
        }
        Some("azure") => {
            let sas_url = raw.text(keys::STORAGE_SAS_URL).map(Secret::new);
            let connection_string = raw.text(keys::STORAGE_CONNECTION_STRING).map(Secret::new);
            let access = match (raw.text(keys::STORAGE_ACCOUNT_URL), sas_url, connection_string) {
                (Some(url), None, None) => {
                    if !url.starts_with("https://") {
                        problems.add("[storage] account_url: an https URL is expected");
                    }
                    let client_id = raw.text(keys::STORAGE_CLIENT_ID).map(str::to_owned);
                    AzureAccess::Identity { account_url: url.to_owned(), client_id }
                }
                (None, Some(sas), None) => AzureAccess::SasUrl(sas),
                (None, None, Some(text)) => AzureAccess::ConnectionString(text),
                _ => {
                    problems
                        .add("[storage] kind azure needs one of account_url, sas_url or connection_string");
                    return None;
                }
            };
            Some(StorageSettings::Azure(access))
        }
        _ => {
            problems.add("[storage] kind: folder or azure is expected");
            None
        }
    }
}

fn containers(sources: &[String], results: &str, problems: &mut Problems) {
    for container in sources.iter().map(String::as_str).chain([results]) {
        if BlobRef::new(container, "x").is_err() {
            problems.add(format!(
                "container {container:?}: 3 to 63 lower-case letters, digits and single hyphens are expected"
            ));
        }
    }
    if sources.is_empty() {
        problems.add("[sources] containers: at least one is expected");
    }
    if sources.iter().any(|source| source == results) {
        problems.add("[results] container is among [sources] containers: the fleet would feed itself");
    }
}

fn files_of_scans(raw: &RawSettings) -> Vec<ArtefactKind> {
    let asked = [
        (keys::SCANS_WRITE_MAPS, &[ArtefactKind::ZMaps][..]),
        (keys::SCANS_WRITE_T_MAPS, &[ArtefactKind::TMaps]),
        (keys::SCANS_WRITE_BETAS, &[ArtefactKind::Betas]),
        (keys::SCANS_WRITE_TIME_COURSES, &[ArtefactKind::TimeCourses]),
        (
            keys::SCANS_WRITE_NETWORK_MATRICES,
            &[ArtefactKind::Correlations, ArtefactKind::PartialCorrelations, ArtefactKind::FisherZ],
        ),
        (keys::SCANS_WRITE_MOTION, &[ArtefactKind::Motion]),
    ];
    asked.into_iter().filter(|(key, _)| raw.boolean(*key)).flat_map(|(_, kinds)| kinds).copied().collect()
}

fn nuisance(raw: &RawSettings, problems: &mut Problems) -> Wanted {
    let max_displacement_mm = raw.text(keys::SCANS_MAX_DISPLACEMENT_MM).and_then(|text| {
        let limit = text.parse::<f64>().ok().filter(|limit| limit.is_finite() && *limit > 0.0);
        if limit.is_none() {
            problems.add("[scans] max_displacement_mm: a number of millimetres above 0 is expected");
        }
        limit
    });
    Wanted {
        columns: raw.list(keys::SCANS_CONFOUNDS),
        drop_volumes: raw.integer(keys::SCANS_DROP_VOLUMES).unwrap_or_default() as usize,
        max_displacement_mm,
    }
}

fn endpoints(raw: &RawSettings, problems: &mut Problems) -> Vec<String> {
    let endpoints = raw.list(keys::SOURCES_ENDPOINTS);
    for endpoint in &endpoints {
        if AllowedSources::new([endpoint.as_str()], ["incoming"], "results").is_err() {
            problems.add(format!(
                "[sources] endpoints: {endpoint:?} is no address of an account, for example https://images.example.org"
            ));
        }
    }
    endpoints
}

fn spool_dir(raw: &RawSettings, problems: &mut Problems) -> Option<PathBuf> {
    let folder = raw.text(keys::STORAGE_SPOOL_DIR).map(PathBuf::from);
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
        problems.add(format!("[storage] spool_dir: {} is no folder", folder.display()));
    }
    folder
}

fn limits(raw: &RawSettings, problems: &mut Problems) -> Limits {
    let limits = Limits {
        blob_bytes: raw.at_least_one(keys::LIMITS_BLOB_BYTES, problems),
        image_bytes: raw.at_least_one(keys::LIMITS_IMAGE_BYTES, problems),
        memory_bytes: raw.at_least_one(keys::LIMITS_MEMORY_BYTES, problems),
        spool_bytes: raw.at_least_one(keys::LIMITS_SPOOL_BYTES, problems),
        pixels: raw.at_least_one(keys::LIMITS_PIXELS, problems),
        inflated_bytes: raw.at_least_one(keys::LIMITS_INFLATED_BYTES, problems),
        voxels: raw.at_least_one(keys::LIMITS_VOXELS, problems),
        jobs: raw.integer(keys::LIMITS_JOBS).map_or_else(|| 4 * cores(), |jobs| jobs as usize),
        in_flight_bytes: raw.at_least_one(keys::LIMITS_IN_FLIGHT_BYTES, problems),
        volume_bytes: raw.at_least_one(keys::LIMITS_VOLUME_BYTES, problems),
        attempts: raw.at_least_one(keys::LIMITS_ATTEMPTS, problems) as u32,
        outage_failures: raw.at_least_one(keys::LIMITS_OUTAGE_FAILURES, problems) as u32,
        probe_interval: Duration::from_secs(raw.at_least_one(keys::LIMITS_PROBE_SECONDS, problems)),
        refused: Duration::from_secs(raw.at_least_one(keys::LIMITS_REFUSED_SECONDS, problems)),
        storage_retry: Duration::from_secs(raw.integer(keys::STORAGE_RETRY_SECONDS).unwrap_or_default()),
        model_bytes: raw.at_least_one(keys::LIMITS_MODEL_BYTES, problems),
    };
    if limits.jobs == 0 || limits.jobs > 60_000 {
        problems.add("[limits] jobs: 1 to 60000 is expected (it is the broker's prefetch)");
    }
    limits
}

/// `None` for `auto`.
fn count(raw: &RawSettings, key: Key) -> Option<usize> {
    raw.integer(key).map(|n| n as usize)
}

fn engine(raw: &RawSettings, problems: &mut Problems) -> EngineSettings {
    let precision = raw.text(keys::MODELS_PRECISION).and_then(|text| {
        let choice = PrecisionChoice::parse(text);
        if choice.is_none() {
            problems.add("[models] precision: fp32, int8 or bf16 is expected, or auto for process and bench");
        }
        choice
    });
    let provider = raw.text(keys::MODELS_PROVIDER).and_then(ProviderChoice::parse);
    if provider.is_none() {
        problems.add("[models] provider: cpu or openvino is expected, or auto for process, bench and check");
    }
    let graph_cache = match raw.text(keys::MODELS_CACHE_DIR) {
        None => GraphCacheChoice::OfUser,
        Some("off") => GraphCacheChoice::Off,
        Some(folder) => GraphCacheChoice::Folder(PathBuf::from(folder)),
    };
    let engine = EngineSettings {
        sessions: count(raw, keys::ENGINE_SESSIONS),
        intra_threads: count(raw, keys::ENGINE_INTRA_THREADS),
        decode_threads: count(raw, keys::ENGINE_DECODE_THREADS),
        batch_items: raw.integer(keys::ENGINE_BATCH_ITEMS).unwrap_or_default() as usize,
        precision,
        // What is no provider is a problem, with which nothing is begun.
        provider: provider.unwrap_or_default(),
        graph_cache,
        runtime: raw.text(keys::MODELS_RUNTIME).map(PathBuf::from),
        runtime_telemetry: raw.boolean(keys::MODELS_RUNTIME_TELEMETRY),
    };
    for (key, value) in [
        (keys::ENGINE_SESSIONS, engine.sessions),
        (keys::ENGINE_INTRA_THREADS, engine.intra_threads),
        (keys::ENGINE_DECODE_THREADS, engine.decode_threads),
        (keys::ENGINE_BATCH_ITEMS, Some(engine.batch_items)),
    ] {
        if value.is_some_and(|value| value == 0 || value > 1024) {
            problems.add(format!("{key}: 1 to 1024 is expected"));
        }
    }
    if let (Some(sessions), Some(intra)) = (engine.sessions, engine.intra_threads)
        && sessions.saturating_mul(intra) > cores()
    {
        problems.add(format!(
            "[engine] sessions x intra_threads is {sessions} x {intra}, more than the {} cores here",
            cores()
        ));
    }
    engine
}

fn text<'a>(row: &'a Table, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}

fn routing(rows: &[Table], problems: &mut Problems) -> Routing {
    let mut routing = Routing::default();
    for (n, row) in rows.iter().enumerate() {
        let known = ["container", "prefix", "task", "model"];
        for (name, value) in row {
            let is_other = (name == "instances" && value.is_bool()) || (name == "models" && value.is_array());
            if !is_other && (!known.contains(&name.as_str()) || !value.is_str()) {
                problems.add(format!(
                    "[[routes]] {}: {name} is not one of the texts {}, nor models = [\"one\", \"another\"], nor instances = true or false",
                    n + 1,
                    known.join(", ")
                ));
            }
        }
        let named = text(row, "task");
        let Some(task) = Task::ALL.into_iter().find(|task| named == Some(task.as_str())) else {
            let tasks = Task::ALL.map(Task::as_str).join(" or ");
            problems.add(format!("[[routes]] {}: task is {tasks}", n + 1));
            continue;
        };
        match models(row) {
            Ok(models) => routing.rules.push(Rule {
                container: text(row, "container").map(str::to_owned),
                prefix: text(row, "prefix").unwrap_or_default().to_owned(),
                task,
                models,
                instances: row.get("instances").and_then(Value::as_bool).unwrap_or_default(),
            }),
            Err(problem) => problems.add(format!("[[routes]] {}: {problem}", n + 1)),
        }
    }
    routing
}

/// The models of one route: `model`, or several as `models`.
fn models(row: &Table) -> Result<Vec<String>, String> {
    let several = row.get("models").and_then(Value::as_array);
    let names: Vec<String> = match (text(row, "model"), several) {
        (Some(_), Some(_)) => return Err("it has model and models: leave one out".to_owned()),
        (Some(model), None) => vec![model.to_owned()],
        (None, Some(names)) => {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            names.collect::<Option<_>>().ok_or("models is a list of names")?
        }
        (None, None) => return Err("model is missing".to_owned()),
    };
    if names.is_empty() {
        return Err("models names none".to_owned());
    }
    match names.iter().enumerate().find(|(n, name)| names[..*n].contains(name)) {
        Some((_, twice)) => Err(format!("models names {twice} twice")),
        None => Ok(names),
    }
}

fn models_dir(raw: &RawSettings) -> PathBuf {
    if let Some(dir) = raw.text(keys::MODELS_DIR) {
        return PathBuf::from(dir);
    }
    let installed = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("share/nightread/models")))
        .filter(|dir| dir.is_dir());
    // A folder called models where one happens to stand must not change what an installed program reads with.
    installed.unwrap_or_else(|| PathBuf::from("models"))
}

/// Cores this process may use (the scheduler's affinity and the cgroup's quota count).
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
