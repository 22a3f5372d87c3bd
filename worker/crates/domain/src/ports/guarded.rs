//! A store with something before every call: one place forwards the calls, and each guard says what it does around them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::blobs::{BlobStore, WriteCondition, WriteOutcome};
use crate::blob::{BlobProperties, BlobRef, ETag};
use crate::body::Body;
use crate::error::JobError;

/// One call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall<'a> {
    Properties(&'a BlobRef),
    /// A whole blob, a small one, or the beginning of one.
    Read(&'a BlobRef),
    /// So many bytes.
    Write(&'a BlobRef, usize),
    Probe(&'a str),
    SomeBelow(&'a str),
    Remove(&'a BlobRef),
}

/// What stands before every call to a store.
pub trait Guard: Debug + Send + Sync {
    /// Makes the call, once or more often, and hands on how it ended.
    fn around<T: Send, F: Future<Output = Result<T, JobError>> + Send>(
        &self,
        call: StoreCall<'_>,
        make: impl FnMut() -> F + Send,
    ) -> impl Future<Output = Result<T, JobError>> + Send;
}

/// A store behind a guard.
#[derive(Debug)]
pub struct Guarded<G> {
    inner: Arc<dyn BlobStore>,
    guard: G,
}

impl<G: Guard> Guarded<G> {
    pub fn new(inner: Arc<dyn BlobStore>, guard: G) -> Self {
        Self { inner, guard }
    }
}

#[async_trait]
impl<G: Guard> BlobStore for Guarded<G> {
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        self.guard.around(StoreCall::Properties(blob), || self.inner.properties(blob)).await
    }

    async fn fetch(&self, blob: &BlobRef, properties: &BlobProperties, limit: u64) -> Result<Body, JobError> {
        self.guard.around(StoreCall::Read(blob), || self.inner.fetch(blob, properties, limit)).await
    }

    async fn head(&self, blob: &BlobRef, properties: &BlobProperties, most: u64) -> Result<Bytes, JobError> {
        self.guard.around(StoreCall::Read(blob), || self.inner.head(blob, properties, most)).await
    }

    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        self.guard.around(StoreCall::Read(blob), || self.inner.read(blob, limit)).await
    }

    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError> {
        let call = StoreCall::Write(blob, body.len());
        self.guard.around(call, || self.inner.write(blob, body.clone(), metadata, condition.clone())).await
    }

    async fn probe(&self, container: &str) -> Result<(), JobError> {
        self.guard.around(StoreCall::Probe(container), || self.inner.probe(container)).await
    }

    async fn some_below(&self, container: &str, prefix: &str) -> Result<Vec<BlobRef>, JobError> {
        self.guard.around(StoreCall::SomeBelow(container), || self.inner.some_below(container, prefix)).await
    }

    async fn all_below(
        &self,
        container: &str,
        prefix: &str,
        most: usize,
    ) -> Result<Vec<(BlobRef, BlobProperties)>, JobError> {
        let call = StoreCall::SomeBelow(container);
        self.guard.around(call, || self.inner.all_below(container, prefix, most)).await
    }

    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError> {
        self.guard.around(StoreCall::Remove(blob), || self.inner.remove(blob)).await
    }
}
