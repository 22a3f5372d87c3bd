//! A broker that takes no messages: what is stored is done. It is not read again, nobody is blamed, and its event comes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::ear;
use nightread_tests::images::grey;
use nightread_tests::parts::skipped;
use nightread_tests::rabbit::{Observer, Rabbit, Release};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};

const IMAGES: usize = 24;

/// Long enough for the delay queues, and for a loaded machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// One broker in trouble.
struct Trouble {
    bench: Bench,
    observer: Observer,
    settings: WorkerSettings,
    virtual_host: String,
    user: String,
}

impl Trouble {
    /// Images are uploaded and announced; the worker has a login of its own, and nobody works yet.
    async fn new(test: &str, rabbit: &Rabbit) -> Option<Self> {
        Self::with_room(test, rabbit, None).await
    }

    /// The same with an ear that refuses more than so many events.
    async fn with_room(test: &str, rabbit: &Rabbit, room: Option<i64>) -> Option<Self> {
        let Some(azurite) = Azurite::shared(test).await else {
            skipped(test, "Azurite");
            return None;
        };
        if !Worker::is_built(test) {
            return None;
        }
        let bench = Bench::over(test, rabbit, azurite).await;
        let observer = bench.observer().await;
        ear::listen_with_room(&observer, room).await;
        let virtual_host = bench.options.url.rsplit('/').next().expect("a virtual host").to_owned();
        let user = format!("worker-{virtual_host}");
        let url = bench.options.url.replace("guest:guest", &format!("{user}:secret"));
        let settings = bench
            .settings()
            .with("NIGHTREAD_BROKER_URL", &url)
            // What the broker does not take within ten seconds is recorded.
            .with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", "20")
            .with("NIGHTREAD_LIMITS_JOBS", "6");
        let trouble = Self { bench, observer, settings, virtual_host, user };
        for number in 0..IMAGES {
            let name = format!("{number}.png");
            trouble.bench.upload(&name, grey(number as u8, 64, number)).await;
            trouble.bench.announce(Lane::Ingest, &name).await;
        }
        Some(trouble)
    }

    /// What the worker may write to.
    async fn allow(&self, rabbit: &Rabbit, write: &str) {
        rabbit.control(&["set_permissions", "-p", &self.virtual_host, &self.user, ".*", write, ".*"]).await;
    }

    fn start(&self) -> Worker {
        self.bench.start_with(&self.settings)
    }

    /// Waits until the worker says that it takes nothing because the broker takes nothing.
    async fn paused(&self, worker: &Worker) -> String {
        wait::until("the worker to pause", || async {
            let ready = worker.get("/ready").await?;
            let pauses = worker.metric("nightread_paused", "publishing").await;
            (ready.starts_with("HTTP/1.1 503") && ready.contains("publishing: ") && pauses > 0.5)
                .then_some(ready)
        })
        .await
    }

    /// Waits until the worker recorded what it holds, and so may acknowledge it.
    async fn recorded(&self, worker: &Worker) {
        wait::until("events to be recorded", || async {
            (worker.metric("nightread_outbox_records_total", "recorded").await > 0.0).then_some(())
        })
        .await;
    }

    /// Killed in the middle, twice: what they held comes back counted, and the heir finds it quarantined.
    async fn kills(&self) -> Worker {
        for _ in 0..2 {
            let doomed = self.start();
            self.paused(&doomed).await;
            doomed.kill();
        }
        let heir = self.start();
        self.paused(&heir).await;
        heir
    }

    /// The broker is sound again: everything ends well.
    async fn ends_well(&self, worker: &Worker) {
        // Listening first: a queue that is full takes nothing until somebody does.
        let told = Mutex::new(BTreeSet::new());
        wait::until_within(PATIENCE, "every event and an empty outbox", || async {
            for event in ear::heard(&self.observer).await {
                let source = event["data"]["source"].as_str().expect("a source").to_owned();
                told.lock().expect("nobody panics with it").insert(source);
            }
            let records = self.bench.direct.list(&self.bench.results, "_outbox/").expect("a listing");
            let left = records.count().await;
            (left == 0 && told.lock().expect("nobody panics with it").len() == IMAGES).then_some(())
        })
        .await;
        for number in 0..IMAGES {
            assert_eq!(self.bench.wait_for_result(&format!("{number}.png")).await["status"], "ok");
        }
        worker.ready().await;
        self.bench.settled(&[worker], PATIENCE).await;
        assert_eq!(self.bench.dead().await.len(), 0, "nobody is blamed");
        let reads = self.logged("\"outcome\":\"read\"");
        assert!(reads <= IMAGES, "{reads} readings of {IMAGES} images");
        assert_eq!(self.logged("\"outcome\":\"superseded\""), 0, "nothing is read twice");
    }

