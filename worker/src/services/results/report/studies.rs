//! The studies themselves, for their images.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use nightread_domain::{BlobRef, JobError};
use nightread_radiograph::{DecodeOptions, GatePolicy};

use crate::app::{self, WrongUse};
use crate::cli::Common;
use crate::services::results::documents::{Store, in_settings};
use crate::services::results::source::{DocumentSource, FOLDER};
use crate::settings::Settings;

/// Where studies lie, and how they are decoded.
#[derive(Clone)]
pub(super) struct Studies {
    store: Store,
    /// The container that holds them; of a folder, every container's names are below it.
    container: Option<String>,
    pub options: DecodeOptions,
    most_bytes: u64,
}

impl std::fmt::Debug for Studies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Studies").field("container", &self.container).finish_non_exhaustive()
    }
}

impl Studies {
    /// Opens a folder, or a container of the settings' storage.
    ///
    /// # Errors
    /// [`WrongUse`]; what the account says; `sandbox_unavailable` where compressed images cannot be decoded.
    pub fn open(place: &Path, common: &Common) -> Result<Self> {
        let source =
            DocumentSource::parse(place).map_err(|problem| WrongUse(format!("--images {problem}")))?;
        let (store, container) = match source {
            DocumentSource::Folder(folder) => (Store::here([(FOLDER, folder.as_path())]), None),
            DocumentSource::Container { name, prefix } if prefix.is_empty() => {
                (in_settings(common, &name)?, Some(name))
            }
            DocumentSource::Container { .. } | DocumentSource::List(_) | DocumentSource::File(_) => {
                return Err(WrongUse("--images takes a folder, or container:NAME".to_owned()).into());
            }
        };
        Self::over(store, container, &app::sound_settings(common, |_, _| {})?)
    }

    /// Files below a folder.
    ///
    /// # Errors
    /// `sandbox_unavailable` where compressed images cannot be decoded.
    pub fn in_folder(folder: &Path, settings: &Settings) -> Result<Self> {
        Self::over(Store::here([(FOLDER, folder)]), None, settings)
    }

    fn over(store: Store, container: Option<String>, settings: &Settings) -> Result<Self> {
        let options = DecodeOptions {
            limits: app::decode_limits(&settings.limits),
            gate: GatePolicy::default(),
            stored_max: (settings.png16_max != u32::from(u16::MAX)).then_some(settings.png16_max),
            codec: Some(Arc::new(app::codec(&settings.limits)?)),
        };
        Ok(Self { store, container, options, most_bytes: settings.limits.image_bytes })
    }

    /// The bytes of a study; `None` where it is not, or not any more.
    ///
    /// # Errors
    /// `blob_too_large`; what storage says.
    pub async fn read(&self, container: &str, name: &str) -> Result<Option<Bytes>, JobError> {
        let blob = match &self.container {
            Some(own) if own != container => return Ok(None),
            Some(own) => BlobRef::new(own, name)?,
            None => BlobRef::new(FOLDER, name)?,
        };
        self.store.read(&blob, self.most_bytes).await
    }
}
