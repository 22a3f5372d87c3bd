//! The models that the settings name: those of a folder, or the pinned ones of a registry.

use std::sync::Arc;
use std::thread;

use nightread_domain::{BlobStore, ErrorCode, JobError, Stage};
use nightread_engine::Catalogue;

use super::account::account;
use super::runtime;
use crate::adapters::registry::{Cache, Registry, cached, fetch};
use crate::adapters::storage::Spool;
use crate::adapters::storage::azure::{AzureOptions, AzureStore};
use crate::adapters::storage::folder::FolderStore;
use crate::adapters::storage::retry::{RetryBudget, RetryingStore};
use crate::settings::{RegistryPlace, RegistrySettings, Settings, StorageSettings};

/// All models. Those of a registry are fetched first, unless they are here; a model that a route or `named` asks for must be
/// pinned. Blocks, for as long as a download takes.
///
/// # Errors
/// `model_missing` when the folder cannot be read; those of [`fetched`].
pub fn catalogue(settings: &Settings, named: Option<&str>) -> Result<Catalogue, JobError> {
    let Some(registry) = &settings.registry else { return Catalogue::load(&settings.models_dir) };
    // The caller may itself be work of a runtime, which cannot wait for another.
    thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let fetched = fetched(settings, registry, named);
            let runtime = runtime::one_thread().map_err(|error| {
                failed(ErrorCode::Internal, "no threads for the registry").with_source(error)
            })?;
            runtime.block_on(fetched)
        });
        fetching.join().unwrap_or_else(|_| Err(failed(ErrorCode::Internal, "fetching models panicked")))
    })
}

/// The pinned models, each of its very version.
///
/// # Errors
/// `settings_invalid` for a model that is not pinned, with the pins that there are; `model_missing`, `model_mismatch`; those of
/// the store.
pub async fn fetched(
    settings: &Settings,
    from: &RegistrySettings,
    named: Option<&str>,
) -> Result<Catalogue, JobError> {
    let registry = Registry::new(store_of(settings, &from.place)?, from.place.clone());
    let mut unpinned: Vec<&str> = settings.routing.models().map(String::as_str).chain(named).collect();
    unpinned.retain(|model| from.pins.iter().all(|pin| pin.name() != *model));
    unpinned.sort_unstable();
    unpinned.dedup();
    if from.pins.is_empty() || !unpinned.is_empty() {
        return Err(registry.unpinned(&unpinned).await);
    }
    let folders =
        fetch(&registry, &Cache::new(from.cache.clone()), &from.pins, settings.limits.model_bytes).await?;
    Ok(Catalogue::of(registry.to_string(), folders))
}

/// As [`catalogue`], of what is on this machine: a registry is not asked. Blocks.
///
/// # Errors
/// `model_missing` when the folder cannot be read, or a pinned model is not in the cache.
pub fn catalogue_here(settings: &Settings) -> Result<Catalogue, JobError> {
    let Some(registry) = &settings.registry else { return Catalogue::load(&settings.models_dir) };
    let folders = cached(&Cache::new(registry.cache.clone()), &registry.pins)?;
    Ok(Catalogue::of(format!("the registry {}", registry.place), folders))
}

/// The store of a registry, with in-process retries.
///
/// # Errors
/// `settings_invalid` for an account that cannot be reached as the settings say.
pub fn store_of(settings: &Settings, place: &RegistryPlace) -> Result<Arc<dyn BlobStore>, JobError> {
    let limits = &settings.limits;
    let budget = RetryBudget { total: limits.storage_retry, ..RetryBudget::default() };
    let container = place.container();
    let store: Arc<dyn BlobStore> = match &settings.storage {
        None => {
            let text = "[models] registry is a container of [storage], which is incomplete";
            return Err(failed(ErrorCode::SettingsInvalid, text));
        }
        Some(StorageSettings::Folder(root)) => {
            let containers = [(container.to_owned(), root.join(container))];
            Arc::new(FolderStore::new(containers).with_memory_bytes(limits.memory_bytes))
        }
        Some(StorageSettings::Azure(access)) => {
            let spool = Spool::new(settings.spool_dir.clone(), limits.memory_bytes);
            Arc::new(AzureStore::new(account(access)?, AzureOptions::default())?.with_spool(spool))
        }
    };
    Ok(Arc::new(RetryingStore::new(store, budget)))
}

fn failed(code: ErrorCode, text: &str) -> JobError {
    JobError::new(Stage::Start, code, text)
}