    /// Lines of all workers' logs that hold a text.
    fn logged(&self, text: &str) -> usize {
        let logs = std::fs::read_dir(self.bench.folder.path()).expect("the folder of logs").flatten();
        logs.map(|log| std::fs::read_to_string(log.path()).unwrap_or_default())
            .map(|log| log.lines().filter(|line| line.contains(text)).count())
            .sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_of_results_is_deleted_and_declared_again() {
    let test = "the_exchange_of_results_is_deleted_and_declared_again";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let Some(trouble) = Trouble::new(test, rabbit).await else { return };
    let channel = trouble.observer.channel();
    channel
        .exchange_delete(topology::RESULTS.into(), ExchangeDeleteOptions::default())
        .await
        .expect("deleted");
    let worker = trouble.kills().await;
    assert!(trouble.paused(&worker).await.contains("nightread.results"), "it says what is missing");
    trouble.recorded(&worker).await;
    assert_eq!(trouble.bench.dead().await.len(), 0);
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let kind = ExchangeKind::Topic;
    let declared = channel.exchange_declare(topology::RESULTS.into(), kind, durable, FieldTable::default());
    declared.await.expect("declared");
    ear::bind(&trouble.observer).await;
    trouble.ends_well(&worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_publish_is_revoked_and_granted_again() {
    let test = "the_right_to_publish_is_revoked_and_granted_again";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let Some(trouble) = Trouble::new(test, rabbit).await else { return };
    trouble.allow(rabbit, "^$").await;
    let worker = trouble.kills().await;
    trouble.recorded(&worker).await;
    assert_eq!(trouble.bench.dead().await.len(), 0);
    trouble.allow(rabbit, ".*").await;
    trouble.ends_well(&worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_results_is_full_and_emptied_again() {
    let test = "a_queue_of_results_is_full_and_emptied_again";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let Some(trouble) = Trouble::with_room(test, rabbit, Some(5)).await else { return };
    let worker = trouble.kills().await;
    assert!(trouble.paused(&worker).await.contains("nightread.results"), "it says what takes nothing");
    trouble.recorded(&worker).await;
    assert_eq!(trouble.bench.dead().await.len(), 0);
    trouble.ends_well(&worker).await;
}

/// Brokers of RabbitMQ 3 do not tell a channel that the limit is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_a_queue_of_results_is_set_and_lifted_again() {
    let test = "a_limit_of_a_queue_of_results_is_set_and_lifted_again";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let Some(trouble) = Trouble::new(test, rabbit).await else { return };
    let limit = r#"{"max-length": 5, "overflow": "reject-publish"}"#;
    let host = &trouble.virtual_host;
    rabbit.control(&["set_policy", "-p", host, "limit", "^ear$", limit, "--apply-to", "queues"]).await;
    let worker = trouble.kills().await;
    trouble.recorded(&worker).await;
    rabbit.control(&["clear_policy", "-p", host, "limit"]).await;
    trouble.ends_well(&worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_allowed_and_then_more() {
    let test = "one_connection_is_allowed_and_then_more";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let Some(trouble) = Trouble::new(test, rabbit).await else { return };
    rabbit.control(&["set_user_limits", &trouble.user, r#"{"max-connections": 1}"#]).await;
    let worker = trouble.kills().await;
    assert!(trouble.paused(&worker).await.contains("limit"), "it says why");
    trouble.recorded(&worker).await;
    assert_eq!(trouble.bench.dead().await.len(), 0);
    rabbit.control(&["clear_user_limits", &trouble.user, "all"]).await;
    trouble.ends_well(&worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_short_of_memory_for_a_while() {
    let test = "the_broker_is_short_of_memory_for_a_while";
    let release = Release::asked_for();
    let Some(rabbit) = Rabbit::start_of(release, "").await else { return release.skipped(test) };
    let Some(trouble) = Trouble::new(test, &rabbit).await else { return };
    // The first event is still taken: a broker stops reading only behind what it was sent.
    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    let worker = trouble.kills().await;
    wait::until("the alarm to be seen", || async {
        (worker.metric("nightread_broker_blocked", "").await > 0.5).then_some(())
    })
    .await;
    trouble.recorded(&worker).await;
    tokio::time::sleep(alarm()).await;
    assert!(worker.get("/healthz").await.expect("an answer").contains("Healthy"));
    assert_eq!(trouble.bench.dead().await.len(), 0);
    rabbit.control(&["set_vm_memory_high_watermark", "0.6"]).await;
    trouble.ends_well(&worker).await;
}

/// How much longer the alarm lasts; `NIGHTREAD_TEST_ALARM_SECONDS=120` is the long form.
fn alarm() -> Duration {
    let seconds = std::env::var("NIGHTREAD_TEST_ALARM_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}
