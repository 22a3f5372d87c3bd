//! Broker, storage, ports, Azure Monitor and the receiver of metrics: signed in to as the command would, with nothing published
//! and nothing taken. The right to write is tried with one blob that is deleted again.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nightread_domain::error::with_causes;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, JobError, Stage, WriteCondition};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::ports;
use crate::adapters::amqp::{Management, Rights, topology, virtual_host};
use crate::adapters::azure::monitor::AzureMonitor;
use crate::adapters::azure::queue::StorageQueue;
use crate::adapters::remote_write::RemoteWrite;
use crate::adapters::storage::azure::{AzureOptions, AzureStore};
use crate::adapters::storage::folder::FolderStore;
use crate::app;
use crate::cli::check::Purpose;
use crate::compute::models::LoadedModels;
use crate::pipeline::version;
use crate::services::dicom::send::archive;
use crate::settings::{Problems, RelaySettings, Settings, StorageSettings};

/// Longer than any one connection may take, so that its own words come first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Written into the results container to try the right to, and deleted. Only its name is ever there for longer, where
/// deleting is not allowed.
const PROBE: &str = "nightread-check";

/// What was found, by what was asked.
#[derive(Debug, Default)]
pub(super) struct Outside(Vec<(String, String)>);

impl Outside {
    pub(super) fn look<'o>(
        settings: &Settings,
        purposes: &[Purpose],
        opened: impl Iterator<Item = &'o LoadedModels>,
        problems: &mut Problems,
        runtime: Runtime,
    ) -> Self {
        let opened: Vec<_> = opened.collect();
        let found = runtime.block_on(async {
            let mut look = Look { settings, found: Vec::new(), problems };
            look.at_ports(purposes).await;
            look.at_broker(purposes).await;
            let reads = [Purpose::Run, Purpose::Announce, Purpose::Assemble, Purpose::Deliver];
            if purposes.iter().any(|purpose| reads.contains(purpose)) {
                let writing = [Purpose::Run, Purpose::Assemble, Purpose::Deliver];
                let writes = purposes.iter().any(|purpose| writing.contains(purpose));
                look.at_storage(writes, &opened).await;
            }
            if purposes.iter().any(|purpose| matches!(purpose, Purpose::Relay | Purpose::Backlog)) {
                let relay = settings.relay.as_ref();
                look.at_queue(relay, "relay", "Storage queue", purposes.contains(&Purpose::Relay)).await;
            }
            if purposes.contains(&Purpose::Assemble) {
                let queue = settings.assemble.as_ref().map(|assemble| &assemble.queue);
                look.at_queue(queue, "assemble", "Storage queue of instances", true).await;
            }
            if purposes.contains(&Purpose::Deliver) {
                look.at_archives().await;
            }
            if purposes.iter().any(|purpose| matches!(purpose, Purpose::Run | Purpose::Backlog)) {
                look.at_management().await;
            }
            if purposes.contains(&Purpose::Backlog) {
                look.at_monitor().await;
            }
            let silent = [Purpose::Process, Purpose::Announce];
            if purposes.iter().any(|purpose| !silent.contains(purpose)) {
                look.at_receiver().await;
            }
            look.found
        });
        // What a time-out left behind must not hold the answer up.
        runtime.shutdown_background();
        Self(found)
    }

    pub(super) fn rows(&self) -> Vec<(String, String)> {
        self.0.clone()
    }

    pub(super) fn as_json(&self) -> Value {
        Value::Object(
            self.0.iter().map(|(what, said)| (what.clone(), said.clone().into())).collect::<Map<_, _>>(),
        )
    }
}

struct Look<'s> {
    settings: &'s Settings,
    found: Vec<(String, String)>,
    problems: &'s mut Problems,
}

