//! The rules between settings.

use std::path::PathBuf;
use std::time::Duration;

use nightread_domain::announcement::AllowedSources;
use nightread_domain::result::ArtefactKind;
use nightread_domain::routing::{Routing, Rule};
use nightread_domain::storing::HeatmapLabels;
use nightread_domain::{BlobRef, Lane, PerLane, Task};
use nightread_fmri::confounds::Wanted;
use toml::{Table, Value};

use super::keys::{self, Key};
use super::raw::{Problems, RawSettings};
use super::remote_write::remote_write;
use super::{
    AssembleSettings, AzureAccess, BacklogSettings, BrokerSettings, EngineSettings, Limits, MetricsSettings,
    PrecisionChoice, QueueAccess, RelaySettings, ScanSettings, Secret, Settings, StorageSettings,
    VolumeSettings, WebhookSettings,
};
use super::{deliver, dicom};
use crate::flow::failpoint::Failpoint;

pub(super) fn validate(raw: &RawSettings, problems: &mut Problems) -> Option<Settings> {
    let storage = storage(raw, problems);
    let source_containers = raw.list(keys::SOURCES_CONTAINERS);
    let results_container = raw.text(keys::RESULTS_CONTAINER).unwrap_or_default().to_owned();
    containers(&source_containers, &results_container, problems);
    let limits = limits(raw, problems);
    let engine = engine(raw, problems);
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
        routing: routing(&raw.routes, problems),
        engine,
        limits,
        spool_dir: spool_dir(raw, problems),
        png16_max: u32::try_from(png16_max).ok()?,
        heatmaps: raw
            .boolean(keys::IMAGES_WRITE_HEATMAPS)
            .then(|| HeatmapLabels::parse(&raw.list(keys::IMAGES_HEATMAP_LABELS))),
        write_heatmap_arrays: raw.boolean(keys::IMAGES_WRITE_HEATMAP_ARRAYS),
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
        deliver_jobs: at_least_one(raw, keys::DELIVER_JOBS, problems) as usize,
        broker: broker(raw, problems),
        relay: queue(raw, &RELAY, problems),
        assemble: assemble(raw, problems),
        webhook: webhook(raw, problems),
        backlog: backlog(raw, problems),
        report_every: Duration::from_secs(
            raw.integer(keys::WORKER_REPORT_SECONDS).unwrap_or_default().max(1),
        ),
        scheduled_events: scheduled_events(raw, problems),
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

fn secret(raw: &RawSettings, key: Key) -> Option<Secret> {
    raw.text(key).map(Secret::new)
}

fn storage(raw: &RawSettings, problems: &mut Problems) -> Option<StorageSettings> {
    match raw.text(keys::STORAGE_KIND) {
        Some("folder") => {
            raw.text(keys::STORAGE_FOLDER).map(|folder| StorageSettings::Folder(PathBuf::from(folder)))
        }
        Some("azure") => {
            let sas_url = secret(raw, keys::STORAGE_SAS_URL);
            let connection_string = secret(raw, keys::STORAGE_CONNECTION_STRING);
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

fn at_least_one(raw: &RawSettings, key: Key, problems: &mut Problems) -> u64 {
    let value = raw.integer(key).unwrap_or_default();
    if value == 0 {
        problems.add(format!("{key}: at least 1 is expected"));
    }
    value
}

fn limits(raw: &RawSettings, problems: &mut Problems) -> Limits {
    let limits = Limits {
        blob_bytes: at_least_one(raw, keys::LIMITS_BLOB_BYTES, problems),
        image_bytes: at_least_one(raw, keys::LIMITS_IMAGE_BYTES, problems),
        memory_bytes: at_least_one(raw, keys::LIMITS_MEMORY_BYTES, problems),
        spool_bytes: at_least_one(raw, keys::LIMITS_SPOOL_BYTES, problems),
        pixels: at_least_one(raw, keys::LIMITS_PIXELS, problems),
        inflated_bytes: at_least_one(raw, keys::LIMITS_INFLATED_BYTES, problems),
        voxels: at_least_one(raw, keys::LIMITS_VOXELS, problems),
        jobs: raw.integer(keys::LIMITS_JOBS).map_or_else(|| 4 * cores(), |jobs| jobs as usize),
        in_flight_bytes: at_least_one(raw, keys::LIMITS_IN_FLIGHT_BYTES, problems),
        volume_bytes: at_least_one(raw, keys::LIMITS_VOLUME_BYTES, problems),
        attempts: at_least_one(raw, keys::LIMITS_ATTEMPTS, problems) as u32,
        outage_failures: at_least_one(raw, keys::LIMITS_OUTAGE_FAILURES, problems) as u32,
        probe_interval: Duration::from_secs(at_least_one(raw, keys::LIMITS_PROBE_SECONDS, problems)),
        refused: Duration::from_secs(at_least_one(raw, keys::LIMITS_REFUSED_SECONDS, problems)),
        storage_retry: Duration::from_secs(raw.integer(keys::STORAGE_RETRY_SECONDS).unwrap_or_default()),
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
            problems.add("[models] precision: fp32 or int8 is expected, or auto for process and bench");
        }
        choice
    });
    let provider = raw.text(keys::MODELS_PROVIDER).and_then(|text| text.parse().ok());
    if provider.is_none() {
        problems.add("[models] provider: cpu or openvino is expected");
    }
    let engine = EngineSettings {
        sessions: count(raw, keys::ENGINE_SESSIONS),
        intra_threads: count(raw, keys::ENGINE_INTRA_THREADS),
        decode_threads: count(raw, keys::ENGINE_DECODE_THREADS),
        batch_items: raw.integer(keys::ENGINE_BATCH_ITEMS).unwrap_or_default() as usize,
        precision,
        // What is no provider is a problem, with which nothing is begun.
        provider: provider.unwrap_or_default(),
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

/// In seconds. Whatever cannot be settled must be recorded within half of it.
const SHORTEST_CONSUMER_TIMEOUT: u64 = 10;

fn broker(raw: &RawSettings, problems: &mut Problems) -> Option<BrokerSettings> {
    let url = raw.text(keys::BROKER_URL)?;
    if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
        problems.add("[broker] url: an amqp:// or amqps:// URL is expected");
    }
    let hosts = raw.list(keys::BROKER_HOSTS);
    for host in hosts.iter().filter(|host| !is_host(host)) {
        problems.add(format!("[broker] hosts: {host:?} is not a host, nor a host:port"));
    }
    let weights = PerLane::from_fn(|lane| raw.integer(keys::weight_of(lane)).unwrap_or_default());
    if weights.iter().any(|(_, weight)| *weight == 0) {
        problems.add("[broker] weights: at least 1 is expected for each lane, or it would never be served");
    }
    let ca_file = raw.text(keys::BROKER_CA_FILE).map(PathBuf::from);
    if ca_file.as_deref().is_some_and(|file| !file.is_file()) {
        problems.add("[broker] ca_file: no such file");
    }
    let consumer_timeout = raw.integer(keys::BROKER_CONSUMER_TIMEOUT_SECONDS).unwrap_or_default();
    if consumer_timeout < SHORTEST_CONSUMER_TIMEOUT {
        problems.add(format!(
            "[broker] consumer_timeout_seconds: at least {SHORTEST_CONSUMER_TIMEOUT} is expected"
        ));
    }
    let of_volumes = raw.integer(keys::BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS).unwrap_or(consumer_timeout);
    if of_volumes < consumer_timeout {
        problems
            .add("[broker] volumes_consumer_timeout_seconds: at least consumer_timeout_seconds is expected");
    }
    let consumer_timeout = PerLane::from_fn(|lane| {
        Duration::from_secs(if lane == Lane::Volumes { of_volumes } else { consumer_timeout })
    });
    Some(BrokerSettings { url: Secret::new(url), hosts, ca_file, weights, consumer_timeout })
}

/// A name or an address, with a port or without: nothing of a URL, and no secret.
fn is_host(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    !text.is_empty() && is_plain && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The settings of a Storage queue: of the relay, or of who assembles series.
struct QueueKeys {
    section: &'static str,
    queue_url: Key,
    sas_url: Key,
    connection_string: Key,
    queue: Key,
    hidden_seconds: Key,
    most_takes: Key,
}

const RELAY: QueueKeys = QueueKeys {
    section: "relay",
    queue_url: keys::RELAY_QUEUE_URL,
    sas_url: keys::RELAY_SAS_URL,
    connection_string: keys::RELAY_CONNECTION_STRING,
    queue: keys::RELAY_QUEUE,
    hidden_seconds: keys::RELAY_HIDDEN_SECONDS,
    most_takes: keys::RELAY_MOST_TAKES,
};

const ASSEMBLE: QueueKeys = QueueKeys {
    section: "assemble",
    queue_url: keys::ASSEMBLE_QUEUE_URL,
    sas_url: keys::ASSEMBLE_SAS_URL,
    connection_string: keys::ASSEMBLE_CONNECTION_STRING,
    queue: keys::ASSEMBLE_QUEUE,
    hidden_seconds: keys::ASSEMBLE_HIDDEN_SECONDS,
    most_takes: keys::ASSEMBLE_MOST_TAKES,
};

fn queue(raw: &RawSettings, keys: &QueueKeys, problems: &mut Problems) -> Option<RelaySettings> {
    let section = keys.section;
    let sas_url = secret(raw, keys.sas_url);
    let connection_string = secret(raw, keys.connection_string);
    let access = match (raw.text(keys.queue_url), sas_url, connection_string) {
        (None, None, None) => return None,
        (Some(url), None, None) => {
            if !url.starts_with("https://") || url.contains('?') {
                problems.add(format!("[{section}] queue_url: an https URL without a signature is expected"));
            }
            QueueAccess::Identity { queue_url: url.to_owned() }
        }
        (None, Some(url), None) => QueueAccess::SasUrl(url),
        (None, None, Some(text)) => {
            QueueAccess::ConnectionString { text, queue: raw.text(keys.queue).unwrap_or_default().to_owned() }
        }
        _ => {
            problems.add(format!("[{section}] takes one of queue_url, sas_url and connection_string"));
            return None;
        }
    };
    let hidden = raw.integer(keys.hidden_seconds).unwrap_or_default();
    // Azure's longest is seven days; a few seconds cannot hold a retry.
    if !(10..=604_800).contains(&hidden) {
        problems.add(format!("[{section}] hidden_seconds: 10 to 604800 is expected"));
    }
    let most_takes = raw.integer(keys.most_takes).unwrap_or_default();
    if most_takes == 0 {
        problems.add(format!("[{section}] most_takes: at least 1 is expected"));
    }
    Some(RelaySettings { access, hidden: Duration::from_secs(hidden), most_takes })
}

fn assemble(raw: &RawSettings, problems: &mut Problems) -> Option<AssembleSettings> {
    let queue = queue(raw, &ASSEMBLE, problems)?;
    let quiet = at_least_one(raw, keys::ASSEMBLE_QUIET_SECONDS, problems);
    Some(AssembleSettings { queue, quiet: Duration::from_secs(quiet) })
}

fn webhook(raw: &RawSettings, problems: &mut Problems) -> Option<WebhookSettings> {
    let token = raw.text(keys::WEBHOOK_TOKEN)?;
    if token.len() < 16 {
        problems.add("[webhook] token: at least 16 characters are expected");
    }
    let listen = raw.text(keys::WEBHOOK_LISTEN).unwrap_or_default().parse().ok();
    if listen.is_none() {
        problems.add("[webhook] listen: an address with a port is expected, for example 127.0.0.1:8090");
    }
    Some(WebhookSettings {
        listen: listen?,
        token: Secret::new(token),
        origins: raw.list(keys::WEBHOOK_ORIGINS),
        per_minute: raw.integer(keys::WEBHOOK_PER_MINUTE).filter(|rate| *rate > 0),
    })
}

fn backlog(raw: &RawSettings, problems: &mut Problems) -> BacklogSettings {
    let management_url = raw.text(keys::BACKLOG_MANAGEMENT_URL);
    if management_url.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        problems.add("[backlog] management_url: an http:// or https:// URL is expected");
    }
    let milliseconds = PerLane::from_fn(|lane| raw.integer(keys::milliseconds_of(lane)).unwrap_or_default());
    if milliseconds.iter().any(|(_, each)| *each == 0) {
        problems.add("[backlog] ingest_ms, bulk_ms, volumes_ms: at least 1 is expected");
    }
    let seconds_each = milliseconds.map(|each| each as f64 / 1e3);
    let endpoint = match (raw.text(keys::BACKLOG_ENDPOINT), raw.text(keys::BACKLOG_REGION)) {
        (Some(endpoint), _) => Some(endpoint.trim_end_matches('/').to_owned()),
        (None, Some(region)) if region.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Some(format!("https://{region}.monitoring.azure.com"))
        }
        (None, Some(_)) => {
            problems
                .add("[backlog] region: a name of letters and digits is expected, for example westeurope");
            None
        }
        (None, None) => None,
    };
    let resource_id = raw.text(keys::BACKLOG_RESOURCE_ID).map(|id| id.trim_end_matches('/'));
    if resource_id.is_some_and(|id| !id.starts_with("/subscriptions/")) {
        problems.add("[backlog] resource_id: /subscriptions/... is expected");
    }
    BacklogSettings {
        management_url: management_url.map(Secret::new),
        seconds_each,
        scale_out_seconds: raw.integer(keys::BACKLOG_SCALE_OUT_SECONDS).unwrap_or_default() as f64,
        metrics: endpoint
            .zip(resource_id)
            .map(|(endpoint, id)| MetricsSettings { endpoint, resource_id: id.to_owned() }),
    }
}

fn scheduled_events(raw: &RawSettings, problems: &mut Problems) -> Option<String> {
    let endpoint = raw.text(keys::WORKER_IMDS_ENDPOINT).unwrap_or_default();
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        problems.add("[worker] imds_endpoint: an http:// URL is expected");
    }
    raw.boolean(keys::WORKER_SCHEDULED_EVENTS).then(|| endpoint.to_owned())
}

fn text<'a>(row: &'a Table, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}

fn routing(rows: &[Table], problems: &mut Problems) -> Routing {
    let mut routing = Routing::default();
    for (n, row) in rows.iter().enumerate() {
        let known = ["container", "prefix", "task", "model"];
        for (name, value) in row {
            let is_flag = name == "instances" && value.is_bool();
            if !is_flag && (!known.contains(&name.as_str()) || !value.is_str()) {
                problems.add(format!(
                    "[[routes]] {}: {name} is not one of the texts {}, nor instances = true or false",
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
        match text(row, "model") {
            Some(model) => routing.rules.push(Rule {
                container: text(row, "container").map(str::to_owned),
                prefix: text(row, "prefix").unwrap_or_default().to_owned(),
                task,
                model: model.to_owned(),
                instances: row.get("instances").and_then(Value::as_bool).unwrap_or_default(),
            }),
            None => problems.add(format!("[[routes]] {}: model is missing", n + 1)),
        }
    }
    routing
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
