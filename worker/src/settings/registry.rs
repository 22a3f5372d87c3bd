//! Models that come from a container, each of exactly the version that is named.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nightread_domain::BlobRef;
use nightread_engine::{GraphCache, is_model_name, is_sha256};

use super::raw::{Problems, RawSettings};
use super::{GraphCacheChoice, keys};

/// A model and the digest of its version, as references to container images are written: `NAME@sha256:HEX`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin {
    name: String,
    sha256: String,
}

impl Pin {
    /// `None` unless the name is a model's, and the digest 64 lower-case hexadecimal digits.
    pub fn new(name: impl Into<String>, sha256: impl Into<String>) -> Option<Self> {
        let (name, sha256) = (name.into(), sha256.into());
        (is_model_name(&name) && is_sha256(&sha256)).then_some(Self { name, sha256 })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, sha256) = text.split_once("@sha256:").unwrap_or_default();
        Self::new(name, sha256).ok_or_else(|| {
            format!(
                "{text:?} is not NAME@sha256:DIGEST of 64 lower-case digits, as `nightread models push` prints it"
            )
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha256:{}", self.name, self.sha256)
    }
}

/// A container, and what all names in it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPlace {
    container: String,
    /// Empty, or ending in a slash.
    prefix: String,
}

impl RegistryPlace {
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Empty, or ending in a slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for RegistryPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (container, prefix) = text.split_once('/').unwrap_or((text, ""));
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        match BlobRef::new(container, format!("{prefix}x")) {
            Ok(_) => Ok(Self { container: container.to_owned(), prefix }),
            Err(error) => Err(format!(
                "{text:?} is not CONTAINER or CONTAINER/PREFIX of the account: {}",
                error.message
            )),
        }
    }
}

impl fmt::Display for RegistryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.trim_end_matches('/') {
            "" => f.write_str(&self.container),
            prefix => write!(f, "{}/{prefix}", self.container),
        }
    }
}

/// Where models come from instead of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    pub place: RegistryPlace,
    /// At most one of each model.
    pub pins: Vec<Pin>,
    /// The folder that they are fetched into.
    pub cache: PathBuf,
}

/// `None` where models come from a folder.
pub(super) fn registry(
    raw: &RawSettings,
    containers: (&[String], &str),
    problems: &mut Problems,
) -> Option<RegistrySettings> {
    let pins = pins(raw, problems);
    let Some(text) = raw.text(keys::MODELS_REGISTRY) else {
        if !pins.is_empty() && !raw.has_flag(keys::MODELS_DIR) {
            problems.add("[models] pinned: there is no [models] registry that they come from");
        }
        return None;
    };
    if raw.text(keys::MODELS_DIR).is_some() {
        problems.add("[models] dir and registry: models come from one of them, leave the other out");
    }
    let place: RegistryPlace = match text.parse() {
        Ok(place) => place,
        Err(wrong) => {
            problems.add(format!("[models] registry: {wrong}"));
            return None;
        }
    };
    let (sources, results) = containers;
    if sources.contains(&place.container) || place.container == results {
        problems.add(format!(
            "[models] registry: {} is a container of studies or of results; models need one of their own",
            place.container
        ));
    }
    if raw.text(keys::STORAGE_FOLDER).is_none() && raw.text(keys::STORAGE_KIND) == Some("folder") {
        problems.add(
            "[models] registry is a container of [storage]: that needs kind folder with its folder, or kind azure",
        );
    }
    let cache = raw.text(keys::MODELS_REGISTRY_CACHE).map(PathBuf::from).or_else(default_cache);
    if cache.is_none() {
        problems
            .add("[models] registry_cache is missing: neither CACHE_DIRECTORY nor HOME tells of a folder");
    }
    Some(RegistrySettings { place, pins, cache: cache? })
}

