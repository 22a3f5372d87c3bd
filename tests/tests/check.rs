//! `nightread check` at a real broker and a real Azurite: what `run` would stumble over, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;

use futures::StreamExt;
use lapin::options::BasicGetOptions;
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::bench::Bench;
use nightread_tests::parts::{free_port, skipped};
use nightread_tests::queues;
use nightread_tests::rabbit::Rabbit;
use nightread_tests::server::{Answer, ScriptedServer};
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

#[tokio::test(flavor = "multi_thread")]
async fn rights_to_consume_and_publish_are_asked_for_and_nothing_is_touched() {
    let test = "rights_to_consume_and_publish_are_asked_for_and_nothing_is_touched";
    let Some(bench) = Bench::shared(test).await else { return };
    let Some(rabbit) = Rabbit::shared(test).await.filter(|rabbit| rabbit.release().is_some()) else {
        return skipped(test, "a RabbitMQ of our own");
    };
    let virtual_host = bench.options.url.rsplit('/').next().expect("a virtual host");
    let user = format!("worker-{virtual_host}");
    let settings = bench
        .settings()
        .with("NIGHTREAD_BROKER_URL", &bench.options.url.replace("guest:guest", &format!("{user}:secret")));
    let allow = async |write: &str, read: &str| {
        rabbit.control(&["set_permissions", "-p", virtual_host, &user, "^$", write, read]).await;
    };
    bench.announce(Lane::Ingest, "not-read.png").await;
    let observer = bench.observer().await;

    // What the installation gives to workers.
    let (write, read) = (
        r"^nightread(\.(delay|quarantine|dead|results))?$",
        r"^nightread\.jobs\.(ingest|bulk|volumes|quarantine)$",
    );
    allow(write, read).await;
    let (code, answer) = check(&settings, &[]);
    assert_eq!(code, Some(0), "{answer:#}");
    let rights = "may consume (queues: 4) and publish (exchanges: 5)";
    assert_eq!(answer["outside"]["rights at the broker"], rights);

    allow(r"^nightread(\.(delay|quarantine|dead))?$", r"^nightread\.jobs\.(ingest|bulk)$").await;
    let (code, answer) = check(&settings, &[]);
    let told = problems(&answer);
    assert_eq!(code, Some(1), "{answer:#}");
    for missing in [
        "consume from queue nightread.jobs.volumes",
        "consume from queue nightread.jobs.quarantine",
        "publish to exchange nightread.results",
    ] {
        assert!(told.contains(missing), "{missing}: {told}");
    }
    for there in ["jobs.ingest", "jobs.bulk", "exchange nightread.dead", "exchange nightread,"] {
        assert!(!told.contains(there), "{there}: {told}");
    }
    // Who announces needs one right alone.
    assert_eq!(check(&settings, &["--for", "announce"]).0, Some(0));
    allow(r"^nightread\.results$", "^$").await;
    let (code, answer) = check(&settings, &["--for", "announce"]);
    assert!(code == Some(1) && problems(&answer).contains("publish to exchange nightread;"), "{answer:#}");

    for queue in topology::queues() {
        let expected = u32::from(queue == topology::lane_queue(Lane::Ingest));
        assert_eq!(observer.depth(&queue).await, expected, "{queue}");
    }
    let queue = topology::lane_queue(Lane::Ingest);
    let got =
        observer.channel().basic_get(queue.into(), BasicGetOptions::default()).await.expect("an answer");
    let delivery = got.expect("the message").delivery;
    assert!(!delivery.redelivered, "it was in nobody's hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_but_not_of_the_service_itself() {
    let test = "a_port_that_is_taken_is_said_but_not_of_the_service_itself";
    let Some(bench) = Bench::shared(test).await else { return };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let settings = bench.settings().with("NIGHTREAD_HTTP_LISTEN", &address);
    let (code, answer) = check(&settings, &["--for", "run"]);
    let told = problems(&answer);
    assert_eq!(code, Some(1), "{answer:#}");
    assert!(told.contains(&format!("health endpoints at {address}")), "{told}");
    assert!(told.contains("Address already in use"), "{told}");
    assert_eq!(check(&settings, &["--for", "announce"]).0, Some(0), "it listens nowhere");
    let hooked = bench
        .settings()
        .with("NIGHTREAD_WEBHOOK_TOKEN", "a-token-for-the-tests-only")
        .with("NIGHTREAD_WEBHOOK_LISTEN", &address);
    let (code, answer) = check(&hooked, &["--for", "webhook"]);
    assert!(code == Some(1) && problems(&answer).contains(&format!("webhook at {address}")), "{answer:#}");
    drop(taken);
    assert_eq!(check(&settings, &["--for", "run"]).0, Some(0));

    let worker = bench.start();
    worker.ready().await;
    let address = format!("127.0.0.1:{}", worker.port());
    let (code, answer) = check(&settings.with("NIGHTREAD_HTTP_LISTEN", &address), &["--for", "run"]);
    assert_eq!(code, Some(0), "{answer:#}");
    let said = &answer["outside"][format!("health endpoints at {address}")];
    assert_eq!(said, "taken by a Nightread that runs here");
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_monitor_answers_or_is_named_and_is_sent_nothing() {
    let test = "azure_monitor_answers_or_is_named_and_is_sent_nothing";
    if !Worker::is_built(test) {
        return;
    }
    let Some(rabbit) = Rabbit::managed(test).await else { return };
    let options = rabbit.declared().await;
    let azure = ScriptedServer::start(|asked| {
        let token =
            r#"{"access_token":"TOKEN","expires_on":"4102444800","resource":"r","token_type":"Bearer"}"#;
        if asked.path.starts_with("/identity") { Answer::new(200, token) } else { Answer::new(405, "") }
    })
    .await;
    let refusing = ScriptedServer::start(|_| {
        Answer::new(400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#)
    })
    .await;
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/w";
    let settings = |endpoint: &str, identity: &str| {
        WorkerSettings::new(&options.url)
            .with("NIGHTREAD_BACKLOG_MANAGEMENT_URL", &rabbit.management_url().expect("a plug-in"))
            .with("NIGHTREAD_BACKLOG_RESOURCE_ID", resource)
            .with("NIGHTREAD_BACKLOG_ENDPOINT", endpoint)
            .with("IDENTITY_ENDPOINT", &format!("{identity}/identity"))
            .with("IDENTITY_HEADER", "header")
    };
    let (code, answer) = check(&settings(&azure.url(), &azure.url()), &[]);
    assert_eq!((code, &answer["for"][0]), (Some(0), &Value::from("backlog")), "{answer:#}");
    let said = answer["outside"]["Azure Monitor"].as_str().expect("it was looked at");
    assert!(said.starts_with("answers (405)"), "{said}");
    assert_eq!(
        answer["outside"]["rights at the broker"],
        "may consume (queues: 1) and publish (exchanges: 1)"
    );
    assert_eq!(azure.asked_by("POST").len(), 0, "nothing is published");

    let closed = free_port();
    let away = settings(&format!("http://127.0.0.1:{closed}"), &azure.url());
    let (code, answer) = check(&away, &[]);
    let told = problems(&answer);
    assert_eq!(code, Some(1), "{answer:#}");
    let named = format!("Azure Monitor at 127.0.0.1:{closed} does not answer");
    assert!(told.contains(&named) && told.contains("Connection refused"), "{told}");
    let (code, answer) = check(&settings(&azure.url(), &refusing.url()), &[]);
    let told = problems(&answer);
    assert!(
        code == Some(1) && told.contains("Azure Monitor") && told.contains("Identity not found"),
        "{told}"
    );
    let unseen = ScriptedServer::start(|_| Answer::new(200, "")).await;
    let (_, answer) = check(&settings(&unseen.url(), &azure.url()), &["--for", "announce"]);
    assert!(answer["outside"]["Azure Monitor"].is_null() && unseen.asked().is_empty(), "{answer:#}");
}

/// A receiver that lets us in, one that wants a metric, one that lets nobody in, and one that is away; nothing is written to any.
#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_of_metrics_lets_us_in_or_is_named_and_is_written_nothing() {
    let test = "the_receiver_of_metrics_lets_us_in_or_is_named_and_is_written_nothing";
    let Some(bench) = Bench::shared(test).await else { return };
    let receiver = ScriptedServer::start(|asked| match asked.path.as_str() {
        "/takes" => Answer::new(204, ""),
        "/wants-one" => Answer::new(400, "no samples"),
        _ => Answer::new(403, "no such rule"),
    })
    .await;
    let with = |url: &str| bench.settings().with("NIGHTREAD_METRICS_WRITE_URL", url);
    for (path, status) in [("takes", 204), ("wants-one", 400)] {
        let (code, answer) = check(&with(&format!("{}/{path}", receiver.url())), &[]);
        assert_eq!(code, Some(0), "{answer:#}");
        let said = format!("lets us in and answers ({status}) to a write of nothing");
        assert_eq!(answer["outside"]["receiver of metrics"], said);
    }
    // The empty message as Snappy has it: its length, which is none.
    assert!(receiver.asked_by("POST").iter().all(|asked| asked.body == "\0"), "something was written");

    let (code, answer) = check(&with(&format!("{}/refuses", receiver.url())), &[]);
    let told = problems(&answer);
    assert_eq!(code, Some(1), "{answer:#}");
    assert!(told.contains("receiver of metrics") && told.contains("Monitoring Metrics Publisher"), "{told}");
    let (code, answer) = check(&with(&format!("http://127.0.0.1:{}/away", free_port())), &[]);
    let told = problems(&answer);
    assert!(code == Some(1) && told.contains("the receiver of metrics does not answer"), "{told}");

    // Who writes no metrics is not asked.
    let asked = receiver.asked().len();
    let (_, answer) = check(&with(&format!("{}/refuses", receiver.url())), &["--for", "announce"]);
    assert!(answer["outside"]["receiver of metrics"].is_null(), "{answer:#}");
    assert_eq!(receiver.asked().len(), asked);
}
