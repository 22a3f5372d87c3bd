//! Watches storage through the calls that jobs make of it, asks again what was refused, and says when it is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use nightread_domain::{
    BlobProperties, BlobRef, BlobStore, ETag, ErrorCode, Fetched, JobError, WriteCondition, WriteOutcome,
};
use tokio::sync::{Notify, watch};

use super::breaker::{Breakers, Call};
use super::intake::Observer;

/// What the jobs of one worker know together of storage.
#[derive(Debug)]
pub struct Outages {
    source: Arc<dyn BlobStore>,
    results: Arc<dyn BlobStore>,
    results_container: String,
    breakers: Mutex<Breakers>,
    opened: Notify,
    /// Why no job can end, while none can.
    paused: watch::Sender<Option<String>>,
}

impl Outages {
    /// `sources`: the containers that announcements may name; without any nothing is watched. `threshold`: how many
    /// failures in a row mean an outage.
    pub fn new(
        source: Arc<dyn BlobStore>,
        results: Arc<dyn BlobStore>,
        sources: Vec<String>,
        results_container: String,
        threshold: u32,
    ) -> Self {
        let breakers = Mutex::new(Breakers::new(threshold, sources, results_container.clone()));
        let (opened, paused) = (Notify::new(), watch::Sender::new(None));
        Self { source, results, results_container, breakers, opened, paused }
    }

    /// What a container answers to its jobs, while it does not let them in.
    pub fn closed(&self, container: &str) -> Option<(ErrorCode, String)> {
        self.with(|breakers| breakers.why_open(container).map(|(code, why)| (code, why.to_owned())))
    }

    /// Why no job can end, while none can.
    pub fn paused(&self) -> Option<(ErrorCode, String)> {
        self.with(|breakers| breakers.paused().map(|(code, why)| (code, why.to_owned())))
    }

    /// Follows the reason of [`Self::paused`] as [`Self::watch`] finds it out.
    pub fn pauses(&self) -> watch::Receiver<Option<String>> {
        self.paused.subscribe()
    }

    /// Notes a container that did not answer at the start.
    pub fn closed_at_start(&self, container: &str, error: &JobError) {
        if self.with(|breakers| breakers.open(&Call::Container(container.to_owned()), error)) {
            self.opened.notify_one();
        }
    }

