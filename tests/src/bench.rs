//! Everything one worker needs, private to one test: a virtual host, two containers, a proxy before storage.

use std::time::Duration;

use bytes::Bytes;
use nightread::adapters::amqp::{DeadLetter, DeadLetters, Publisher, RabbitOptions, topology};
use nightread::adapters::storage::azure::AzureStore;
use nightread_domain::message::Attributes;
use nightread_domain::{BlobRef, BlobStore, Lane, Message};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::azurite::{self, Azurite};
use crate::images::result_name;
use crate::parts::{fresh_name, skipped};
use crate::proxy::FaultProxy;
use crate::rabbit::{Observer, Rabbit};
use crate::wait;
use crate::worker::{Worker, WorkerSettings};

/// Largest document that is one of ours.
const MAX_DOCUMENT: u64 = 1 << 24;

/// Longer than a delivery takes from the broker into a worker's hand.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// The parts of one test.
#[derive(Debug)]
pub struct Bench {
    pub options: RabbitOptions,
    pub publisher: Publisher,
    /// Straight to Azurite, past the proxy.
    pub direct: AzureStore,
    pub proxy: FaultProxy,
    pub incoming: String,
    pub results: String,
    /// Logs of workers; gone with the test unless it fails.
    pub folder: TempDir,
}

impl Bench {
    /// On the shared broker and storage; `None` (said by name) when a part is missing.
    pub async fn shared(test: &str) -> Option<Self> {
        let (rabbit, azurite) = (Rabbit::shared(test).await?, Azurite::shared(test).await?);
        if !Worker::is_built(test) {
            return None;
        }
        Some(Self::over(test, rabbit, azurite).await)
    }

