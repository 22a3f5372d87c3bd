//! `/ready` says of everything that makes a worker useless that it does, and says when it is over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use futures::StreamExt;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::{Ending, free_port, fresh_name, skipped};
use nightread_tests::proxy::Method;
use nightread_tests::queues;
use nightread_tests::rabbit::{Observer, Rabbit, options};
use nightread_tests::server::get;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings, runtime};

async fn says(worker: &Worker, reason: &str) -> String {
    worker.says(reason).await
}

/// A library that is ONNX Runtime as soon as the file `gate` is there. Models that are opened in a moment are never seen waiting.
fn runtime_behind(gate: &Path, folder: &Path) -> String {
    let (source, library) = (folder.join("gate.c"), folder.join("libonnxruntime_behind_a_gate.so"));
    let code = r#"
#include <dlfcn.h>
#include <unistd.h>
const void *OrtGetApiBase(void) {
    while (access(GATE, F_OK)) usleep(1000);
    const void *(*real)(void) = (const void *(*)(void))dlsym(dlopen(RUNTIME, RTLD_NOW), "OrtGetApiBase");
    return real();
}
"#;
    std::fs::write(&source, code).expect("written");
    let runtime = runtime().expect("a worker that is built has its runtime");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg(format!("-DGATE=\"{}\"", gate.display()))
        .arg(format!("-DRUNTIME=\"{}\"", runtime.display()))
        .status()
        .expect("the build needs a C compiler too");
    assert!(built.success());
    library.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_measuring_and_storage_that_does_not_let_it_in_are_waited_for() {
    let test = "models_and_measuring_and_storage_that_does_not_let_it_in_are_waited_for";
    let Some(bench) = Bench::shared(test).await else { return };
    let missing = fresh_name("later");
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("open");
    let settings = bench
        .settings()
        .with("NIGHTREAD_ENGINE_SESSIONS", "auto")
        .with("NIGHTREAD_MODELS_RUNTIME", &runtime_behind(&gate, folder.path()))
        .with("NIGHTREAD_SOURCES_CONTAINERS", &missing);
    let worker = bench.start_with(&settings);
    assert_eq!(says(&worker, "models").await, "models");
    std::fs::write(&gate, "").expect("written");
    let waiting = says(&worker, "storage: ").await;
    assert!(waiting.contains(&missing) && !waiting.contains("models"), "{waiting}");
    bench.direct.create_container(&missing).await.expect("a container");
    worker.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_or_lacks_a_queue_is_waited_for_and_its_words_are_told() {
    let test = "a_broker_that_is_away_or_lacks_a_queue_is_waited_for_and_its_words_are_told";
    let Some(mut rabbit) = Rabbit::start(None).await else { return skipped(test, "RabbitMQ") };
    if !Worker::is_built(test) {
        return;
    }
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let worker = Worker::start(&WorkerSettings::new(&options.url).folder(folder.path()), folder.path());
    worker.ready().await;
    rabbit.pause(Ending::Kill);
    let waiting = says(&worker, "broker: cannot connect to the broker at 127.0.0.1:").await;
    assert!(!waiting.contains("guest"), "{waiting}");
    rabbit.resume().await;
    worker.ready().await;
    // A lane is gone: a session that cannot consume is no session.
    let observer = Observer::connect(&options.url).await;
    let lane = topology::lane_queue(Lane::Bulk);
    observer
        .channel()
        .queue_delete(lane.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    says(&worker, "nightread.jobs.bulk").await;
    // Sessions that open and cannot consume come and go meanwhile.
    for _ in 0..40 {
        let waiting = worker.waiting_for().await.expect("it is never ready in between");
        assert!(waiting.starts_with("broker"), "{waiting}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    topology::declare(&options).await.expect("declared");
    worker.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_is_not_ready() {
    let Some(bench) = Bench::shared("a_worker_that_stops_is_not_ready").await else { return };
    let mut worker = bench.start();
    worker.ready().await;
    bench.upload("a.png", grey(1, 64, 1)).await;
    let gate = bench.proxy.gate(Method::PUT, &bench.results);
    bench.announce(Lane::Ingest, "a.png").await;
    gate.reached(1).await;
    worker.terminate();
    says(&worker, "stopping").await;
    gate.open();
    assert!(worker.ended().await.success());
    assert_eq!(bench.result("a.png").await.expect("stored")["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_events_the_broker_does_not_take_is_not_ready() {
    let test = "a_relay_whose_events_the_broker_does_not_take_is_not_ready";
    let Some((queue, settings, observer)) = queues::bench(test).await else { return };
    let deleted = observer.channel().exchange_delete(topology::JOBS.into(), ExchangeDeleteOptions::default());
    deleted.await.expect("deleted");
    queue.main.put(&queues::event("a.png").to_string()).await.expect("put");
    let port = free_port();
    let mut relay = queues::serve_at(port, &settings, "relay");
    let ready = async || get(&format!("http://127.0.0.1:{port}/ready")).await;
    wait::until("the relay to say why", || async {
        let answer = ready().await?;
        (answer.starts_with("HTTP/1.1 503") && answer.contains("publishing: ")).then_some(())
    })
    .await;
    let told = get(&format!("http://127.0.0.1:{port}/metrics")).await.expect("an answer");
    assert!(!told.contains("nightread_publish_failures_total 0"), "{told}");
    topology::declare(&options(settings.broker_url())).await.expect("declared");
    wait::until("the relay to be ready", || async {
        ready().await.filter(|answer| answer.starts_with("HTTP/1.1 200"))
    })
    .await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
    relay.kill().expect("killed");
    relay.wait().expect("a child");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_machine_and_its_settings_but_for_the_address() {
    let test = "two_workers_share_a_machine_and_its_settings_but_for_the_address";
    let Some(bench) = Bench::shared(test).await else { return };
    let first = bench.start();
    first.ready().await;
    // The same file and nothing else: it ends at once, and says which setting.
    let mut same = bench.settings().command(&["run"]);
    let listen = format!("127.0.0.1:{}", first.port());
    let refused = same.env("NIGHTREAD_HTTP_LISTEN", &listen).output().expect("it runs");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && told.contains("[http] listen"), "{told}");
    let second = bench.start();
    second.ready().await;
    for number in 0..60_usize {
        bench.upload(&format!("{number}.png"), grey(number as u8, 256, number)).await;
    }
    let announced = bench.settings().command(&["announce", "--lane", "ingest"]).output().expect("it runs");
    assert!(announced.status.success(), "{}", String::from_utf8_lossy(&announced.stderr));
    for number in 0..60 {
        bench.wait_for_result(&format!("{number}.png")).await;
    }
    bench.settled(&[&first, &second], wait::patience()).await;
    let read = r#"outcome="read""#;
    let counts =
        [first.metric("nightread_jobs_total", read).await, second.metric("nightread_jobs_total", read).await];
    assert!(
        counts.iter().all(|count| *count > 0.5) && (counts[0] + counts[1] - 60.0).abs() < 0.5,
        "{counts:?}"
    );
    let results = bench.direct.list(&bench.results, "").expect("a listing").count().await;
    assert_eq!(results, 60);
}