impl Look<'_> {
    /// Notes what came of a question, and that it went wrong.
    async fn ask(&mut self, what: &str, question: impl Future<Output = Result<String, JobError>>) -> bool {
        let answer = match tokio::time::timeout(PATIENCE, question).await {
            Ok(answer) => answer.map_err(|error| told(&error)),
            Err(_) => Err(format!("no answer in {} seconds", PATIENCE.as_secs())),
        };
        let well = answer.is_ok();
        let said = answer.unwrap_or_else(|words| {
            self.problems.add(format!("{what}: {words}"));
            words
        });
        self.found.push((what.to_owned(), said));
        well
    }

    /// Where the command would listen.
    async fn at_ports(&mut self, purposes: &[Purpose]) {
        let settings = self.settings;
        let serves = [Purpose::Run, Purpose::Relay, Purpose::Assemble, Purpose::Deliver, Purpose::Webhook];
        if !purposes.iter().any(|purpose| serves.contains(purpose)) {
            return;
        }
        let mut ports = vec![("health endpoints", settings.listen)];
        if let Some(webhook) = settings.webhook.as_ref().filter(|_| purposes.contains(&Purpose::Webhook)) {
            ports.push(("webhook", webhook.listen));
        }
        if let Some(reports) = settings.commitment_listen.filter(|_| purposes.contains(&Purpose::Deliver)) {
            ports.push(("reports of storage commitments", reports));
        }
        let runs = ports::is_nightread(settings.listen).await;
        for (what, address) in ports {
            let question = async { ports::free(address, runs) };
            self.ask(&format!("{what} at {address}"), question).await;
        }
    }

    async fn at_broker(&mut self, purposes: &[Purpose]) {
        let settings = self.settings;
        let Some(broker) = &settings.broker else { return };
        let options = match app::rabbit(broker, &settings.limits) {
            Ok(options) => options,
            Err(error) => return self.problems.add(format!("broker: {error:#}")),
        };
        let question = async {
            let version = topology::check(&options).await?;
            Ok::<_, JobError>(format!(
                "RabbitMQ {}.{}, signed in; the topology is there",
                version.major, version.minor
            ))
        };
        // A handshake with TLS is a large future.
        let is_there = self.ask("broker", Box::pin(question)).await;
        let rights = purposes.iter().map(|purpose| purpose.rights()).fold(Rights::default(), Rights::and);
        if !is_there || rights == Rights::default() {
            return;
        }
        let question = async {
            rights.check(&options).await?;
            let (consume, publish) = (rights.consume.len(), rights.publish.len());
            Ok::<_, JobError>(format!("may consume (queues: {consume}) and publish (exchanges: {publish})"))
        };
        self.ask("rights at the broker", Box::pin(question)).await;
        if purposes.contains(&Purpose::Announce) {
            // Only an announcement with an hour needs them.
            let may = Box::pin(Rights::of_who_parks().check(&options)).await;
            let said = may.map_or_else(|error| error.message, |()| "may park and bring back".to_owned());
            self.found.push(("announce --finish-by".to_owned(), said));
        }
    }

    async fn at_storage(&mut self, writes: bool, opened: &[&LoadedModels]) {
        let settings = self.settings;
        let Some(storage) = &settings.storage else { return };
        let store = match Store::open(storage, settings) {
            Ok(store) => store,
            Err(error) => return self.problems.add(format!("storage: {}", told(&error))),
        };
        let blobs = store.blobs();
        for container in &settings.source_containers {
            let question = async {
                blobs.probe(container).await?;
                // Nothing is called so; whoever may not read is told that, and not that it is not there.
                blobs.read(&BlobRef::new(container, PROBE)?, 1).await?;
                Ok::<_, JobError>("there, and readable".to_owned())
            };
            self.ask(&format!("container {container}"), question).await;
        }
        let results = &settings.results_container;
        let question = async {
            blobs.probe(results).await?;
            if !writes {
                return Ok::<_, JobError>("there".to_owned());
            }
            store.try_to_write(results).await
        };
        let well = self.ask(&format!("container {results}"), question).await;
        for model in opened.iter().flat_map(|opened| opened.models()).filter(|_| well) {
            let question = async {
                version::agrees(blobs, results, model).await?;
                Ok::<_, JobError>("the one that made the results that are there".to_owned())
            };
            self.ask(&format!("version of {}", model.key), question).await;
        }
    }

    async fn at_queue(&mut self, queue: Option<&RelaySettings>, section: &str, what: &str, poison_too: bool) {
        let settings = self.settings;
        let Some(queue) = queue else { return };
        let opened = app::queue_account(queue, settings)
            .and_then(|(account, name)| StorageQueue::with_poison(account, name.as_deref()));
        let (queue, poison) = match opened {
            Ok(queues) => queues,
            Err(error) => return self.problems.add(format!("[{section}]: {}", told(&error))),
        };
        self.ask(what, count(&queue)).await;
        if poison_too {
            self.ask(&format!("{what} for poison"), count(&poison)).await;
        }
    }

    /// Asks each archive something that changes nothing: an answer does not prove that it stores.
    async fn at_archives(&mut self) {
        let settings = self.settings;
        for target in &settings.targets {
            let question = async { archive(target, &Arc::default())?.answers().await };
            self.ask(&format!("archive {}", target.name), Box::pin(question)).await;
        }
    }

    async fn at_management(&mut self) {
        let settings = self.settings;
        let (Some(url), Some(broker)) = (&settings.backlog.management_url, &settings.broker) else { return };
        let question = async {
            let options = app::rabbit(broker, &settings.limits).map_err(|error| {
                JobError::new(Stage::Start, ErrorCode::SettingsInvalid, format!("{error:#}"))
            })?;
            let management =
                Management::new(url.reveal(), &virtual_host(&options)?, options.ca_pem.as_deref())?;
            let counts = management.counts(&topology::queues()).await?;
            let impatience = management.impatience(&options.consumer_timeout).await?;
            if !impatience.is_empty() {
                return Err(JobError::new(Stage::Start, ErrorCode::BrokerRejected, impatience.join("; ")));
            }
            Ok::<_, JobError>(format!("counts {} queues", counts.len()))
        };
        self.ask("management plug-in", question).await;
    }

    async fn at_monitor(&mut self) {
        let settings = self.settings;
        let Some(metrics) = &settings.backlog.metrics else { return };
        let question = async {
            let monitor = AzureMonitor::new(metrics, settings.client_id.as_deref())?;
            let status = monitor.answers().await?;
            Ok::<_, JobError>(format!(
                "answers ({status}), and the identity has a token for it; the right to publish is not looked at"
            ))
        };
        self.ask("Azure Monitor", Box::pin(question)).await;
    }

    /// Writes nothing to the receiver of metrics, in the way in which metrics are written.
    async fn at_receiver(&mut self) {
        let settings = self.settings;
        let Some(write) = &settings.remote_write else { return };
        let question = async {
            let receiver = RemoteWrite::new(write, settings.client_id.as_deref(), "", "")?;
            let status = receiver.answers().await?;
            Ok::<_, JobError>(format!("lets us in and answers ({status}) to a write of nothing"))
        };
        self.ask("receiver of metrics", Box::pin(question)).await;
    }
}

