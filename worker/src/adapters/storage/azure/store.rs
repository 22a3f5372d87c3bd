//! Blobs of an account: conditional writes, downloads pinned to one version.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::http::{ClientOptions, Etag, Url};
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders, BlockBlobClientUploadOptions, CopyStatus,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use nightread_domain::ports::Listing;
use nightread_domain::{
    BlobKind, BlobProperties, BlobRef, BlobStore, Body, ETag, ErrorCode, JobError, Stage, WriteCondition,
    WriteOutcome,
};

use super::account::{Account, Service};
use super::client::{AzureOptions, client_options};
use super::facts::{is_folder, to_etag};
use super::{download, error};
use crate::adapters::storage::Spool;
use crate::adapters::storage::below::all_below;
use crate::adapters::storage::buffers::Buffers;

/// One storage account. Cheap to clone parts of: containers share one connection pool.
pub struct AzureStore {
    endpoint: Url,
    options: AzureOptions,
    client: ClientOptions,
    containers: Mutex<HashMap<String, Arc<BlobContainerClient>>>,
    spool: Spool,
    buffers: Buffers,
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
        let (spool, buffers) = (Spool::default(), Buffers::default());
        Ok(Self { endpoint, options, client, containers: Mutex::default(), spool, buffers })
    }

    /// With another place for large blobs than the system's folder of temporary files.
    #[must_use]
    pub fn with_spool(mut self, spool: Spool) -> Self {
        self.spool = spool;
        self
    }

    pub(super) fn container(&self, name: &str) -> Result<Arc<BlobContainerClient>, JobError> {
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
    pub(super) fn blob(&self, blob: &BlobRef) -> Result<BlobClient, JobError> {
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

    /// Removes a blob; one that is gone already is fine.
    pub async fn delete(&self, blob: &BlobRef) -> Result<(), JobError> {
        match self.blob(blob)?.delete(None).await {
            Ok(_) => Ok(()),
            Err(error) if error::is_code(&error, "BlobNotFound") => Ok(()),
            Err(error) => Err(error::classified(Stage::Store, &error)),
        }
    }
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

    async fn fetch(&self, blob: &BlobRef, properties: &BlobProperties, limit: u64) -> Result<Body, JobError> {
        if properties.bytes > limit {
            return Err(error::too_large(Stage::Fetch, limit));
        }
        download::pinned(&self.blob(blob)?, properties, &self.options, &self.spool, &self.buffers).await
    }

    async fn head(&self, blob: &BlobRef, properties: &BlobProperties, most: u64) -> Result<Bytes, JobError> {
        download::head(&self.blob(blob)?, properties, most).await
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
        let page = Listing::list_page(self, container, prefix, None, false).await?;
        // A name that Nightread would refuse is none that it wrote.
        Ok(page.items.into_iter().flatten().map(|item| item.blob).collect())
    }

    async fn all_below(
        &self,
        container: &str,
        prefix: &str,
        most: usize,
    ) -> Result<Vec<(BlobRef, BlobProperties)>, JobError> {
        all_below(self, container, prefix, most).await
    }

    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError> {
        self.delete(blob).await
    }
}

/// The tier of blobs that cannot be read.
const ARCHIVE: &str = "Archive";

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
