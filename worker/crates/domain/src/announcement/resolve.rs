//! From what a message says to a blob the worker may read. Error messages quote nothing of the message.

use super::url::{PlainUrl, decode_once, refused};
use super::{Announcement, Location};
use crate::blob::BlobRef;
use crate::error::{ErrorCode, JobError, Stage};
use crate::study::SeriesSource;

/// Where `nightread assemble` keeps set documents in the results container: the only blobs there that a job may name.
pub const SETS: &str = "_series/";

/// What the worker's settings allow it to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedSources {
    endpoints: Vec<Endpoint>,
    containers: Vec<String>,
    results: String,
}

/// A storage account's address: `https://ACCOUNT.blob.core.windows.net`, or with the account in the path, as
/// Azurite has it: `http://127.0.0.1:10000/devstoreaccount1`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    https: bool,
    host: String,
    port: u16,
    /// Empty, or with its leading slash and no trailing one.
    path: String,
}

/// What a location turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    Blob(BlobRef),
    /// A series whose blobs are still to be found out.
    Series(SeriesSource),
    /// A blob of the results container: acknowledged and counted, or the fleet would feed itself.
    OwnResult,
}

impl AllowedSources {
    /// `endpoints`: addresses under which the configured account may be announced, each with its twin of Data Lake
    /// (`ACCOUNT.dfs.` beside `ACCOUNT.blob.`); none for a folder, which has no URLs. `containers`: the inputs. `results`
    /// must not be among them.
    pub fn new<'a>(
        endpoints: impl IntoIterator<Item = &'a str>,
        containers: impl IntoIterator<Item = impl Into<String>>,
        results: impl Into<String>,
    ) -> Result<Self, JobError> {
        let mut known = Vec::new();
        for endpoint in endpoints {
            let endpoint = Endpoint::parse(endpoint)?;
            known.extend(endpoint.twins());
            known.push(endpoint);
        }
        let containers: Vec<String> = containers.into_iter().map(Into::into).collect();
        let results = results.into();
        if containers.contains(&results) {
            return Err(invalid("the results container is among the inputs: the fleet would feed itself"));
        }
        for container in containers.iter().chain([&results]) {
            BlobRef::new(container.as_str(), "x").map_err(|error| invalid(&error.message))?;
        }
        Ok(Self { endpoints: known, containers, results })
    }

    fn admit(&self, blob: BlobRef) -> Result<Resolved, JobError> {
        if blob.container() == self.results {
            Ok(Resolved::OwnResult)
        } else if self.may_read(blob.container()) {
            Ok(Resolved::Blob(blob))
        } else {
            Err(refused("this container is not among the inputs"))
        }
    }
}

impl AllowedSources {
    /// A set document lies in an input container, or where Nightread itself keeps them. What it names is judged again.
    fn admit_set(&self, document: BlobRef) -> Result<Resolved, JobError> {
        if document.name().strip_suffix(".json").is_none() {
            return Err(refused("a set document's name ends in .json"));
        }
        let is_own = document.container() == self.results && document.name().starts_with(SETS);
        if is_own || self.may_read(document.container()) {
            Ok(Resolved::Series(SeriesSource::Set(document)))
        } else {
            Err(refused("set documents lie in the inputs, or where Nightread keeps them"))
        }
    }

    fn admit_folder(&self, path: &str, instances: Option<u32>) -> Result<Resolved, JobError> {
        let folder = path
            .strip_suffix('/')
            .ok_or_else(|| refused("a series is named by a prefix that ends in a slash"))?;
        let folder = BlobRef::parse(folder)?;
        if self.may_read(folder.container()) {
            Ok(Resolved::Series(SeriesSource::Folder { folder, instances }))
        } else {
            Err(refused("this container is not among the inputs"))
        }
    }

    fn may_read(&self, container: &str) -> bool {
        self.containers.iter().any(|known| known == container)
    }
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, JobError> {
        let url = PlainUrl::parse(text)
            .map_err(|error| invalid(&format!("storage endpoint: {}", error.message)))?;
        let path = url.path.trim_end_matches('/').to_owned();
        Ok(Self { https: url.https, host: url.host, port: url.port, path })
    }

    /// The other names of the same account: an account with a hierarchical namespace announces files under `dfs` that are
    /// read under `blob`, and is announced under its public name where it is read by its private one.
    fn twins(&self) -> Vec<Self> {
        let labels: Vec<_> = self.host.split('.').collect();
        let Some(at) = labels.iter().skip(1).position(|label| matches!(*label, "blob" | "dfs")) else {
            return Vec::new();
        };
        let service = at + 1;
        let mut twins = Vec::new();
        for name in ["blob", "dfs"] {
            let mut labels = labels.clone();
            labels[service] = name;
            twins.push(labels.join("."));
            if service > 1 && labels[service - 1] == "privatelink" {
                labels.remove(service - 1);
                twins.push(labels.join("."));
            }
        }
        twins.retain(|host| *host != self.host);
        twins.into_iter().map(|host| Self { host, path: self.path.clone(), ..*self }).collect()
    }

    /// The `container/blob` part of a URL under this endpoint, still encoded.
    fn strip<'u>(&self, url: &PlainUrl<'u>) -> Option<&'u str> {
        let same = self.https == url.https && self.host == url.host && self.port == url.port;
        if same { url.path.strip_prefix(&self.path)?.strip_prefix('/') } else { None }
    }
}

impl Announcement {
    /// The study this announcement means, when the worker may read it; `source_not_allowed` otherwise. A URL is
    /// compared with the configured endpoints and taken apart; its host is never contacted.
    pub fn resolve(&self, allowed: &AllowedSources) -> Result<Resolved, JobError> {
        let blob = match &self.location {
            Location::Path(path) => BlobRef::parse(path)?,
            Location::Url(url) => {
                let url = PlainUrl::parse(url)?;
                let path = allowed
                    .endpoints
                    .iter()
                    .find_map(|endpoint| endpoint.strip(&url))
                    .ok_or_else(|| refused("this is not the storage account the worker reads"))?;
                let (container, name) =
                    path.split_once('/').ok_or_else(|| refused("a blob's URL names container and blob"))?;
                // The container is not decoded: a real one has nothing to encode.
                BlobRef::new(container, decode_once(name)?)?
            }
            Location::Set(path) => return allowed.admit_set(BlobRef::parse(path)?),
            Location::Folder { path, instances } => return allowed.admit_folder(path, *instances),
        };
        allowed.admit(blob)
    }
}

fn invalid(message: &str) -> JobError {
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, message)
}
