//! What must never stand in a log, however much is asked of it: names of blobs, bodies of messages, signatures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Stdio;
use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use nightread::adapters::queue::rabbitmq::topology;
use nightread_domain::{ErrorCode, Lane};
use nightread_tests::bench::Bench;
use nightread_tests::pictures::grey;
use serde_json::json;

/// Stands in every name and every body.
const MARK: &str = "Jane-Doe-1970";

/// Fails with the line that tells too much.
fn tells_nothing(log: &str, what: &str) {
    assert!(!log.is_empty(), "{what} says something");
    for line in log.lines() {
        for secret in [MARK, "sig=", "SharedKey ", "AccountKey="] {
            assert!(!line.contains(secret), "{what} tells {secret:?}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_level_tells_names_bodies_or_signatures() {
    let Some(bench) = Bench::shared("no_level_tells_names_bodies_or_signatures").await else { return };
    let settings = bench.settings().with("NIGHTREAD_LOG", "trace");
    let worker = bench.start_with(&settings);
    let good = format!("{MARK}/good.png");
    bench.upload(&good, grey(100, 64, 0)).await;
    bench.upload(&format!("{MARK}/bad.png"), b"no picture at all".to_vec().into()).await;
    for (id, name) in [("good", "good.png"), ("bad", "bad.png"), ("missing", "missing.png")] {
        let body = json!({"blob": format!("{}/{MARK}/{name}", bench.incoming)});
        bench.publish(Lane::Ingest, id, body.to_string()).await;
    }
    // An event's id is logged; it is the sender's to keep names out of it.
    let event = bench.event_grid(&format!("{MARK}-grid.png"));
    bench.publish(Lane::Ingest, "grid", event.replace(&format!("event-{MARK}"), "event")).await;
    bench.publish(Lane::Bulk, "garbage", format!("{{\"{MARK}\": 7}}")).await;
    bench.publish(Lane::Bulk, "elsewhere", json!({"blob": format!("secrets/{MARK}")}).to_string()).await;
    bench.wait_for_result(&good).await;
    bench.settled(&[&worker], Duration::from_mins(2)).await;
    let codes: Vec<ErrorCode> = bench.dead().await.into_iter().map(|letter| letter.code).collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    tells_nothing(&worker.log(), "the worker");
    // Each dead letter is one line that says why.
    let log = worker.log();
    for code in ["message_unparseable", "source_not_allowed"] {
        let told = log.lines().filter(|line| line.contains("dead-lettered") && line.contains(code)).count();
        assert_eq!(told, 1, "{code}");
    }
    drop(worker);

    // Nobody takes what is published: the client library is given the whole message back.
    let observer = bench.observer().await;
    let queue = topology::lane_queue(Lane::Bulk);
    observer
        .channel()
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    let mut command = settings.command(&["announce", "--format", "json"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _ = child.kill();
    let output = child.wait_with_output().expect("it ended");
    tells_nothing(&String::from_utf8_lossy(&output.stderr), "announce");
}
