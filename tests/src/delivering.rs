//! A site with `nightread deliver`: studies and results in folders, a virtual host, and how fast it sends.

use std::path::PathBuf;
use std::time::Instant;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use nightread::adapters::amqp::{DeadLetter, DeadLetters, Pile, Publisher, RabbitOptions, topology};
use nightread::adapters::storage::folder::FolderStore;
use nightread_domain::delivery::DeliveryOrder;
use nightread_domain::message::Attributes;
use nightread_domain::retry::Delay;
use nightread_domain::{BlobRef, BlobStore, ETag, Lane, Message};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::archive::WebArchive;
use crate::images::result_name;
use crate::orthanc::Orthanc;
use crate::rabbit::{Observer, Rabbit};
use crate::radiographs::radiograph;
use crate::wait;
use crate::worker::{Worker, WorkerSettings};

/// The dead letters of deliveries, oldest first.
pub async fn dead_deliveries(options: &RabbitOptions) -> Vec<DeadLetter> {
    let letters = DeadLetters::of(options, Pile::Deliveries).await.expect("opened");
    let found = letters.peek(1000).await.expect("peeked");
    letters.close().await;
    found
}

/// Far above every threshold of the one-node model.
pub const BRIGHT: u16 = 60_000;

/// Under which all studies of these tests lie.
pub const STUDY: &str = "1.2.826.0.1.3680043.2.1143.78";

/// A folder of studies and results, a virtual host of its own, and settings of both commands.
#[derive(Debug)]
pub struct Site {
    pub folder: TempDir,
    pub options: RabbitOptions,
    publisher: Publisher,
    pub observer: Observer,
    pub settings: WorkerSettings,
}

impl Site {
    pub async fn new(test: &str) -> Option<Self> {
        let rabbit = Rabbit::shared(test).await?;
        if !Worker::is_built(test) {
            return None;
        }
        let options = rabbit.declared().await;
        let folder = tempfile::tempdir().expect("sound");
        let settings = WorkerSettings::new(&options.url)
            .folder(folder.path())
            .with("NIGHTREAD_DELIVER_SECONDS", "5")
            .with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", "10");
        Some(Self {
            publisher: Publisher::new(options.clone()),
            observer: Observer::connect(&options.url).await,
            options,
            folder,
            settings,
        })
    }

