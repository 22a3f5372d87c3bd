//! The models that the settings name: those of a folder, or the pinned ones of a registry.

use std::thread;

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::Catalogue;

use super::runtime;
use super::stores::store_of;
use crate::adapters::registry::{Cache, Extent, Registry, cached, fetch};
use crate::settings::{Pin, RegistrySettings, Settings};

/// All models. Those of a registry are fetched first, unless they are here; a model that a route or `named` asks for must be
/// pinned. Blocks, for as long as a download takes.
///
/// # Errors
/// `model_missing` when the folder cannot be read; those of [`fetched`].
pub fn catalogue(settings: &Settings, named: Option<&str>) -> Result<Catalogue, JobError> {
    read(settings, named, Extent::All)
}

/// As [`catalogue`], for who asks what the manifests say and opens no model: of a registry nothing else is fetched.
///
/// # Errors
/// As [`catalogue`].
pub fn described(settings: &Settings, named: Option<&str>) -> Result<Catalogue, JobError> {
    read(settings, named, Extent::Manifest)
}

fn read(settings: &Settings, named: Option<&str>, extent: Extent) -> Result<Catalogue, JobError> {
    let Some(registry) = &settings.registry else { return Catalogue::load(&settings.models_dir) };
    // The caller may itself be work of a runtime, which cannot wait for another.
    thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let fetched = pinned(settings, registry, named, extent);
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
pub async fn fetched(settings: &Settings, from: &RegistrySettings) -> Result<Catalogue, JobError> {
    pinned(settings, from, None, Extent::All).await
}

async fn pinned(
    settings: &Settings,
    from: &RegistrySettings,
    named: Option<&str>,
    extent: Extent,
) -> Result<Catalogue, JobError> {
    let registry = Registry::new(store_of(settings, &from.place)?, from.place.clone());
    let mut unpinned: Vec<&str> = settings.routing.models().map(String::as_str).chain(named).collect();
    unpinned.retain(|model| from.pins.iter().all(|pin| pin.name() != *model));
    unpinned.sort_unstable();
    unpinned.dedup();
    if from.pins.is_empty() || !unpinned.is_empty() {
        return Err(registry.unpinned(&unpinned).await);
    }
    let cache = Cache::new(from.cache.clone());
    let folders = fetch(&registry, &cache, &from.pins, extent, settings.limits.model_bytes).await?;
    let place = registry.to_string();
    let catalogue = match extent {
        Extent::All => Catalogue::of(place, folders),
        Extent::Manifest => Catalogue::described(place, folders),
    };
    whole(catalogue, &cache, &from.pins)
}

/// As [`catalogue`], of what is on this machine: a registry is not asked. Blocks.
///
/// # Errors
/// `model_missing` when the folder cannot be read, or a pinned model is not in the cache.
pub fn catalogue_here(settings: &Settings) -> Result<Catalogue, JobError> {
    let Some(registry) = &settings.registry else { return Catalogue::load(&settings.models_dir) };
    let cache = Cache::new(registry.cache.clone());
    let folders = cached(&cache, &registry.pins)?;
    whole(Catalogue::of(format!("the registry {}", registry.place), folders), &cache, &registry.pins)
}

/// What is pinned is meant to be served. One that this program cannot read with (a key that it does not know, of a later
/// version) would be left out, and its studies go to another model, or to none.
fn whole(catalogue: Catalogue, cache: &Cache, pins: &[Pin]) -> Result<Catalogue, JobError> {
    for pin in pins {
        catalogue.get(pin.name())?;
        // What was read is what was digested: others may write to a cache that is shared.
        if !cache.has_manifest(pin) {
            let text = format!(
                "the manifest of {pin} changed while it was read: look who writes to {}",
                cache.folder_of(pin).display()
            );
            return Err(failed(ErrorCode::ModelMismatch, &text));
        }
    }
    Ok(catalogue)
}

fn failed(code: ErrorCode, text: &str) -> JobError {
    JobError::new(Stage::Start, code, text)
}
