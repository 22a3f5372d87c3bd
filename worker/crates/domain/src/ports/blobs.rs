//! Blob storage.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::blob::{BlobProperties, BlobRef, ETag};
use crate::body::Body;
use crate::error::JobError;

/// When a write may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCondition {
    /// `If-None-Match: *`.
    IfAbsent,
    /// `If-Match: <etag>`.
    IfMatch(ETag),
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Written(ETag),
    /// Somebody else was faster; nothing was changed.
    ConditionFailed,
}

/// Blob storage: a folder or an Azure account. Every method classifies its errors at this boundary.
#[async_trait]
pub trait BlobStore: Debug + Send + Sync {
    /// Size and version of a blob; `blob_not_found` when it is gone.
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError>;

    /// The whole blob of exactly the version in `properties`: `blob_changed` when it was replaced meanwhile,
    /// `blob_too_large` when more than `limit` bytes would come.
    async fn fetch(&self, blob: &BlobRef, properties: &BlobProperties, limit: u64) -> Result<Body, JobError>;

    /// The first bytes of exactly the version in `properties`, `most` at most: `blob_changed` when it was replaced meanwhile.
    async fn head(&self, blob: &BlobRef, properties: &BlobProperties, most: u64) -> Result<Bytes, JobError>;

    /// A small blob and its version, or `None` when there is none. For result documents.
    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError>;

    /// A conditional write that is durable when it returns. `metadata` is for cheap listing; a store without
    /// metadata may leave it out, because the body says the same.
    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError>;

    /// Whether storage answers at all (start-up probe, breaker probe).
    async fn probe(&self, container: &str) -> Result<(), JobError>;

    /// Some thousands at most of the blobs whose names begin with `prefix`, which ends in a slash; in no order.
    async fn some_below(&self, container: &str, prefix: &str) -> Result<Vec<BlobRef>, JobError>;

    /// All blobs whose names begin with `prefix`, which ends in a slash, in no order. Where there are more than `most`, it
    /// stops soon after and gives more than `most`. A name that Nightread would refuse is an error: nothing is left out.
    async fn all_below(
        &self,
        container: &str,
        prefix: &str,
        most: usize,
    ) -> Result<Vec<(BlobRef, BlobProperties)>, JobError>;

    /// Removes a blob; one that is gone already is fine.
    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError>;
}
