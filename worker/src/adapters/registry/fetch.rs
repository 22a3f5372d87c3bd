//! From the registry into the cache: a list first, which is held against the pin, then every file that it names.

use std::time::Instant;

use nightread_domain::{Body, ErrorCode, JobError, Stage};
use nightread_engine::ModelFolder;

use super::cache::{Cache, Extent, Held};
use super::digest::digest_of_file;
use super::sums::{SUMS_FILE, Sums};
use super::versions::{Registry, mismatch, missing};
use crate::flow::aside::blocking;
use crate::settings::Pin;

/// What runs beside the reactor here.
const TASK: &str = "a task of the models' cache";

/// The folders of these versions, what is `extent` of each whole and right when this returns, and held from then on. What is in
/// the cache is digested and not asked for; where all is there, the registry is not needed. Versions that are no longer used make
/// room.
///
/// # Errors
/// `model_missing` for a version, or a file of it, that the registry does not have; `model_mismatch` for what has another digest,
/// or more than `most_bytes`; `settings_invalid` where the cache cannot be written; those of the store.
pub async fn fetch(
    registry: &Registry,
    cache: &Cache,
    pins: &[Pin],
    extent: Extent,
    most_bytes: u64,
) -> Result<Vec<ModelFolder>, JobError> {
    let mut folders = Vec::new();
    for pin in pins {
        // Before anything is looked at: what is there now could be removed.
        let lease = with(cache, pin, Cache::lease).await?;
        if !look(cache, pin, extent).await?.is_whole() {
            Fetching { registry, cache, pin, extent, most_bytes }.run().await?;
        }
        folders.push(ModelFolder::from(cache.folder_of(pin)).held(lease));
    }
    let (cache, pins) = (cache.clone(), pins.to_vec());
    blocking(Stage::Start, TASK, move || {
        cache.prune(&pins);
        Ok(())
    })
    .await?;
    Ok(folders)
}

/// The same of the cache alone. Blocks.
///
/// # Errors
/// `model_missing` for what is not there, or not right.
pub fn cached(cache: &Cache, pins: &[Pin]) -> Result<Vec<ModelFolder>, JobError> {
    let folders = pins.iter().map(|pin| {
        let folder = cache.folder_of(pin);
        let lease = folder.exists().then(|| cache.lease(pin)).flatten();
        if cache.look(pin, Extent::All).is_whole() {
            return Ok(ModelFolder::from(folder).held(lease));
        }
        Err(missing(format!("{pin} is not in the cache, {}, and nobody is asked for it", folder.display())))
    });
    folders.collect()
}

async fn with<T: Send + 'static>(
    cache: &Cache,
    pin: &Pin,
    what: impl FnOnce(&Cache, &Pin) -> T + Send + 'static,
) -> Result<T, JobError> {
    let (cache, pin) = (cache.clone(), pin.clone());
    blocking(Stage::Start, TASK, move || Ok(what(&cache, &pin))).await
}

async fn look(cache: &Cache, pin: &Pin, extent: Extent) -> Result<Held, JobError> {
    with(cache, pin, move |cache, pin| cache.look(pin, extent)).await
}

struct Fetching<'a> {
    registry: &'a Registry,
    cache: &'a Cache,
    pin: &'a Pin,
    extent: Extent,
    most_bytes: u64,
}

impl Fetching<'_> {
    async fn run(&self) -> Result<(), JobError> {
        let _lock = self.cache.lock(self.pin).await?;
        // Another may have fetched it meanwhile.
        let held = look(self.cache, self.pin, self.extent).await?;
        if held.is_whole() {
            return Ok(());
        }
        let started = Instant::now();
        tracing::info!(pin = %self.pin, registry = %self.registry, "fetching a model");
        // Said once, and as what it is: a container that is not there, or that does not let us in.
        let probed = self.registry.store.probe(self.registry.place.container()).await;
        probed.map_err(|error| self.registry.beside(error))?;
        let held = if held.sums.is_some() {
            held
        } else {
            let sums = self.sums().await?;
            let list = Body::from(sums.text().to_owned().into_bytes());
            self.keep(SUMS_FILE, list, self.pin.sha256()).await?;
            // Files may be there without their list.
            Held { sums: Some(sums), ..look(self.cache, self.pin, self.extent).await? }
        };
        let bytes = self.fetch(&held).await?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(pin = %self.pin, bytes, seconds, "a model was fetched");
        Ok(())
    }

    async fn sums(&self) -> Result<Sums, JobError> {
        let Self { registry, pin, .. } = self;
        if let Some(sums) = registry.sums(pin).await? {
            return Ok(sums);
        }
        let found = registry.told(Some(pin.name())).await?;
        Err(missing(format!("{registry} has no {pin}; it has of this model: {found}")))
    }

    /// What is lacking, when all together is not too much: a limit that counts what is asked for alone would let a version in
    /// at the second start. Gives the bytes that were fetched.
    async fn fetch(&self, held: &Held) -> Result<u64, JobError> {
        let Self { registry, pin, most_bytes, .. } = self;
        let files = held.sums.iter().flat_map(Sums::files);
        let mut lacking = Vec::new();
        for (name, sha256) in files.filter(|(name, _)| held.lacking.iter().any(|lacks| lacks == name)) {
            let blob = registry.blob(pin, name)?;
            let properties = registry.store.properties(&blob).await.map_err(|error| match error.code {
                ErrorCode::BlobNotFound => {
                    missing(format!("{blob} is not there, and {SUMS_FILE} beside it names it"))
                }
                _ => registry.failed(&blob, error),
            })?;
            lacking.push((name, sha256, blob, properties));
        }
        let bytes = lacking.iter().map(|(_, _, _, properties)| properties.bytes).fold(0, u64::saturating_add);
        let all = held.bytes.saturating_add(bytes);
        if all > *most_bytes {
            return Err(mismatch(format!(
                "the files of {pin} have {all} bytes, and {most_bytes} are allowed ([limits] model_bytes): raise the limit where \
                 that is right"
            )));
        }
        for (name, sha256, blob, properties) in lacking {
            let fetched = registry.store.fetch(&blob, &properties, properties.bytes).await;
            let fetched = fetched.map_err(|error| registry.failed(&blob, error))?;
            let found = digest_of_file(&fetched).await?;
            if found != sha256 {
                return Err(mismatch(format!(
                    "{blob} has sha256 {found}, and {SUMS_FILE} beside it says {sha256}: it was damaged or replaced; publish the model \
                     anew elsewhere"
                )));
            }
            self.keep(name, fetched, sha256).await?;
        }
        Ok(bytes)
    }

    /// Writes a file of the version into its place, if it is right there.
    async fn keep(&self, name: &str, body: Body, sha256: &str) -> Result<(), JobError> {
        let (cache, pin) = (self.cache.clone(), self.pin.clone());
        let (name, sha256) = (name.to_owned(), sha256.to_owned());
        blocking(Stage::Start, TASK, move || {
            let mut draft = cache.draft(&pin)?;
            let written = draft.fill(body.open())?;
            if written != sha256 {
                return Err(mismatch(format!(
                    "{name} of {pin} has sha256 {written} after it was written, and {sha256} is right: look at this machine's disk"
                )));
            }
            draft.keep(&name)
        })
        .await
    }
}
