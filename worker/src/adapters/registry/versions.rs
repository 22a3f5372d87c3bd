//! What versions of models a registry has.

use std::fmt;
use std::sync::Arc;

use nightread_domain::{BlobRef, BlobStore, ErrorClass, ErrorCode, JobError, Stage};
use nightread_engine::MANIFEST_FILE;

use super::sums::{MOST_SUMS_BYTES, SUMS_FILE, Sums, digest_of};
use crate::settings::{Pin, RegistryPlace};

/// Blobs that are looked through for versions.
const MOST_LISTED: usize = 20_000;

/// A manifest has some hundred labels at most.
const MOST_MANIFEST_BYTES: u64 = 1 << 20;

/// Versions that are told.
const MOST_TOLD: usize = 3;

/// A registry: a container of a store.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) place: RegistryPlace,
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry {}", self.place)
    }
}

impl Registry {
    pub fn new(store: Arc<dyn BlobStore>, place: RegistryPlace) -> Self {
        Self { store, place }
    }

    pub(super) fn blob(&self, pin: &Pin, file: &str) -> Result<BlobRef, JobError> {
        let name = format!("{}{}/{}/{file}", self.place.prefix(), pin.name(), pin.sha256());
        BlobRef::new(self.place.container(), name)
    }

    /// The list of a version; `None` when there is no such version. Errors: `model_mismatch` for a list that has another digest
    /// than the pin, or is none; those of the store.
    pub(super) async fn sums(&self, pin: &Pin) -> Result<Option<Sums>, JobError> {
        let blob = self.blob(pin, SUMS_FILE)?;
        let read = self.store.read(&blob, MOST_SUMS_BYTES).await;
        let Some((text, _)) = read.map_err(|error| self.failed(&blob, error))? else { return Ok(None) };
        let found = digest_of(&text);
        if found != pin.sha256() {
            return Err(mismatch(format!(
                "{blob} has sha256 {found}, and its name and the pin say {}",
                pin.sha256()
            )));
        }
        Sums::parse(&text)
            .map(Some)
            .map_err(|wrong| mismatch(format!("{blob} is no list of a model: {wrong}")))
    }

    /// What there is of a model, or of all, in words: pins whose lists are right, the last that were published.
    pub(super) async fn told(&self, model: Option<&str>) -> Result<String, JobError> {
        let mut told: Vec<String> = Vec::new();
        let mut more = 0;
        for pin in self.pins(model).await? {
            if told.len() == MOST_TOLD {
                more += 1;
            } else if matches!(self.sums(&pin).await, Ok(Some(_))) {
                told.push(pin.to_string());
            }
        }
        Ok(match (told.is_empty(), more) {
            (true, _) => "none".to_owned(),
            (false, 0) => told.join(", "),
            (false, more) => format!("{} and {more} older", told.join(", ")),
        })
    }

    /// Refuses to publish other files under a version that is published: documents, routes and people know a model by its version.
    /// Lists that are wrong and manifests that are not there tell of no version: nobody can read with them.
    ///
    /// # Errors
    /// `model_mismatch` with the pin that stands and what differs; those of the store.
    pub(super) async fn is_free(&self, version: &str, pin: &Pin, files: &Sums) -> Result<(), JobError> {
        let mut stands = None;
        for other in self.pins(Some(pin.name())).await? {
            let listed = match self.sums(&other).await {
                Err(error) if error.code != ErrorCode::ModelMismatch => return Err(error),
                Err(_) | Ok(None) => continue,
                Ok(Some(listed)) => listed,
            };
            if self.version_of(&other).await?.as_deref() != Some(version) {
                continue;
            }
            if listed.files().eq(files.files()) {
                return Ok(());
            }
            stands = Some((other, files.differences(&listed)));
        }
        let Some((standing, differences)) = stands else { return Ok(()) };
        Err(mismatch(format!(
            "{self} has {} {version} already, as {standing}, with another {}: a version that is published stays as it is; \
             raise version in {MANIFEST_FILE} and push again",
            pin.name(),
            differences.join(", ")
        )))
    }

    /// The version in the manifest of what is published.
    async fn version_of(&self, pin: &Pin) -> Result<Option<String>, JobError> {
        let blob = self.blob(pin, MANIFEST_FILE)?;
        let read = self.store.read(&blob, MOST_MANIFEST_BYTES).await;
        let Some((text, _)) = read.map_err(|error| self.failed(&blob, error))? else { return Ok(None) };
        let manifest: Option<toml::Table> =
            std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        Ok(manifest.and_then(|manifest| Some(manifest.get("version")?.as_str()?.to_owned())))
    }

    /// What looks like a version of a model, or of any, by the names of lists; the last that was published first.
    async fn pins(&self, model: Option<&str>) -> Result<Vec<Pin>, JobError> {
        let (container, root) = (self.place.container(), self.place.prefix());
        let prefix = model.map_or_else(|| root.to_owned(), |name| format!("{root}{name}/"));
        let listed = self.store.all_below(container, &prefix, MOST_LISTED).await;
        let mut listed = listed.map_err(|error| self.beside(error))?;
        listed.sort_by_key(|(_, properties)| std::cmp::Reverse(properties.last_modified));
        let pins = listed.iter().filter_map(|(blob, _)| pin_of_list(blob.name().strip_prefix(root)?));
        Ok(pins.collect())
    }

    /// Why models are refused that the settings do not pin, with what could be pinned.
    ///
    /// # Errors
    /// That, `settings_invalid`; or those of the store.
    pub async fn unpinned(&self, models: &[&str]) -> JobError {
        let mut told = Vec::new();
        let named: Vec<_> =
            if models.is_empty() { vec![None] } else { models.iter().copied().map(Some).collect() };
        for model in named {
            match self.told(model).await {
                Ok(found) => told.push(match model {
                    Some(model) => format!("{model} is not pinned; {self} has of it: {found}"),
                    None => format!("no model is pinned; {self} has: {found}"),
                }),
                Err(error) => return error,
            }
        }
        let text = format!("[models] pinned: {}", told.join("; "));
        JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text)
    }

    pub(super) fn failed(&self, blob: &BlobRef, mut error: JobError) -> JobError {
        error.message = format!("{blob}: {}", error.message);
        self.beside(error)
    }

    /// A failure of the store, as one of the start: what is gone there is a model that is not there.
    pub(super) fn beside(&self, mut error: JobError) -> JobError {
        error.message = format!("{self}: {}", error.message);
        if error.class == ErrorClass::Permanent {
            error.class = ErrorClass::Fatal;
        }
        error.at_stage(Stage::Start)
    }
}

/// Of `NAME/DIGEST/SHA256SUMS`.
fn pin_of_list(name: &str) -> Option<Pin> {
    let (model, rest) = name.split_once('/')?;
    let (sha256, file) = rest.split_once('/')?;
    (file == SUMS_FILE).then(|| Pin::new(model, sha256))?
}

pub(super) fn mismatch(text: String) -> JobError {
    JobError::new(Stage::Start, ErrorCode::ModelMismatch, text)
}

pub(super) fn missing(text: String) -> JobError {
    JobError::new(Stage::Start, ErrorCode::ModelMissing, text)
}