impl RegistrySettings {
    /// Refuses a folder that optimised graphs are kept in too. Entries of both caches are folders named by a digest, so each would take
    /// the other's for its own and remove them to make room. Beside each other in one folder, as by default, they do no harm.
    pub(super) fn check_graphs(&self, graphs: &GraphCacheChoice, problems: &mut Problems) {
        let graphs = match graphs {
            GraphCacheChoice::Off => None,
            GraphCacheChoice::OfUser => GraphCache::of_user(),
            GraphCacheChoice::Folder(folder) => Some(folder.clone()),
        };
        let Some(graphs) = graphs else { return };
        let [models, graphs] = [&self.cache, &graphs].map(|folder| settled(folder));
        if models == graphs || is_in_entry(&models, &graphs) || is_in_entry(&graphs, &models) {
            problems.add(format!(
                "[models] cache_dir and registry_cache: optimised graphs ({}) and fetched models ({}) must not share a folder, for each \
                 makes room by removing what it takes for its own; name two folders",
                graphs.display(),
                models.display()
            ));
        }
    }
}

/// Whether a folder lies in an entry of a cache.
fn is_in_entry(folder: &Path, cache: &Path) -> bool {
    let below = folder.strip_prefix(cache).ok();
    let first = below.and_then(|below| below.components().next());
    first.and_then(|first| first.as_os_str().to_str()).is_some_and(is_sha256)
}

/// A path without links and detours, as far as it is there.
fn settled(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    found.map_or_else(
        || path.clone(),
        |(there, real)| real.join(path.strip_prefix(there).unwrap_or(Path::new(""))).components().collect(),
    )
}

fn pins(raw: &RawSettings, problems: &mut Problems) -> Vec<Pin> {
    let mut pins: Vec<Pin> = Vec::new();
    for text in raw.list(keys::MODELS_PINNED).iter().filter(|text| !text.is_empty()) {
        match text.parse::<Pin>() {
            Ok(pin) if pins.iter().any(|other| other.name == pin.name) => {
                problems.add(format!("[models] pinned: {} is there twice", pin.name));
            }
            Ok(pin) => pins.push(pin),
            Err(wrong) => problems.add(format!("[models] pinned: {wrong}")),
        }
    }
    pins
}

/// A unit's own folder (systemd's `CacheDirectory=`), else the user's.
fn default_cache() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let unit = env::var("CACHE_DIRECTORY").ok();
    let unit = unit.as_deref().and_then(|list| list.split(':').next()).map(PathBuf::from);
    if let Some(unit) = unit.filter(|path| path.is_absolute()) {
        return Some(unit.join("models"));
    }
    let user = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(user?.join("nightread/models"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_pin_is_a_name_and_a_whole_digest() {
        let text = format!("cxr-demo@sha256:{DIGEST}");
        let pin: Pin = text.parse().unwrap();
        assert_eq!((pin.name(), pin.sha256(), pin.to_string()), ("cxr-demo", DIGEST, text.clone()));
        for wrong in [
            "",
            "cxr-demo",
            DIGEST,
            &format!("cxr-demo@{DIGEST}"),
            &format!("@sha256:{DIGEST}"),
            &format!("../cxr@sha256:{DIGEST}"),
            &format!("Cxr@sha256:{DIGEST}"),
            &format!("cxr@sha256:{}", &DIGEST[1..]),
            &format!("cxr@sha256:{}", DIGEST.to_uppercase()),
            &format!("cxr@sha256:{DIGEST} "),
        ] {
            assert!(wrong.parse::<Pin>().unwrap_err().contains("models push"), "{wrong}");
        }
    }

    #[test]
    fn a_registry_is_a_container_with_or_without_a_prefix() {
        for (text, container, prefix, shown) in [
            ("models", "models", "", "models"),
            ("models/", "models", "", "models"),
            ("models/prod", "models", "prod/", "models/prod"),
            ("models/a/b/", "models", "a/b/", "models/a/b"),
        ] {
            let place: RegistryPlace = text.parse().unwrap();
            assert_eq!((place.container(), place.prefix()), (container, prefix));
            assert_eq!(place.to_string(), shown);
        }
        for wrong in [
            "",
            "/models",
            "Models",
            "https://a.blob.core.windows.net/models",
            "models/../results",
            "models//x",
        ] {
            assert!(wrong.parse::<RegistryPlace>().is_err(), "{wrong}");
        }
    }
}