async fn count(queue: &StorageQueue) -> Result<String, JobError> {
    Ok(format!("about {} messages", queue.depth().await?))
}

/// The storage of the settings, without retries: what fails is told.
enum Store {
    Azure(Box<AzureStore>),
    Folder(FolderStore, PathBuf),
}

impl Store {
    fn open(storage: &StorageSettings, settings: &Settings) -> Result<Self, JobError> {
        Ok(match storage {
            StorageSettings::Azure(access) => {
                Self::Azure(Box::new(AzureStore::new(app::account(access)?, AzureOptions::default())?))
            }
            StorageSettings::Folder(root) => {
                let containers = settings.source_containers.iter().chain([&settings.results_container]);
                let folders = containers.map(|name| (name.clone(), root.join(name)));
                Self::Folder(FolderStore::new(folders), root.clone())
            }
        })
    }

    fn blobs(&self) -> &dyn BlobStore {
        match self {
            Self::Azure(store) => &**store,
            Self::Folder(store, _) => store,
        }
    }

    /// Writes one blob as a result is written, and deletes it.
    async fn try_to_write(&self, container: &str) -> Result<String, JobError> {
        let blob = BlobRef::new(container, format!("{PROBE}-{}", std::process::id()))?;
        let body = Bytes::from_static(b"written by `nightread check`, to be deleted at once\n");
        self.blobs().write(&blob, body, &BTreeMap::new(), WriteCondition::IfAbsent).await?;
        let deleted = match self {
            Self::Azure(store) => store.delete(&blob).await.map_err(|error| told(&error)),
            Self::Folder(_, root) => std::fs::remove_file(root.join(container).join(blob.name()))
                .map_err(|error| error.to_string()),
        };
        // Workers never delete.
        Ok(match deleted {
            Ok(()) => "there, and writable".to_owned(),
            Err(words) => {
                format!("there, and writable; {} could not be deleted again ({words})", blob.name())
            }
        })
    }
}

/// An error with its causes, each said once.
fn told(error: &JobError) -> String {
    with_causes(format!("{} ({})", error.message, error.code), error.source())
}
