//! A delivery in two hands: a worker that is cut off from the broker reads on, and the broker gives its delivery to another. Whoever
//! stores last, the document that stands is told of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::azurite::{self, Azurite};
use nightread_tests::bench::Bench;
use nightread_tests::cable::Cable;
use nightread_tests::ear;
use nightread_tests::images::{grey, result_name};
use nightread_tests::proxy::{FaultProxy, Gate, Method};
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::{Value, json};

const NAME: &str = "a.png";

/// One worker that has read the study, is about to store, and is cut off from the broker.
struct Hands {
    bench: Bench,
    observer: Observer,
    first: Worker,
    /// Before the first one's store of the document.
    gate: Gate,
    cable: Cable,
    // Ends with the test.
    _proxy: FaultProxy,
}

/// Settings of a worker that has its results sent to an archive, too.
fn settings(bench: &Bench) -> WorkerSettings {
    bench.settings().with("NIGHTREAD_DELIVER_ARCHIVE", "http://127.0.0.1:9/dicom-web")
}

impl Hands {
    async fn new(test: &str, force: bool) -> Option<Self> {
        let (rabbit, azurite) = (Rabbit::shared(test).await?, Azurite::shared(test).await?);
        let bench = Bench::shared(test).await?;
        let observer = bench.observer().await;
        ear::listen(&observer).await;
        let address = rabbit.url().rsplit('@').next().expect("an address").to_owned();
        let cable = Cable::to(address.parse().expect("an address")).await;
        let url = bench.options.url.replace(&address, &format!("127.0.0.1:{}", cable.port()));
        let proxy = FaultProxy::start(azurite.address().expect("a plain address"), 1).await;
        let settings = settings(&bench)
            .azure(&azurite::connection_string(proxy.port()), &bench.incoming, &bench.results)
            // Both sides notice soon.
            .with("NIGHTREAD_BROKER_URL", &format!("{url}?heartbeat=2"));
        let gate = proxy.gate(Method::PUT, NAME);
        let first = bench.start_with(&settings);
        first.ready().await;
        bench.upload(NAME, grey(200, 64, 1)).await;
        let body = json!({"blob": format!("{}/{NAME}", bench.incoming), "force": force});
        bench.publish(Lane::Ingest, "in two hands", body.to_string()).await;
        gate.reached(1).await;
        cable.cut();
        observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
        first.says("broker").await;
        Some(Self { bench, observer, first, gate, cable, _proxy: proxy })
    }

    /// The document that stands, as its event has it.
    fn told(&self, document: &Value) -> (String, String) {
        let place = format!("{}/{}", self.bench.results, result_name(&self.bench.incoming, NAME));
        (place, document["read_at"].as_str().expect("a time").to_owned())
    }

    /// Waits until the event of the document that stands is heard.
    async fn is_heard(&self, document: &Value) {
        let expected = self.told(document);
        wait::until("the event of the document that stands", || async {
            let heard = ear::heard(&self.observer).await;
            heard.iter().any(|event| ear::told(event) == expected).then_some(())
        })
        .await;
    }
}

async fn done(worker: &Worker) {
    wait::until("the delivery to be done", || async {
        (worker.metric("nightread_messages_total", "done").await > 0.5).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stores_second_tells_what_the_first_one_stored_and_could_not_tell() {
    let test = "who_stores_second_tells_what_the_first_one_stored_and_could_not_tell";
    let Some(hands) = Hands::new(test, false).await else { return };
    let gate = hands.bench.proxy.gate(Method::PUT, NAME);
    let second = hands.bench.start_with(&settings(&hands.bench));
    gate.reached(1).await;
    hands.gate.open();
    let stored = hands.bench.wait_for_result(NAME).await;
    let expected = hands.told(&stored);
    hands.first.kill();
    gate.open();
    done(&second).await;
    assert_eq!(second.metric("nightread_jobs_total", "outcome=\"already_done\"").await as u32, 1);
    assert_eq!(hands.bench.wait_for_result(NAME).await, stored, "there is one reading");
    // Published after the event.
    hands.observer.wait_for_depth(topology::DELIVERIES, 1).await;
    let heard: Vec<_> = ear::heard(&hands.observer).await.iter().map(ear::told).collect();
    assert_eq!(heard, [expected]);
    hands.observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stores_over_a_told_result_without_a_session_tells_it_too() {
    let test = "who_stores_over_a_told_result_without_a_session_tells_it_too";
    let Some(hands) = Hands::new(test, true).await else { return };
    let second = hands.bench.start_with(&settings(&hands.bench));
    done(&second).await;
    let before = hands.bench.wait_for_result(NAME).await;
    hands.is_heard(&before).await;
    hands.gate.open();
    let stored = wait::until("the first one's document", || async {
        hands.bench.result(NAME).await.filter(|document| document["read_at"] != before["read_at"])
    })
    .await;
    hands.cable.mend();
    hands.is_heard(&stored).await;
    hands.observer.wait_for_depth(topology::DELIVERIES, 2).await;
    hands.first.ready().await;
    hands.observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 0).await;
}
