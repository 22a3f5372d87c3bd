//! From what was typed ([`raw`]) to what it means: validated once, all problems reported together.

mod deliver;
mod dicom;
pub mod doubts;
pub mod keys;
pub mod raw;
mod registry;
mod remote_write;
mod services;
pub mod validate;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nightread_archive::{Kind, ReportClass, SegForm};
use nightread_domain::PerLane;
use nightread_domain::result::ArtefactKind;
use nightread_domain::routing::Routing;
use nightread_domain::storing::HeatmapLabels;
use nightread_engine::{GraphCache, Precision, Provider, Search};
use nightread_fmri::confounds::Wanted;

use crate::flow::failpoint::Failpoint;
pub use raw::{Problems, RawSettings};
pub use registry::{Pin, RegistryPlace, RegistrySettings};
pub use remote_write::WriteSettings;

/// A text that prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; for handing to a client, never to a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageSettings {
    /// One sub-folder per container.
    Folder(PathBuf),
    Azure(AzureAccess),
}

/// How to reach an Azure account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureAccess {
    /// Managed identity, workload identity, then Azure CLI.
    Identity {
        account_url: String,
        client_id: Option<String>,
    },
    SasUrl(Secret),
    ConnectionString(Secret),
}

/// RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    pub url: Secret,
    /// Further brokers of the cluster, `host` or `host:port`.
    pub hosts: Vec<String>,
    pub ca_file: Option<PathBuf>,
    /// Shares of the permits.
    pub weights: PerLane<u64>,
    /// How long the broker lets a delivery of the lane be unacknowledged.
    pub consumer_timeout: PerLane<Duration>,
}

/// A Storage queue that events are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    pub access: QueueAccess,
    /// How long a message that is taken is hidden from others.
    pub hidden: Duration,
    /// A message that is taken more often is poison.
    pub most_takes: u64,
}

/// What is assembled to series: from which queue, and after how much quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembleSettings {
    pub queue: RelaySettings,
    /// A series to which nothing was added for so long is announced.
    pub quiet: Duration,
}

/// How to reach a Storage queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueAccess {
    /// Signed in by the identity of `[storage] client_id`.
    Identity {
        queue_url: String,
    },
    SasUrl(Secret),
    ConnectionString {
        text: Secret,
        queue: String,
    },
}

/// The endpoint to which events are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    pub listen: SocketAddr,
    pub token: Secret,
    /// Who may ask to send events; `*` for anybody.
    pub origins: Vec<String>,
    /// `None` for any number.
    pub per_minute: Option<u64>,
}

/// An archive that DICOM results go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverSettings {
    /// Formed as the name of a container is.
    pub name: String,
    pub archive: String,
    pub authorization: Option<Secret>,
    pub calling_title: String,
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
    pub read_back: bool,
    /// How long it may take to commit itself to what it stored; `None` where it is not asked.
    pub commitment: Option<Duration>,
    /// The objects that it is sent.
    pub objects: Vec<Kind>,
}

/// What `nightread backlog` reads, reckons with and publishes to.
#[derive(Clone, Debug, PartialEq)]
pub struct BacklogSettings {
    pub management_url: Option<Secret>,
    /// Seconds of one worker for one message, where nobody has measured it.
    pub seconds_each: PerLane<f64>,
    pub scale_out_seconds: f64,
    /// `None` unless the region (or endpoint) and the resource are named.
    pub metrics: Option<MetricsSettings>,
}

/// Where custom metrics go, and about which resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `https://<region>.monitoring.azure.com`.
    pub endpoint: String,
    /// `/subscriptions/...`.
    pub resource_id: String,
}

/// The engine's part; `None` means `auto`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSettings {
    pub sessions: Option<usize>,
    pub intra_threads: Option<usize>,
    pub decode_threads: Option<usize>,
    pub batch_items: usize,
    /// `None` where nothing was said.
    pub precision: Option<PrecisionChoice>,
    pub provider: ProviderChoice,
    pub graph_cache: GraphCacheChoice,
    pub runtime: Option<PathBuf>,
    /// Whether ONNX Runtime may report its use to Microsoft.
    pub runtime_telemetry: bool,
}

impl EngineSettings {
    /// Where to look for ONNX Runtime. For the fastest provider the library that has all of them, where there is one.
    pub fn search(&self) -> Search {
        let search = match self.provider {
            ProviderChoice::Named(provider) => Search::new(self.runtime.clone(), provider),
            ProviderChoice::Fastest => {
                let with_all = Search::new(self.runtime.clone(), Provider::OpenVino).find().ok();
                Search::new(with_all.or_else(|| self.runtime.clone()), Provider::Cpu)
            }
        };
        search.with_telemetry(self.runtime_telemetry)
    }

    /// The provider named; for the fastest the one that every library has, which a trial may replace.
    pub const fn provider(&self) -> Provider {
        match self.provider {
            ProviderChoice::Fastest => Provider::Cpu,
            ProviderChoice::Named(provider) => provider,
        }
    }
}

impl EngineSettings {
    /// The precision named, FP32 where nothing is said, because every model has it; `None` for the fastest that each model
    /// offers, of those that may be chosen so.
    pub const fn precision(&self) -> Option<Precision> {
        match self.precision {
            Some(PrecisionChoice::Fastest) => None,
            Some(PrecisionChoice::Named(precision)) => Some(precision),
            None => Some(Precision::Fp32),
        }
    }
}

