//! `nightread models push`: a model of a folder, published in a registry.

use anyhow::Result;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::adapters::registry::{self, Pushed, Registry};
use crate::app::{self, WrongUse};
use crate::settings::{RegistryPlace, Settings};

/// What is there now.
#[derive(Debug)]
pub(crate) struct Published {
    place: RegistryPlace,
    pushed: Pushed,
}

/// # Errors
/// [`WrongUse`] for a place or a folder that there is not; what keeps the model from being read with, and those of the store.
pub(crate) fn run(name: &str, to: &str, settings: &Settings, runtime: &Runtime) -> Result<Published> {
    let place: RegistryPlace = to.parse().map_err(|wrong| WrongUse(format!("--to: {wrong}")))?;
    if settings.registry.is_some() {
        let text = "the settings name a registry: say by --models in which folder the model is";
        return Err(WrongUse(text.to_owned()).into());
    }
    let container = place.container();
    if settings.source_containers.iter().chain([&settings.results_container]).any(|other| other == container)
    {
        let text = format!(
            "--to: {container} is a container of studies or of results; models need one of their own"
        );
        return Err(WrongUse(text).into());
    }
    let folder = settings.models_dir.join(name);
    if !folder.is_dir() {
        return Err(WrongUse(format!("no model {name:?} in {}", settings.models_dir.display())).into());
    }
    let registry = Registry::new(app::store_of(settings, &place)?, place.clone());
    let pushed = runtime.block_on(registry::push(&registry, &folder, settings.limits.model_bytes))?;
    Ok(Published { place, pushed })
}

impl Published {
    pub(crate) fn as_text(&self) -> String {
        let Self { place, pushed: Pushed { pin, version, files, bytes, written, members } } = self;
        let done = match *written {
            0 => "was there already".to_owned(),
            written if written == *files => "published".to_owned(),
            written => format!("published; {} of its files were there", files - written),
        };
        let beside = match members.as_slice() {
            [] => String::new(),
            members => {
                format!("\n\nIts members are to be published and pinned beside it: {}", members.join(", "))
            }
        };
        format!(
            "{} {version} in {place}: {files} files, {bytes} bytes, {done}\n\n[models]\nregistry = \"{place}\"\npinned = [\"{pin}\"]{beside}",
            pin.name(),
        )
    }

    pub(crate) fn as_json(&self) -> Value {
        let Pushed { pin, version, files, bytes, written, members } = &self.pushed;
        json!({
            "pin": pin.to_string(),
            "name": pin.name(),
            "version": version,
            "registry": self.place.to_string(),
            "files": files,
            "bytes": bytes,
            "written": written,
            "members": members,
        })
    }
}
