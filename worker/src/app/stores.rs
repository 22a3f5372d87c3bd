//! The stores of the settings.

use std::sync::Arc;

use anyhow::{Context, Result};
use nightread_domain::storing::Identity;
use nightread_domain::{BlobStore, ErrorCode, JobError, Stage};

use super::account::account;
use crate::adapters::storage::Spool;
use crate::adapters::storage::azure::{AzureOptions, AzureStore};
use crate::adapters::storage::folder::FolderStore;
use crate::adapters::storage::retry::{RetryBudget, RetryingStore};
use crate::flow::spool::SpoolBudget;
use crate::settings::{Limits, RegistryPlace, Settings, StorageSettings};

/// The stores a pipeline reads from and writes to.
#[derive(Debug)]
pub struct Stores {
    pub source: Arc<dyn BlobStore>,
    pub results: Arc<dyn BlobStore>,
    pub results_container: String,
    pub identity: Identity,
    /// Containers whose jobs wait when they do not answer; none where a failure is the file's own.
    pub watched: Vec<String>,
    /// Whether the files beside a scan belong to it: in the service a study is one blob.
    pub sidecars: bool,
    /// Whether large blobs are spooled: those of a folder lie in files already.
    pub spools: bool,
}

impl Stores {
    /// How many bytes of large blobs may be spooled at a time.
    pub fn bytes_in_files(&self, limits: &Limits) -> SpoolBudget {
        SpoolBudget::new(limits.memory_bytes, self.spools.then_some(limits.spool_bytes))
    }
}

/// The stores of the service, with in-process retries.
pub fn stores(settings: &Settings) -> Result<Stores> {
    let storage = settings.storage.as_ref().context("storage was required above")?;
    let results = &settings.results_container;
    let containers = settings.source_containers.iter().chain([results]).map(String::as_str);
    let store = opened(storage, settings, containers, |folder| folder.with_results(results))?;
    Ok(Stores {
        source: Arc::clone(&store),
        results: store,
        results_container: results.clone(),
        identity: Identity::Version,
        watched: settings.source_containers.clone(),
        sidecars: false,
        spools: matches!(storage, StorageSettings::Azure(_)),
    })
}

/// The store of a registry, with in-process retries.
///
/// # Errors
/// `settings_invalid` for an account that cannot be reached as the settings say.
pub fn store_of(settings: &Settings, place: &RegistryPlace) -> Result<Arc<dyn BlobStore>, JobError> {
    let Some(storage) = &settings.storage else {
        let text = "[models] registry is a container of [storage], which is incomplete";
        return Err(JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text));
    };
    opened(storage, settings, [place.container()], |folder| folder)
}

/// With in-process retries. `containers` are those that a folder has, which `finish` may tell more.
fn opened<'a>(
    storage: &StorageSettings,
    settings: &Settings,
    containers: impl IntoIterator<Item = &'a str>,
    finish: impl FnOnce(FolderStore) -> FolderStore,
) -> Result<Arc<dyn BlobStore>, JobError> {
    let limits = &settings.limits;
    let budget = RetryBudget { total: limits.storage_retry, ..RetryBudget::default() };
    let store: Arc<dyn BlobStore> = match storage {
        StorageSettings::Folder(root) => {
            let folders = containers.into_iter().map(|name| (name.to_owned(), root.join(name)));
            Arc::new(finish(FolderStore::new(folders)).with_memory_bytes(limits.memory_bytes))
        }
        StorageSettings::Azure(access) => {
            let spool = Spool::new(settings.spool_dir.clone(), limits.memory_bytes);
            Arc::new(AzureStore::new(account(access)?, AzureOptions::default())?.with_spool(spool))
        }
    };
    Ok(Arc::new(RetryingStore::new(store, budget)))
}