    pub fn with(&mut self, name: &str, value: &str) {
        self.settings = self.settings.clone().with(name, value);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn result(&self, name: &str) -> PathBuf {
        self.path("results").join(result_name("incoming", name))
    }

    pub fn document(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.result(name)).ok()?).ok()
    }

    pub async fn announce(&self, name: &str, force: bool) {
        self.tell(Lane::Ingest, &json!({"blob": format!("incoming/{name}"), "force": force})).await;
    }

    /// Announces whatever the body says.
    pub async fn tell(&self, lane: Lane, body: &Value) {
        let message = Message { body: body.to_string().into(), attributes: Attributes::for_lane(lane) };
        self.publisher.announce(&message).await.expect("sound");
    }

    /// What storage knows of the version of a study.
    pub async fn version(&self, name: &str) -> ETag {
        let store = FolderStore::new([("incoming".to_owned(), self.path("incoming"))]);
        let blob = BlobRef::new("incoming", name).expect("sound");
        store.properties(&blob).await.expect("sound").etag
    }

    /// A radiograph, and a document of its reading that no worker made.
    pub async fn reading(&self, name: &str, study: &str, threshold: f64) {
        let source = radiograph(study, BRIGHT);
        std::fs::write(self.path("incoming").join(name), &source).expect("sound");
        let version = self.version(name).await;
        let document = json!({
            "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "radiograph",
            "study": {"kind": "blob", "container": "incoming", "name": name, "version": version, "last_modified": null,
                "bytes": source.len(), "sha256": hex::encode(Sha256::digest(&source)), "media": "dicom"},
            "model": {"name": "one-node", "version": "1.0.0", "precision": "fp32",
                "weights_sha256": "ab".repeat(32), "execution_provider": "cpu", "preprocessing": "xrv-1"},
            "findings": [{"label": "Brightness", "logit": 3.0, "probability": 0.95, "threshold": threshold, "positive": true}],
            "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z"});
        std::fs::create_dir_all(self.result(name).parent().expect("sound")).expect("sound");
        std::fs::write(self.result(name), document.to_string()).expect("sound");
    }

    pub async fn order(&self, name: &str, target: &str) {
        let result = BlobRef::new("results", result_name("incoming", name)).expect("sound");
        self.publish(&DeliveryOrder::new(&result, target).body().expect("sound"), target).await;
    }

    pub async fn publish(&self, body: &[u8], target: &str) {
        let key = format!("{}.{target}", topology::DELIVERY_KEY);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let channel = self.observer.channel();
        let sent = channel
            .basic_publish(
                topology::JOBS.into(),
                key.as_str().into(),
                options,
                body,
                BasicProperties::default(),
            )
            .await
            .expect("sound");
        sent.await.expect("sound");
    }

    /// Orders that nobody has in flight.
    pub async fn waiting(&self) -> u32 {
        let mut waiting = self.observer.depth(topology::DELIVERIES).await;
        for delay in Delay::ALL {
            waiting += self.observer.depth(&topology::delay_queue(delay)).await;
        }
        waiting
    }

    pub async fn dead(&self) -> Vec<(String, String)> {
        let found = dead_deliveries(&self.options).await;
        let target =
            |body: &[u8]| DeliveryOrder::parse(body).map_or_else(|_| String::new(), |order| order.target);
        let mut dead: Vec<_> = found
            .iter()
            .map(|letter| (target(&letter.message.body), letter.code.as_str().to_owned()))
            .collect();
        dead.sort();
        dead
    }

    pub fn records(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path("results/_deliveries")];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("sound").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|ending| ending == "json") {
                    found.push(path);
                }
            }
        }
        found
    }

    pub fn deliver(&self) -> Worker {
        Worker::start_as(&["deliver"], &self.settings, self.folder.path())
    }

    /// With archives of a settings file.
    pub fn deliver_to(&self, targets: &str) -> Worker {
        let config = self.path("targets.toml");
        std::fs::write(&config, targets).expect("sound");
        Worker::start_as(
            &["deliver", "--config", config.to_str().expect("sound")],
            &self.settings,
            self.folder.path(),
        )
    }
}

/// Sends `results` results, two objects each, to an archive that keeps nothing, then to a real one where there is one, and tells how
/// fast that was and what memory it took.
pub async fn rate(results: usize) {
    let null = WebArchive::forgetful().await;
    let own = run(results, &null.url()).await;
    let Some(orthanc) = Orthanc::start("soak deliver").await else { return };
    if let (Some(own), Some(real)) = (own, run(results, &orthanc.web()).await) {
        println!("the sender alone is {:.1} times as fast as with Orthanc", own / real);
    }
}

/// Objects a second.
async fn run(results: usize, archive: &str) -> Option<f64> {
    let mut site = Site::new("soak deliver").await?;
    site.with("NIGHTREAD_DELIVER_ARCHIVE", archive);
    site.with("NIGHTREAD_DELIVER_SECONDS", "60");
    site.with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", "1800");
    for number in 0..results {
        let name = format!("{number}.dcm");
        site.reading(&name, &format!("{STUDY}.{}", number + 1), 0.5).await;
        site.order(&name, "archive").await;
    }
    let began = Instant::now();
    let deliver = site.deliver();
    let mut early = 0;
    for share in [results.div_ceil(10), results] {
        wait::until_within(wait::patience() * 30, "results to be delivered", || async {
            let delivered = deliver.metric("nightread_deliveries_total", "outcome=\"delivered\"").await;
            (delivered >= share as f64).then_some(())
        })
        .await;
        if early == 0 {
            early = deliver.memory().0;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (late, most) = deliver.memory();
    let objects = 2 * results;
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "{archive}: {objects} objects of {results} results in {seconds:.1} s with the start, {:.0} a second; memory {} MiB after \
         a tenth, {} MiB at the end, {} MiB at most; {:.1} s of processor",
        objects as f64 / seconds,
        mib(early),
        mib(late),
        mib(most),
        deliver.processor_seconds()
    );
    Some(objects as f64 / seconds)
}
