//! `nightread assemble` as a process, between a real queue, real storage and a real broker.

use std::collections::BTreeMap;
use std::process::Child;

use azure_core::base64;
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::ShortString;
use nightread::adapters::amqp::topology;
use nightread_domain::set::SetDocument;
use nightread_domain::{BlobRef, BlobStore, ETag, Lane};
use serde_json::{Value, json};

use crate::azurite::{self, Azurite};
use crate::bench::Bench;
use crate::queues::{Queue, Queues, serve};
use crate::rabbit::Observer;
use crate::wait;
use crate::worker::WorkerSettings;

/// The parts of one test.
#[derive(Debug)]
pub struct Assembly {
    pub bench: Bench,
    pub queue: Queue,
    pub observer: Observer,
    /// Straight to storage, past the proxy of the bench.
    pub settings: WorkerSettings,
    port: u16,
}

/// What was announced, by the message's id: which set, and how often.
pub type Sets = BTreeMap<String, (String, usize)>;

impl Assembly {
    /// With a route of instances below `ct/`, behind one of radiographs; `None` (said by name) when a part is missing.
    pub async fn new(test: &str, quiet_seconds: u32) -> Option<Self> {
        let (bench, queues) = (Bench::shared(test).await?, Queues::shared(test).await?);
        let port = Azurite::shared(test).await?.address().expect("a storage of our own").port();
        let queue = queues.fresh().await;
        let routes = format!(
            "[[routes]]\ntask = \"radiograph\"\nmodel = \"one-node\"\n\n[[routes]]\ncontainer = \"{}\"\nprefix = \
             \"ct/\"\ntask = \"radiograph\"\nmodel = \"one-node\"\ninstances = true\n",
            bench.incoming
        );
        let config = bench.folder.path().join("worker.toml");
        std::fs::write(&config, routes).expect("a file");
        let storage = azurite::connection_string(port);
        let settings = bench
            .settings()
            .with("NIGHTREAD_STORAGE_CONNECTION_STRING", &storage)
            .with("NIGHTREAD_CONFIG", config.to_str().expect("a UTF-8 path"))
            .with("NIGHTREAD_ASSEMBLE_CONNECTION_STRING", &queue.connection_string)
            .with("NIGHTREAD_ASSEMBLE_QUEUE", &queue.name)
            .with("NIGHTREAD_ASSEMBLE_HIDDEN_SECONDS", "10")
            .with("NIGHTREAD_ASSEMBLE_QUIET_SECONDS", &quiet_seconds.to_string());
        let observer = bench.observer().await;
        Some(Self { bench, queue, observer, settings, port })
    }

    /// Uploads a file; no event tells of it yet.
    pub async fn upload(&self, name: &str, body: Bytes) -> ETag {
        self.bench.direct.put(&self.bench.blob(name), body).await.expect("uploaded")
    }

    /// Puts the event of a file into the queue.
    pub async fn tell(&self, name: &str) {
        let url = format!("http://127.0.0.1:{}/devstoreaccount1/{}/{name}", self.port, self.bench.incoming);
        let event = json!({"specversion": "1.0", "id": name, "source": "/s", "type": "Microsoft.Storage.BlobCreated",
            "data": {"api": "PutBlob", "url": url}});
        self.queue.main.put(&base64::encode(event.to_string())).await.expect("put");
    }

    pub fn start(&self, settings: &WorkerSettings) -> Child {
        serve(settings, "assemble")
    }

    pub async fn queue_is_empty(&self) {
        wait::until("the queue to be empty", || async { self.queue.is_empty().await.then_some(()) }).await;
    }

    async fn json(&self, name: &str) -> Option<Bytes> {
        let blob = BlobRef::new(self.bench.results.as_str(), name).expect("a name");
        self.bench.direct.read(&blob, 1 << 25).await.expect("storage answers").map(|(body, _)| body)
    }

    /// The set document of a series that lies below `ct/`.
    pub async fn set(&self, series_uid: &str) -> Option<SetDocument> {
        let body = self.json(&format!("_series/{}/ct/{series_uid}.json", self.bench.incoming)).await?;
        Some(SetDocument::parse(&body).expect("a set document"))
    }

    /// What is kept of a series.
    pub async fn state(&self, series_uid: &str) -> Option<Value> {
        let body =
            self.json(&format!("_assemble/series/{}/ct/{series_uid}.json", self.bench.incoming)).await?;
        Some(serde_json::from_slice(&body).expect("JSON"))
    }

    /// Waits until nothing is open, and everything that was taken is announced.
    pub async fn settled(&self) {
        let results = &self.bench.results;
        wait::until("every series to be announced", || async {
            let open = self.bench.direct.some_below(results, "_assemble/open/").await.expect("a listing");
            open.is_empty().then_some(())
        })
        .await;
    }

    /// Takes every announcement of a set that is there.
    pub async fn announced(&self) -> Sets {
        let mut sets = Sets::new();
        for delivery in self.observer.drain(&topology::lane_queue(Lane::Volumes)).await {
            let (id, set) = told(&delivery);
            sets.entry(id).or_insert((set, 0)).1 += 1;
        }
        sets
    }
}

fn told(delivery: &Delivery) -> (String, String) {
    let body: Value = serde_json::from_slice(&delivery.data).expect("JSON");
    let set = body["series"]["set"].as_str().unwrap_or_else(|| panic!("no announcement of a set: {body}"));
    let id = delivery.properties.message_id().as_ref().map(ShortString::as_str).expect("an id");
    assert_eq!(*delivery.properties.delivery_mode(), Some(2), "persistent");
    (id.to_owned(), set.to_owned())
}
