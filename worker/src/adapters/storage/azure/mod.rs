//! Azure Blob Storage, and Azurite. Conditional writes, downloads pinned to one version, errors classified here.

mod account;
mod download;
mod error;
pub(in crate::adapters) mod identity;
mod list;
mod refusal;
mod sign;
mod xml;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{ClientOptions, Etag, RetryOptions, Transport, Url};
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders, BlockBlobClientUploadOptions, CopyStatus,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use nightread_domain::{
    BlobKind, BlobProperties, BlobRef, BlobStore, ETag, ErrorCode, Fetched, JobError, Stage, WriteCondition,
    WriteOutcome,
};

pub use self::account::{Account, Service};
pub(crate) use self::error::{classified, is_code};
pub use self::list::{Listed, ListedPage};
use self::sign::Signer;
use crate::adapters::storage::Spool;
use crate::adapters::tls;

/// What differs between a data centre and a test bench.
#[derive(Clone, Copy, Debug)]
pub struct AzureOptions {
    /// Until a TCP and TLS connection stands.
    pub connect_timeout: Duration,
    /// Between two pieces of an answer, and before its first.
    pub read_timeout: Duration,
    /// Ranges of one download in flight.
    pub parallel_ranges: usize,
    /// Bytes of one range. Azure serves about 60 MB/s to one connection, so a few ranges fill a small machine.
    pub range_bytes: usize,
}

impl Default for AzureOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(15),
            parallel_ranges: 4,
            range_bytes: 4 * 1024 * 1024,
        }
    }
}

/// One storage account. Cheap to clone parts of: containers share one connection pool.
pub struct AzureStore {
    endpoint: Url,
    options: AzureOptions,
    client: ClientOptions,
    containers: Mutex<HashMap<String, Arc<BlobContainerClient>>>,
    spool: Spool,
}

impl fmt::Debug for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureStore").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

impl AzureStore {
    /// Contacts nobody yet; `settings_invalid` when no HTTP client can be made.
    pub fn new(account: Account, options: AzureOptions) -> Result<Self, JobError> {
        let endpoint = account.endpoint.clone();
        let client = client_options(account, options, Service::Blob)?;
        Ok(Self { endpoint, options, client, containers: Mutex::default(), spool: Spool::default() })
    }

    /// With another place for large blobs than the system's folder of temporary files.
    #[must_use]
    pub fn with_spool(mut self, spool: Spool) -> Self {
        self.spool = spool;
        self
    }

    fn container(&self, name: &str) -> Result<Arc<BlobContainerClient>, JobError> {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = containers.get(name) {
            return Ok(Arc::clone(client));
        }
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| error::invalid("the storage endpoint is no base URL"))?
            .pop_if_empty()
            .push(name);
        let options =
            BlobContainerClientOptions { client_options: self.client.clone(), ..Default::default() };
        let client = BlobContainerClient::new(url, None, Some(options))
            .map_err(|error| error::classified(Stage::Start, &error))?;
        let client = Arc::new(client);
        containers.insert(name.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// The SDK writes the whole name as one path segment, every separator encoded, so no name can be misread.
    fn blob(&self, blob: &BlobRef) -> Result<BlobClient, JobError> {
        Ok(self.container(blob.container())?.blob_client(blob.name()))
    }

    /// Makes a container unless it is there. For tests, demos and first set-ups; the worker never calls it.
    pub async fn create_container(&self, name: &str) -> Result<(), JobError> {
        match self.container(name)?.create(None).await {
            Ok(_) => Ok(()),
            Err(error) if error::is_code(&error, "ContainerAlreadyExists") => Ok(()),
            Err(error) => Err(error::classified(Stage::Start, &error)),
        }
    }

    /// Writes whatever is there now over. For uploads of inputs; results are written conditionally.
    pub async fn put(&self, blob: &BlobRef, body: Bytes) -> Result<ETag, JobError> {
        let uploaded = self.blob(blob)?.upload(body.into(), None).await;
        let uploaded = uploaded.map_err(|error| error::classified(Stage::Store, &error))?;
        uploaded.etag.map(to_etag).ok_or_else(|| error::odd(Stage::Store, "an upload without ETag"))
    }

    /// The metadata of a blob, or `None` when there is none.
    pub async fn metadata(&self, blob: &BlobRef) -> Result<Option<BTreeMap<String, String>>, JobError> {
        match self.blob(blob)?.get_properties(None).await {
            Ok(found) => match found.metadata() {
                Ok(metadata) => Ok(Some(metadata.into_iter().collect())),
                Err(_) => Err(error::odd(Stage::Fetch, "a blob without metadata")),
            },
            Err(error) if error::is_missing_blob(&error) => Ok(None),
            Err(error) => Err(error::classified(Stage::Fetch, &error)),
        }
    }

    /// Removes a blob; one that is gone already is fine.
    pub async fn delete(&self, blob: &BlobRef) -> Result<(), JobError> {
        match self.blob(blob)?.delete(None).await {
            Ok(_) => Ok(()),
            Err(error) if error::is_code(&error, "BlobNotFound") => Ok(()),
            Err(error) => Err(error::classified(Stage::Store, &error)),
        }
    }
}

/// How every client of an account speaks: one HTTP client, no redirects, no retries of the SDK's, requests signed here.
pub(crate) fn client_options(
    account: Account,
    options: AzureOptions,
    service: Service,
) -> Result<ClientOptions, JobError> {
    tls::install_provider();
    let http = reqwest::Client::builder()
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        // A redirect could lead to a host that nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| {
            JobError::new(Stage::Start, ErrorCode::SettingsInvalid, "no HTTP client can be made")
                .with_source(error)
        })?;
    let transport = Transport::new(Arc::new(http));
    let signer = Signer::new(account.access, service, &transport)?;
    Ok(ClientOptions {
        per_try_policies: vec![Arc::new(signer)],
        // Retrying belongs to one place; the SDK's would hide how long a call really takes.
        retry: RetryOptions::none(),
        transport: Some(transport),
        ..ClientOptions::default()
    })
}