    fn saw<T>(&self, call: &Call, result: &mut Result<T, JobError>) {
        match result {
            Err(error) if error.code.is_outage() && error.is_transient() => {
                if error.code.is_refusal() {
                    error.beside_answers = self.with(|breakers| breakers.is_own_refusal(call.container()));
                }
                if self.with(|breakers| breakers.failed(call, error)) {
                    tracing::error!(%error, container = call.container(), asked = call.as_str(), "a container does not answer; its jobs wait");
                    self.opened.notify_one();
                }
            }
            Ok(_) | Err(_) => self.with(|breakers| breakers.answered(call.container())),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Breakers) -> T) -> T {
        act(&mut self.breakers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never ends. When a container opens, asks the others whether they are away too; then repeats in every open one what
    /// was refused there, until all are closed.
    pub async fn watch(&self, every: Duration, observer: &dyn Observer) {
        self.tell(observer);
        loop {
            self.opened.notified().await;
            loop {
                self.ask_the_others().await;
                self.tell(observer);
                tokio::time::sleep(every).await;
                self.probe().await;
                self.tell(observer);
                if self.with(|breakers| breakers.open_calls().is_empty()) {
                    break;
                }
            }
        }
    }

    async fn ask_the_others(&self) {
        let asked = self.with(|breakers| breakers.closed()).into_iter().map(|name| async move {
            let answer = self.store(&name).probe(&name).await;
            (name, answer)
        });
        for (name, answer) in join_all(asked).await {
            let Err(error) = answer else { continue };
            let call = Call::Container(name);
            if error.code.is_outage() && self.with(|breakers| breakers.open(&call, &error)) {
                tracing::error!(%error, container = call.container(), "a container does not answer either");
            }
        }
    }

    async fn probe(&self) {
        let asked = self.with(|breakers| breakers.open_calls()).into_iter().map(|call| async move {
            let answer = repeat(self.store(call.container()), &call).await;
            (call, answer)
        });
        for (call, answer) in join_all(asked).await {
            match answer {
                Err(error) if error.code.is_outage() => {
                    tracing::warn!(%error, container = call.container(), asked = call.as_str(), "a container still does not answer");
                }
                Ok(()) | Err(_) => {
                    tracing::info!(container = call.container(), "a container answers again");
                    self.with(|breakers| breakers.probe_passed(call.container()));
                }
            }
        }
    }

    fn store(&self, container: &str) -> &dyn BlobStore {
        if container == self.results_container { &*self.results } else { &*self.source }
    }

    fn tell(&self, observer: &dyn Observer) {
        for call in self.with(|breakers| breakers.open_calls()) {
            observer.container(call.container(), false);
        }
        for name in self.with(|breakers| breakers.closed()) {
            observer.container(&name, true);
        }
        let paused = self.paused().map(|(_, why)| why);
        self.paused.send_if_modified(|known| {
            let changed = *known != paused;
            match (&paused, known.is_some()) {
                (Some(why), false) => {
                    tracing::error!(why, "storage is away; intake pauses until a probe passes");
                    observer.outage(true);
                }
                (None, true) => {
                    tracing::info!("storage answers again; intake goes on");
                    observer.outage(false);
                }
                _ => {}
            }
            *known = paused;
            changed
        });
    }
}

/// Asks again what failed, at no cost and without an effect.
async fn repeat(store: &dyn BlobStore, call: &Call) -> Result<(), JobError> {
    match call {
        Call::Container(container) => store.probe(container).await,
        Call::Properties(blob) => store.properties(blob).await.map(drop),
        // One piece comes, and is thrown away.
        Call::Read(blob) => store.read(blob, 1).await.map(drop),
        Call::Write(blob) => {
            // No version has this mark: whoever may write is told that the condition does not hold.
            let nothing = WriteCondition::IfMatch(ETag("\"nightread-probe\"".to_owned()));
            store.write(blob, Bytes::new(), &BTreeMap::new(), nothing).await.map(drop)
        }
    }
}

/// A store whose answers are noted.
#[derive(Debug)]
pub struct WatchedStore {
    inner: Arc<dyn BlobStore>,
    outages: Arc<Outages>,
}

impl WatchedStore {
    pub fn new(inner: Arc<dyn BlobStore>, outages: Arc<Outages>) -> Self {
        Self { inner, outages }
    }

    fn noted<T>(&self, call: &Call, mut result: Result<T, JobError>) -> Result<T, JobError> {
        self.outages.saw(call, &mut result);
        result
    }
}

#[async_trait]
impl BlobStore for WatchedStore {
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        let result = self.inner.properties(blob).await;
        self.noted(&Call::Properties(blob.clone()), result)
    }

    async fn fetch(
        &self,
        blob: &BlobRef,
        properties: &BlobProperties,
        limit: u64,
    ) -> Result<Fetched, JobError> {
        let result = self.inner.fetch(blob, properties, limit).await;
        self.noted(&Call::Read(blob.clone()), result)
    }

    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        let result = self.inner.read(blob, limit).await;
        self.noted(&Call::Read(blob.clone()), result)
    }

    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError> {
        let result = self.inner.write(blob, body, metadata, condition).await;
        self.noted(&Call::Write(blob.clone()), result)
    }

    async fn probe(&self, container: &str) -> Result<(), JobError> {
        self.inner.probe(container).await
    }

    // No job's business, so that nothing is concluded from how these end.
    async fn some_below(&self, container: &str, prefix: &str) -> Result<Vec<BlobRef>, JobError> {
        self.inner.some_below(container, prefix).await
    }

    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError> {
        self.inner.remove(blob).await
    }
}
