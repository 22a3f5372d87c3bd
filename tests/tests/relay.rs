//! `nightread relay` as a process, between a real queue service (Azurite) and a real broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use azure_core::base64;
use lapin::message::Delivery;
use lapin::types::ShortString;
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::announcing::summary;
use nightread_tests::azurite;
use nightread_tests::parts::{Ending, free_port, skipped};
use nightread_tests::proxy::{FaultProxy, Method};
use nightread_tests::queues::{Queues, bench, event, fill, relay, relay_once, relay_with_kills, serve_at};
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::server::get;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::{Value, json};

fn ingest() -> String {
    topology::lane_queue(Lane::Ingest)
}

/// How often each event came.
fn ids(deliveries: &[Delivery]) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for delivery in deliveries {
        let body: Value = serde_json::from_slice(&delivery.data).expect("an event is JSON");
        let id = body["id"].as_str().expect("an event has an id").to_owned();
        assert_eq!(delivery.properties.message_id().as_ref().map(ShortString::as_str), Some(id.as_str()));
        assert_eq!(*delivery.properties.delivery_mode(), Some(2), "persistent");
        *ids.entry(id).or_insert(0) += 1;
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_relayed_and_poison_is_put_aside() {
    let Some((queue, settings, observer)) = bench("every_form_is_relayed_and_poison_is_put_aside").await
    else {
        return;
    };
    let plain = event("plain ü.png").to_string();
    for text in [
        plain.as_str(),
        &base64::encode(event("coded.dcm").to_string()),
        &base64::encode(json!([event("grid.png")]).to_string()),
        &base64::encode(event("scan.nii.gz").to_string()),
        "no event",
        &base64::encode([0xff, 0xfe]),
    ] {
        queue.main.put(text).await.expect("put");
    }
    let output = relay_once(&settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = summary(&output);
    assert_eq!(
        (&told["relayed"], &told["poisoned"], &told["left"]),
        (&json!(4), &json!(2), &json!(0)),
        "{told}"
    );
    assert!(queue.is_empty().await);
    assert_eq!(queue.poison.depth().await.expect("a depth"), 2, "aside, not away");
    let ingest = observer.drain(&ingest()).await;
    assert_eq!(ingest.len(), 3);
    let bodies: Vec<Value> =
        ingest.iter().map(|found| serde_json::from_slice(&found.data).expect("JSON")).collect();
    assert!(
        bodies.contains(&event("plain ü.png")) && bodies.contains(&json!([event("grid.png")])),
        "{bodies:?}"
    );
    let scans = ids(&observer.drain(&topology::lane_queue(Lane::Volumes)).await);
    assert_eq!(scans, BTreeMap::from([("scan.nii.gz".to_owned(), 1)]), "scans have their own lane");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_relays_every_event() {
    let test = "killed_again_and_again_it_relays_every_event";
    let Some(account) = relay_with_kills(test, 600, 4, 11).await else { return };
    println!("{account:?}");
    assert!(account.kills > 0);
    assert_eq!((account.missing, account.invented), (Vec::new(), Vec::new()));
    assert_eq!(account.poison, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_confirmation_and_deletion_it_repeats_and_loses_nothing() {
    let test = "killed_between_confirmation_and_deletion_it_repeats_and_loses_nothing";
    let Some((queue, settings, observer)) = bench(test).await else { return };
    let queues = Queues::shared(test).await.expect("it runs");
    let proxy = FaultProxy::start(queues.address(), 1).await;
    let names: Vec<_> = (0..10).map(|number| format!("{number:04}.png")).collect();
    fill(&queue, &names).await;
    let gate = proxy.gate(Method::DELETE, &queue.name);
    let through_proxy = azurite::queue_connection_string(proxy.port());
    let mut doomed = relay(&settings.clone().with("NIGHTREAD_RELAY_CONNECTION_STRING", &through_proxy));
    // Every event is confirmed, and no deletion goes through.
    gate.reached(names.len()).await;
    observer.wait_for_depth(&ingest(), names.len() as u32).await;
    doomed.kill().expect("killed");
    doomed.wait().expect("a child");
    assert!(!queue.is_empty().await, "nothing is deleted");
    let mut heir = relay(&settings);
    wait::until("the queue to be empty", || async { queue.is_empty().await.then_some(()) }).await;
    heir.kill().expect("killed");
    heir.wait().expect("a child");
    let relayed = ids(&observer.drain(&ingest()).await);
    assert_eq!(relayed, names.into_iter().map(|name| (name, 2)).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_its_broker_and_blames_no_message() {
    let test = "it_waits_for_its_broker_and_blames_no_message";
    let (Some(mut rabbit), Some(queues)) = (Rabbit::start(None).await, Queues::shared(test).await) else {
        return skipped(test, "RabbitMQ or Azurite");
    };
    if !Worker::is_built(test) {
        return;
    }
    let options = rabbit.declared().await;
    let queue = queues.fresh().await;
    let settings = queue.settings(&options.url).with("NIGHTREAD_RELAY_MOST_TAKES", "2");
    rabbit.pause(Ending::Term);
    let port = free_port();
    let mut child = serve_at(port, &settings, "relay");
    let ask = async |path: &str| get(&format!("http://127.0.0.1:{port}/{path}")).await;
    let names: Vec<_> = (0..40).map(|number| format!("{number:04}.png")).collect();
    fill(&queue, &names).await;
    wait::until("it to wait for its broker", || async {
        let ready = ask("ready").await?;
        (ready.starts_with("HTTP/1.1 503") && ready.contains("broker")).then_some(())
    })
    .await;
    // Long enough to try more than once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let alive = ask("healthz").await.expect("an answer");
    assert!(alive.starts_with("HTTP/1.1 200"), "no restart would help: {alive}");
    rabbit.resume().await;
    wait::until("the queue to be empty", || async { queue.is_empty().await.then_some(()) }).await;
    wait::until("it to be ready", || async {
        ask("ready").await.filter(|ready| ready.starts_with("HTTP/1.1 200"))
    })
    .await;
    let relayed = "nightread_relay_messages_total{outcome=\"relayed\"} 40";
    let metrics = wait::until("the last to be counted", || async {
        ask("metrics").await.filter(|metrics| metrics.contains(relayed))
    })
    .await;
    assert!(metrics.contains("nightread_storage_queue_messages"), "{metrics}");
    child.kill().expect("killed");
    child.wait().expect("a child");
    let observer = Observer::connect(&options.url).await;
    let relayed = ids(&observer.drain(&ingest()).await);
    assert_eq!(relayed.keys().cloned().collect::<Vec<_>>(), names);
    assert_eq!(queue.poison.depth().await.expect("a depth"), 0, "an outage makes no poison");
}

#[test]
fn without_a_queue_it_says_so() {
    if !Worker::is_built("without_a_queue_it_says_so") {
        return;
    }
    let output = relay_once(&WorkerSettings::new("amqp://guest:secret@127.0.0.1:1"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("NIGHTREAD_RELAY_QUEUE_URL") && !told.contains("secret"), "{told}");
    let both = WorkerSettings::new("amqp://guest:secret@127.0.0.1:1")
        .with("NIGHTREAD_RELAY_QUEUE_URL", "http://a.queue.core.windows.net/q?sig=hidden")
        .with("NIGHTREAD_RELAY_MOST_TAKES", "0");
    let told = relay_once(&both);
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(told.contains("queue_url") && told.contains("most_takes") && !told.contains("hidden"), "{told}");
}
