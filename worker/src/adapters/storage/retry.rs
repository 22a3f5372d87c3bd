//! Transient storage failures are tried again in the process, with jitter, inside a budget of time.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use nightread_domain::{
    BlobProperties, BlobRef, BlobStore, ETag, Fetched, JobError, WriteCondition, WriteOutcome,
};

/// How long one call may go on trying.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// From the first call on; what is left over goes through a delay queue, not through a sleeping delivery.
    pub total: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(4),
            total: Duration::from_secs(10),
        }
    }
}

/// A store whose transient failures are retried.
#[derive(Debug)]
pub struct RetryingStore<S> {
    inner: S,
    budget: RetryBudget,
}

impl<S: BlobStore> RetryingStore<S> {
    pub fn new(inner: S, budget: RetryBudget) -> Self {
        Self { inner, budget }
    }

    async fn retried<T, F: Future<Output = Result<T, JobError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T, JobError> {
        let waits = ExponentialBuilder::new()
            .with_min_delay(self.budget.first_wait)
            .with_max_delay(self.budget.longest_wait)
            .with_total_delay(Some(self.budget.total))
            .without_max_times()
            .with_jitter();
        let started = Instant::now();
        call.retry(waits)
            // A storage that hangs may not hold a permit for many time-outs on end: what the calls themselves took counts
            // too. One that asks for more time than there is gets it from a delay queue.
            .when(|error: &JobError| {
                error.may_pass_soon()
                    && started.elapsed() + error.retry_after.unwrap_or_default() < self.budget.total
            })
            .adjust(|error, wait| wait.map(|wait| error.retry_after.unwrap_or(wait)))
            .await
    }
}

#[async_trait]
impl<S: BlobStore> BlobStore for RetryingStore<S> {
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        self.retried(|| self.inner.properties(blob)).await
    }

    async fn fetch(
        &self,
        blob: &BlobRef,
        properties: &BlobProperties,
        limit: u64,
    ) -> Result<Fetched, JobError> {
        self.retried(|| self.inner.fetch(blob, properties, limit)).await
    }

    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        self.retried(|| self.inner.read(blob, limit)).await
    }

    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError> {
        self.retried(|| self.inner.write(blob, body.clone(), metadata, condition.clone())).await
    }

    /// Not retried: whoever probes wants to know how it is now.
    async fn probe(&self, container: &str) -> Result<(), JobError> {
        self.inner.probe(container).await
    }

    async fn some_below(&self, container: &str, prefix: &str) -> Result<Vec<BlobRef>, JobError> {
        self.retried(|| self.inner.some_below(container, prefix)).await
    }

    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError> {
        self.retried(|| self.inner.remove(blob)).await
    }
}
