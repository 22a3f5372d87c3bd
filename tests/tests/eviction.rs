//! A worker whose machine is about to go, told so by a scripted metadata service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nightread::adapters::amqp::topology;
use nightread::adapters::azure::imds::{EventKind, EventSource, EvictionWatch, Imds};
use nightread_domain::Lane;
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::proxy::Method;
use nightread_tests::server::{Answer, Asked, ScriptedServer};
use nightread_tests::wait;
use serde_json::json;

const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const NAME: &str = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";

/// Events of two machines; ours is `workers_3`.
fn document(kind: &str, machine: &str) -> String {
    json!({"DocumentIncarnation": 7, "Events": [
        {"EventId": "theirs", "EventType": "Terminate", "ResourceType": "VirtualMachine", "Resources": ["workers_4"],
         "EventStatus": "Scheduled", "NotBefore": "Mon, 19 Sep 2039 18:29:47 GMT", "Description": "",
         "EventSource": "Platform", "DurationInSeconds": -1},
        {"EventId": "ours", "EventType": kind, "ResourceType": "VirtualMachine", "Resources": [machine],
         "EventStatus": "Scheduled", "NotBefore": "Mon, 19 Sep 2039 18:29:47 GMT", "Description": "",
         "EventSource": "Platform", "DurationInSeconds": -1},
    ]})
    .to_string()
}

fn quiet() -> Answer {
    Answer::new(200, r#"{"DocumentIncarnation": 1, "Events": []}"#)
}

/// A service that knows our name, and answers the question for events as `events` says.
async fn service(events: impl Fn() -> Answer + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |asked: &Asked| match (asked.method.as_str(), asked.path.as_str()) {
        _ if asked.header("metadata") != "true" => Answer::new(400, "Bad Request"),
        ("GET", NAME) => Answer::new(200, "workers_3"),
        ("GET", EVENTS) => events(),
        ("POST", EVENTS) => Answer::new(200, ""),
        _ => Answer::new(404, "Not found"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_worker_finishes_what_it_has_and_then_lets_the_machine_go() {
    let test = "an_evicted_worker_finishes_what_it_has_and_then_lets_the_machine_go";
    let Some(bench) = Bench::shared(test).await else { return };
    let announced = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&announced);
    let imds = service(move || match seen.load(Ordering::SeqCst) {
        0 => Answer::new(200, document("Preempt", "workers_5")),
        1 => Answer::new(200, document("Freeze", "workers_3")),
        _ => Answer::new(200, document("Preempt", "workers_3")),
    })
    .await;
    let settings = bench
        .settings()
        .with("NIGHTREAD_WORKER_SCHEDULED_EVENTS", "true")
        .with("NIGHTREAD_WORKER_IMDS_ENDPOINT", &imds.url());
    let mut worker = bench.start_with(&settings);
    worker.ready().await;
    bench.upload("held.png", grey(7, 64, 0)).await;
    bench.upload("later.png", grey(8, 64, 1)).await;
    let gate = bench.proxy.gate(Method::GET, "held.png");
    bench.announce(Lane::Ingest, "held.png").await;
    gate.reached(1).await;
    // Other machines' ends and a pause of ours are no reason to go.
    announced.store(1, Ordering::SeqCst);
    let asked = imds.asked().len();
    wait::until("some more questions", || async { (imds.asked().len() > asked + 2).then_some(()) }).await;
    announced.store(2, Ordering::SeqCst);
    wait::until("the worker to drain", || async { worker.log().contains("preempt").then_some(()) }).await;
    // What comes now is for others.
    bench.announce(Lane::Ingest, "later.png").await;
    assert!(imds.asked_by("POST").is_empty(), "not while something is in flight");
    gate.open();
    assert!(worker.ended().await.success());
    assert_eq!(bench.wait_for_result("held.png").await["status"], "ok");
    assert!(bench.result("later.png").await.is_none());
    let observer = bench.observer().await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
    let approvals = imds.asked_by("POST");
    assert_eq!(approvals.len(), 1, "ours alone");
    assert_eq!(approvals[0].body, r#"{"StartRequests":[{"EventId":"ours"}]}"#);
    assert_eq!(approvals[0].header("metadata"), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_answers_failures_and_garbage_hide_no_event() {
    let turn = Arc::new(AtomicU32::new(0));
    let turns = Arc::clone(&turn);
    let imds = service(move || match turns.fetch_add(1, Ordering::SeqCst) {
        0 => Answer { after: Duration::from_secs(2), ..quiet() },
        1 => Answer::new(404, "not here"),
        2 => Answer::new(500, "broken"),
        3 => Answer::new(200, vec![0xff; 2_000_000]),
        4 => Answer::new(200, "<html>a captive portal</html>"),
        5 => quiet(),
        _ => Answer::new(200, document("Redeploy", "WORKERS_3")),
    })
    .await;
    let source = Imds::new(&format!("{}/", imds.url())).expect("a client");
    assert_eq!(source.name().await.expect("a name"), "workers_3");
    let watch = EvictionWatch::new(source);
    let notice = tokio::time::timeout(wait::patience(), watch.notice()).await.expect("in time");
    assert_eq!((notice.event_id.as_str(), notice.kind), ("ours", EventKind::Redeploy));
    assert!(notice.not_before.is_some());
    watch.approve(&notice).await.expect("approved");
    assert_eq!(imds.asked_by("POST").len(), 1);
    assert!(imds.asked().iter().all(|asked| asked.header("metadata") == "true"));
}