/// `[models] precision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// `auto`: the fastest that each model offers.
    Fastest,
    Named(Precision),
}

impl PrecisionChoice {
    /// `fp32`, `int8`, `bf16` or `auto`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Fastest),
            named => named.parse().ok().map(Self::Named),
        }
    }
}

/// `[models] provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderChoice {
    /// `auto`: for each model the fastest on this machine, of those whose answers agree.
    Fastest,
    Named(Provider),
}

impl Default for ProviderChoice {
    fn default() -> Self {
        Self::Named(Provider::default())
    }
}

impl ProviderChoice {
    /// `cpu`, `openvino` or `auto`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Fastest),
            named => named.parse().ok().map(Self::Named),
        }
    }
}

/// `[models] cache_dir`: where optimised graphs are kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GraphCacheChoice {
    /// Where the user's caches are, if there can be any.
    #[default]
    OfUser,
    /// `off`.
    Off,
    Folder(PathBuf),
}

impl GraphCacheChoice {
    /// The cache, where there is one. A folder that was named and cannot be used is a warning.
    pub fn open(&self) -> Option<GraphCache> {
        match self {
            Self::Off => None,
            Self::OfUser => {
                let folder = GraphCache::of_user()?;
                let cache = GraphCache::open(&folder);
                // A service may have no home, and a container no disk to write to.
                cache.inspect_err(|words| tracing::debug!(words, "optimised graphs are not kept")).ok()
            }
            Self::Folder(folder) => GraphCache::open(folder)
                .inspect_err(|words| {
                    let folder = folder.display();
                    tracing::warn!(%folder, words, "[models] cache_dir is not used: optimised graphs are not kept");
                })
                .ok(),
        }
    }
}

/// Bounds on untrusted input and on what is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub blob_bytes: u64,
    pub image_bytes: u64,
    /// Larger blobs are kept in files.
    pub memory_bytes: u64,
    pub spool_bytes: u64,
    pub pixels: u64,
    pub inflated_bytes: u64,
    pub voxels: u64,
    pub jobs: usize,
    pub in_flight_bytes: u64,
    /// Of CT volumes, beside their files.
    pub volume_bytes: u64,
    pub attempts: u32,
    pub outage_failures: u32,
    pub probe_interval: Duration,
    /// From the first refusal of a container to the dead letter.
    pub refused: Duration,
    pub storage_retry: Duration,
    /// Of all files of a model that is fetched from a registry, or published there.
    pub model_bytes: u64,
}

/// What scans may do and leave behind.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanSettings {
    pub resample: bool,
    /// What goes beside the documents.
    pub files: Vec<ArtefactKind>,
    /// Volumes and confounds that are taken out.
    pub nuisance: Wanted,
}

/// What CT volumes may do and leave behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSettings {
    /// Whether single missing slices are made up for.
    pub interpolate_missing: bool,
    /// What goes beside the documents.
    pub files: Vec<ArtefactKind>,
}

/// Everything a command needs, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Absent for commands that bring their own storage.
    pub storage: Option<StorageSettings>,
    /// Where blobs are kept that are too large for memory; `None` for the system's temporary folder.
    pub spool_dir: Option<PathBuf>,
    pub source_containers: Vec<String>,
    /// Further addresses of the account, as events name it.
    pub source_endpoints: Vec<String>,
    pub results_container: String,
    pub publish_results: bool,
    pub models_dir: PathBuf,
    /// Where models come from instead; then nothing of `models_dir` is read with.
    pub registry: Option<RegistrySettings>,
    pub routing: Routing,
    pub engine: EngineSettings,
    pub limits: Limits,
    pub png16_max: u32,
    /// Whether heatmaps go beside the documents, and of which findings.
    pub heatmaps: Option<HeatmapLabels>,
    pub write_heatmap_arrays: bool,
    pub write_embeddings: bool,
    pub scans: ScanSettings,
    pub volumes: VolumeSettings,
    /// The class of DICOM results that are reports.
    pub report_class: ReportClass,
    /// How DICOM results keep voxels.
    pub segmentation_form: SegForm,
    /// The archives: of `[deliver]`, then of `[[targets]]`.
    pub targets: Vec<DeliverSettings>,
    /// Results that are sent at a time.
    pub deliver_jobs: usize,
    /// Where archives bring reports of storage commitments.
    pub commitment_listen: Option<SocketAddr>,
    pub broker: Option<BrokerSettings>,
    pub relay: Option<RelaySettings>,
    pub assemble: Option<AssembleSettings>,
    /// Absent without a token.
    pub webhook: Option<WebhookSettings>,
    /// `[storage] client_id`, for what else is signed in to.
    pub client_id: Option<String>,
    pub backlog: BacklogSettings,
    pub listen: SocketAddr,
    /// `None` where metrics are only served.
    pub remote_write: Option<WriteSettings>,
    pub report_every: Duration,
    /// Where to ask for scheduled events, when that is turned on.
    pub scheduled_events: Option<String>,
    pub drain: Duration,
    pub failpoint: Option<Failpoint>,
}

impl Settings {
    /// Checks merged settings against each other. Returns what could be made of them beside the problems.
    pub fn validate(raw: &RawSettings, problems: &mut Problems) -> Option<Self> {
        validate::validate(raw, problems)
    }
}

#[cfg(test)]
mod tests;