    /// On a broker and a storage of its own, which the caller may stop; `None` (said by name) when a part is missing.
    pub async fn alone(test: &str) -> Option<(Rabbit, Azurite, Self)> {
        let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
            skipped(test, "RabbitMQ or Azurite");
            return None;
        };
        if !Worker::is_built(test) {
            return None;
        }
        let bench = Self::over(test, &rabbit, &azurite).await;
        Some((rabbit, azurite, bench))
    }

    /// On these.
    pub async fn over(test: &str, rabbit: &Rabbit, azurite: &Azurite) -> Self {
        Self::with(test, rabbit.declared().await, azurite).await
    }

    /// On a broker where everything is declared, and this storage.
    pub async fn with(test: &str, options: RabbitOptions, azurite: &Azurite) -> Self {
        let address = azurite.address().expect("a storage at a plain http address: a proxy goes before it");
        let seed = test.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let proxy = FaultProxy::start(address, seed).await;
        let direct = azurite.store();
        let (incoming, results) = (fresh_name("in"), fresh_name("out"));
        for container in [&incoming, &results] {
            direct.create_container(container).await.expect("a container");
        }
        let folder = tempfile::Builder::new().prefix("nightread-test-").tempdir().expect("a folder");
        let publisher = Publisher::new(options.clone());
        Self { options, publisher, direct, proxy, incoming, results, folder }
    }

    /// Settings of a worker that reaches storage through the proxy.
    pub fn settings(&self) -> WorkerSettings {
        let storage = azurite::connection_string(self.proxy.port());
        WorkerSettings::new(&self.options.url)
            .with("NIGHTREAD_BROKER_HOSTS", &self.options.more_hosts.join(","))
            .azure(&storage, &self.incoming, &self.results)
    }

    pub fn start(&self) -> Worker {
        self.start_with(&self.settings())
    }

    pub fn start_with(&self, settings: &WorkerSettings) -> Worker {
        Worker::start(settings, self.folder.path())
    }

    pub fn blob(&self, name: &str) -> BlobRef {
        BlobRef::new(self.incoming.as_str(), name).expect("a sound name")
    }

    pub async fn upload(&self, name: &str, body: Bytes) {
        self.direct.put(&self.blob(name), body).await.expect("uploaded");
    }

    /// Announces a blob in the native form.
    pub async fn announce(&self, lane: Lane, name: &str) {
        let body = json!({"blob": format!("{}/{name}", self.incoming)});
        self.publish(lane, name, body.to_string()).await;
    }

    /// The body that Event Grid would send for a blob.
    pub fn event_grid(&self, name: &str) -> String {
        let port = self.proxy.port();
        let url = format!("http://127.0.0.1:{port}/devstoreaccount1/{}/{name}", self.incoming);
        json!([{
            "id": format!("event-{name}"), "eventType": "Microsoft.Storage.BlobCreated", "topic": "/t",
            "subject": format!("/blobServices/default/containers/{}/blobs/{name}", self.incoming),
            "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "", "metadataVersion": "1",
            "data": {"api": "PutBlob", "contentType": "image/png", "blobType": "BlockBlob", "url": url},
        }])
        .to_string()
    }

    /// Publishes any body under a message id, however long the broker is away.
    pub async fn publish(&self, lane: Lane, id: &str, body: impl Into<Bytes>) {
        self.publish_within(wait::patience(), lane, id, body).await;
    }

    /// The same with its own patience.
    pub async fn publish_within(&self, patience: Duration, lane: Lane, id: &str, body: impl Into<Bytes>) {
        let mut attributes = Attributes::for_lane(lane);
        attributes.message_id = Some(id.to_owned());
        let message = Message { body: body.into(), attributes };
        let confirmed = || async { self.publisher.announce(&message).await.ok() };
        wait::until_within(patience, "the broker to confirm", confirmed).await;
    }

    /// The one-node model's result of a blob, if it is there.
    pub async fn result(&self, name: &str) -> Option<Value> {
        self.document(&result_name(&self.incoming, name)).await
    }

    /// Any model's result of a blob, if it is there.
    pub async fn result_of(&self, model: &str, version: &str, name: &str) -> Option<Value> {
        self.document(&format!("{model}/{version}/{}/{name}.json", self.incoming)).await
    }

    async fn document(&self, name: &str) -> Option<Value> {
        let blob = BlobRef::new(self.results.as_str(), name).expect("a sound name");
        let found = self.direct.read(&blob, MAX_DOCUMENT).await.expect("storage answers");
        found.map(|(body, _)| serde_json::from_slice(&body).expect("a result is JSON"))
    }

    pub async fn wait_for_result(&self, name: &str) -> Value {
        wait::until(&format!("the result of {name}"), || self.result(name)).await
    }

    pub async fn observer(&self) -> Observer {
        Observer::connect(&self.options.url).await
    }

    /// Messages ready in lanes and delays.
    pub async fn waiting(&self, observer: &Observer) -> u32 {
        let mut waiting = 0;
        let no_work = [topology::DEAD_QUEUE, topology::DELIVERIES_DEAD, topology::REPORTS];
        for queue in topology::queues().iter().filter(|queue| !no_work.contains(&queue.as_str())) {
            waiting += observer.depth(queue).await;
        }
        waiting
    }

    /// Waits until nothing is ready in lanes and delays, and the workers have nothing in flight.
    pub async fn settled(&self, workers: &[&Worker], patience: Duration) {
        let observer = self.observer().await;
        // A message moves between two questions: out of a lane after the workers were asked, into a delay before. So the
        // queues are asked on both sides, and twice, because one on its way to a worker is in neither.
        let empty = async || {
            let before = self.waiting(&observer).await;
            let mut in_flight = 0.0;
            for worker in workers {
                in_flight += worker.metric("nightread_jobs_in_flight", "").await;
            }
            before == 0 && in_flight == 0.0 && self.waiting(&observer).await == 0
        };
        wait::until_within(patience, "lanes, delays and workers to be empty", || async {
            if !empty().await {
                return None;
            }
            tokio::time::sleep(ON_ITS_WAY).await;
            empty().await.then_some(())
        })
        .await;
    }

    /// Everything in the dead letters, oldest first.
    pub async fn dead(&self) -> Vec<DeadLetter> {
        let letters = DeadLetters::open(&self.options).await.expect("opened");
        let found = letters.peek(100_000).await.expect("peeked");
        letters.close().await;
        found
    }
}
