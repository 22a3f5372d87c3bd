//! `nightread check` at a real broker and a real Azurite: what `run` would stumble over, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::StreamExt;
use nightread_domain::Lane;
use nightread_tests::bench::Bench;
use nightread_tests::parts::skipped;
use nightread_tests::queues;
use nightread_tests::rabbit::Rabbit;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::Value;

/// Its exit status and answer.
fn check(settings: &WorkerSettings, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = settings.command(&["check", "--format", "json"]);
    let ran = command.args(arguments).output().expect("the binary runs");
    let answer = serde_json::from_slice(&ran.stdout);
    (
        ran.status.code(),
        answer.unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&ran.stderr))),
    )
}

fn problems(answer: &Value) -> String {
    answer["problems"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_service_has_no_problem_and_nothing_is_left_behind() {
    let Some(bench) = Bench::shared("a_sound_service_has_no_problem_and_nothing_is_left_behind").await else {
        return;
    };
    bench.announce(Lane::Ingest, "not-read.png").await;
    let (code, answer) = check(&bench.settings(), &[]);
    assert_eq!((code, &answer["for"][0]), (Some(0), &Value::from("run")), "{answer:#}");
    assert_eq!(answer["models"][0]["name"], "one-node");
    assert_eq!(answer["models"][0]["ran"], true);
    assert!(answer["runtime"]["version"].is_string() && answer["runtime"]["library"].is_string());
    assert!(answer["outside"]["broker"].as_str().expect("a broker").starts_with("RabbitMQ"));
    let results = &answer["outside"][format!("container {}", bench.results)];
    assert_eq!(*results, "there, and writable");
    let left: Vec<_> = bench.direct.list(&bench.results, "").expect("a listing").collect().await;
    assert!(left.is_empty(), "the probe is gone: {left:?}");
    assert_eq!(bench.waiting(&bench.observer().await).await, 1, "no message was taken or published");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let Some(bench) = Bench::shared("what_is_missing_is_named").await else { return };
    let Some(rabbit) = Rabbit::shared("what_is_missing_is_named").await else { return };
    let with = |name: &str, value: &str| bench.settings().with(name, value);

    let (code, answer) = check(&with("NIGHTREAD_RESULTS_CONTAINER", "no-such-results"), &[]);
    assert!(code == Some(1) && problems(&answer).contains("container no-such-results"), "{answer:#}");
    let (code, answer) = check(&with("NIGHTREAD_SOURCES_CONTAINERS", "no-such-source"), &[]);
    assert!(code == Some(1) && problems(&answer).contains("container no-such-source"), "{answer:#}");

    // A virtual host of its own, with nothing declared in it.
    let bare = rabbit.fresh_url();
    let (code, answer) = check(&with("NIGHTREAD_BROKER_URL", &bare), &[]);
    let told = problems(&answer);
    assert!(
        code == Some(1) && told.contains("nightread.jobs.ingest") && told.contains("topology"),
        "{answer:#}"
    );
    let wrong = bench.settings().broker_url().replacen("guest:guest", "guest:wrong", 1);
    let (code, answer) = check(&with("NIGHTREAD_BROKER_URL", &wrong), &[]);
    assert!(code == Some(1) && problems(&answer).contains("broker"), "{answer:#}");
    assert!(!answer.to_string().contains("guest:wrong"), "no password is shown");

    let wrong = with("NIGHTREAD_BROKER_URL", &wrong).with("NIGHTREAD_RESULTS_CONTAINER", "no-such-results");
    let (code, answer) = check(&wrong, &["--offline"]);
    assert_eq!(code, Some(0), "{answer:#}");
    assert_eq!(answer["outside"], serde_json::json!({}));
    // The precision is what `run` alone insists on.
    let unnamed = bench.settings().with("NIGHTREAD_MODELS_PRECISION", "");
    let (code, answer) = check(&unnamed, &["--offline", "--for", "run"]);
    assert!(code == Some(1) && problems(&answer).contains("precision"), "{answer:#}");
    assert_eq!(check(&unnamed, &["--offline", "--for", "process"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_is_what_settings_with_a_queue_are_for() {
    let test = "the_relay_is_what_settings_with_a_queue_are_for";
    if !Worker::is_built(test) {
        return;
    }
    let Some((queue, settings, _)) = queues::bench(test).await else {
        return skipped(test, "RabbitMQ or Azurite");
    };
    let (code, answer) = check(&settings, &[]);
    assert_eq!((code, &answer["for"][0]), (Some(0), &Value::from("relay")), "{answer:#}");
    assert!(answer["outside"]["Storage queue"].as_str().expect("a queue").contains("messages"));
    drop(queue);
    let gone = settings.with("NIGHTREAD_RELAY_QUEUE", "no-such-queue");
    let (code, answer) = check(&gone, &[]);
    assert!(code == Some(1) && problems(&answer).contains("Storage queue"), "{answer:#}");
}
