//! The models that the settings name: those of a folder, or the pinned ones of a registry.

use std::thread;

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::Catalogue;

use super::runtime;
use super::stores::store_of;
use crate::adapters::registry::{Cache, Registry, cached, fetch};
use crate::settings::{RegistrySettings, Settings};

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
    pinned(Catalogue::of(registry.to_string(), folders), from)
}

/// As [`catalogue`], of what is on this machine: a registry is not asked. Blocks.
///
/// # Errors
/// `model_missing` when the folder cannot be read, or a pinned model is not in the cache.
pub fn catalogue_here(settings: &Settings) -> Result<Catalogue, JobError> {
    let Some(registry) = &settings.registry else { return Catalogue::load(&settings.models_dir) };
    let folders = cached(&Cache::new(registry.cache.clone()), &registry.pins)?;
    pinned(Catalogue::of(format!("the registry {}", registry.place), folders), registry)
}

/// What is pinned is meant to be served. One that this program cannot read with (a key that it does not know, of a later
/// version) would be left out, and its studies go to another model, or to none.
fn pinned(catalogue: Catalogue, from: &RegistrySettings) -> Result<Catalogue, JobError> {
    from.pins.iter().try_for_each(|pin| catalogue.get(pin.name()).map(drop))?;
    Ok(catalogue)
}

fn failed(code: ErrorCode, text: &str) -> JobError {
    JobError::new(Stage::Start, code, text)
}