fn to_etag(etag: Etag) -> ETag {
    ETag(ETag(etag.into()).strong())
}

#[async_trait]
impl BlobStore for AzureStore {
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        let client = self.blob(blob)?;
        let found = match client.get_properties(None).await {
            Ok(found) => found,
            Err(error) => return Err(in_full(&client, error::classified(Stage::Fetch, &error)).await),
        };
        let facts = (found.etag(), found.last_modified(), found.content_length());
        let (Ok(Some(etag)), Ok(Some(last_modified)), Ok(Some(bytes))) = facts else {
            return Err(error::odd(Stage::Fetch, "a blob without ETag, time or length"));
        };
        // What is there before the copy ends is not what it will be.
        if matches!(found.copy_status(), Ok(Some(CopyStatus::Pending))) {
            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobBusy, error::STILL_COPIED));
        }
        let is_marked = found.metadata().is_ok_and(|metadata| is_folder(&metadata));
        let is_archived = matches!(found.access_tier(), Ok(Some(tier)) if tier == ARCHIVE);
        let kind = BlobKind::of(blob.name(), bytes, is_marked, is_archived);
        Ok(BlobProperties { etag: to_etag(etag), last_modified, bytes, kind })
    }

    async fn fetch(
        &self,
        blob: &BlobRef,
        properties: &BlobProperties,
        limit: u64,
    ) -> Result<Fetched, JobError> {
        if properties.bytes > limit {
            return Err(error::too_large(Stage::Fetch, limit));
        }
        download::pinned(&self.blob(blob)?, properties, &self.options, &self.spool).await
    }

    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        let options = BlobClientDownloadOptions {
            parallel: std::num::NonZero::new(1),
            partition_size: std::num::NonZero::new(self.options.range_bytes),
            range_get_content_md5: download::wants_digest(&self.endpoint, self.options.range_bytes),
            ..Default::default()
        };
        let mut found = match self.blob(blob)?.download(Some(options)).await {
            Ok(found) => found,
            Err(error) if error::is_missing_blob(&error) => return Ok(None),
            Err(error) => return Err(error::classified(Stage::Store, &error)),
        };
        let Some(etag) = found.properties.etag.take() else {
            return Err(error::odd(Stage::Store, "a blob without ETag"));
        };
        let digest = found.headers.get_optional_string(&download::CONTENT_MD5);
        let mut body = BytesMut::new();
        while let Some(piece) = found.body.next().await {
            let piece = piece.map_err(|error| error::classified(Stage::Store, &error))?;
            if (body.len() + piece.len()) as u64 > limit {
                return Err(error::too_large(Stage::Store, limit));
            }
            body.extend_from_slice(&piece);
        }
        // The digest is of the first range.
        if body.len() <= self.options.range_bytes {
            download::check_digest(Stage::Store, &self.endpoint, digest.as_deref(), &body)?;
        }
        Ok(Some((body.freeze(), to_etag(etag))))
    }

    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError> {
        let mut options = BlockBlobClientUploadOptions {
            blob_content_type: Some(content_type(blob.name()).to_owned()),
            metadata: Some(metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect()),
            parallel: std::num::NonZero::new(1),
            ..Default::default()
        };
        match condition {
            WriteCondition::IfAbsent => options.if_none_match = Some(Etag::from("*")),
            WriteCondition::IfMatch(etag) => options.if_match = Some(Etag::from(etag.strong())),
        }
        match self.blob(blob)?.upload(body.into(), Some(options)).await {
            Ok(written) => match written.etag {
                Some(etag) => Ok(WriteOutcome::Written(to_etag(etag))),
                None => Err(error::odd(Stage::Store, "an upload without ETag")),
            },
            Err(error) if error::is_lost_condition(&error) => Ok(WriteOutcome::ConditionFailed),
            Err(error) => Err(error::classified(Stage::Store, &error)),
        }
    }

    async fn probe(&self, container: &str) -> Result<(), JobError> {
        let found = self.container(container)?.get_properties(None).await;
        found.map(drop).map_err(|error| error::classified(Stage::Start, &error))
    }

    async fn some_below(&self, container: &str, prefix: &str) -> Result<Vec<BlobRef>, JobError> {
        let page = self.list_page(container, prefix, None, false).await?;
        // A name that Nightread would refuse is none that it wrote.
        Ok(page.items.into_iter().flatten().map(|item| item.blob).collect())
    }

    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError> {
        self.delete(blob).await
    }
}

/// The tier of blobs that cannot be read.
const ARCHIVE: &str = "Archive";

/// How Data Lake and its drivers mark a blob that stands for a folder.
pub(super) fn is_folder(metadata: &HashMap<String, String>) -> bool {
    metadata.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("hdi_isfolder") && value.trim().eq_ignore_ascii_case("true")
    })
}

/// An answer to HEAD has no body: why storage does not know us is said to a GET only.
async fn in_full(client: &BlobClient, refused: JobError) -> JobError {
    if refused.code != ErrorCode::StorageUnauthenticated {
        return refused;
    }
    let options = BlobClientDownloadOptions { range: Some((0..1_u64).into()), ..Default::default() };
    match client.download(Some(options)).await {
        Err(error) => {
            let told = error::classified(Stage::Fetch, &error);
            if told.code == refused.code { told } else { refused }
        }
        Ok(_) => refused,
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        Some((_, "tsv")) => "text/tab-separated-values",
        Some((_, "png")) => "image/png",
        _ => "application/octet-stream",
    }
}
