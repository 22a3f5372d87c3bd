//! What breaks under a worker that stands: a right at the broker, its engine. `/ready` says it, and no study is blamed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::root;
use nightread_tests::proxy::Method;
use nightread_tests::rabbit::Rabbit;
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use sha2::{Digest, Sha256};

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_take_that_is_revoked_is_told_with_the_next_session_and_loses_nothing() {
    let test = "a_right_to_take_that_is_revoked_is_told_with_the_next_session_and_loses_nothing";
    let (Some(rabbit), Some(azurite)) = (Rabbit::shared(test).await, Azurite::shared(test).await) else {
        return;
    };
    if !Worker::is_built(test) {
        return;
    }
    let bench = Bench::over(test, rabbit, azurite).await;
    let virtual_host = bench.options.url.rsplit('/').next().expect("a virtual host");
    let user = format!("worker-{virtual_host}");
    let url = bench.options.url.replace("guest:guest", &format!("{user}:secret"));
    let worker = bench.start_with(&bench.settings().with("NIGHTREAD_BROKER_URL", &url));
    worker.ready().await;
    let may_read = async |what: &str| {
        rabbit.control(&["set_permissions", "-p", virtual_host, &user, ".*", ".*", what]).await;
    };
    let announced = async |name: &str, value: u8| {
        bench.upload(name, grey(value, 64, value.into())).await;
        bench.announce(Lane::Ingest, name).await;
    };

    // RabbitMQ asks for the right when a consumer begins: one that stands is served as before.
    may_read("^$").await;
    announced("a.png", 1).await;
    assert_eq!(bench.wait_for_result("a.png").await["status"], "ok");
    worker.ready().await;

    rabbit.control(&["close_all_user_connections", &user, "the right was revoked"]).await;
    let waiting = worker.says("ACCESS_REFUSED").await;
    assert!(waiting.starts_with("broker: cannot consume from nightread.jobs."), "{waiting}");
    announced("b.png", 2).await;
    let observer = bench.observer().await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
    // Sessions that open and may not take come and go meanwhile, and none looks like a sound one.
    for _ in 0..40 {
        let waiting = worker.waiting_for().await.expect("it is never ready in between");
        assert!(waiting.starts_with("broker"), "{waiting}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    may_read(".*").await;
    worker.ready().await;
    assert_eq!(bench.wait_for_result("b.png").await["status"], "ok");
    bench.settled(&[&worker], wait::patience()).await;
    assert_eq!(bench.dead().await.len(), 0, "nobody is blamed");
}

/// A folder of models with one whose network asks for more memory than there can be when an image begins white.
fn hungry_models(folder: &Path) {
    let weights = root().join("worker/crates/engine/tests/models/hungry.onnx");
    let weights = std::fs::read(weights).expect("the network");
    let sound = root().join("tests/fixtures/models/one-node");
    let manifest = std::fs::read_to_string(sound.join("manifest.toml")).expect("a manifest");
    let old = manifest.lines().find(|line| line.starts_with("sha256")).expect("a digest");
    let digest = format!("sha256 = \"{}\"", hex::encode(Sha256::digest(&weights)));
    let manifest = manifest.replace(old, &digest).replace("name = \"one-node\"", "name = \"hungry\"");
    let model = folder.join("hungry");
    std::fs::create_dir_all(&model).expect("a folder");
    std::fs::write(model.join("model.onnx"), weights).expect("written");
    std::fs::write(model.join("manifest.toml"), manifest).expect("written");
    std::fs::copy(sound.join("README.md"), model.join("README.md")).expect("copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_go_on_is_told_and_ends_the_worker_and_blames_no_study() {
    let test = "an_engine_that_cannot_go_on_is_told_and_ends_the_worker_and_blames_no_study";
    let Some(bench) = Bench::shared(test).await else { return };
    let models = bench.folder.path().join("models");
    hungry_models(&models);
    let settings = bench.settings().with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"));
    let mut worker = bench.start_with(&settings);
    worker.ready().await;
    // One in flight that cannot end yet holds the worker while it stops.
    let gate = bench.proxy.gate(Method::PUT, &bench.results);
    bench.upload("calm.png", grey(100, 64, 1)).await;
    bench.announce(Lane::Ingest, "calm.png").await;
    gate.reached(1).await;
    bench.upload("white.png", grey(255, 64, 2)).await;
    bench.announce(Lane::Ingest, "white.png").await;
    let waiting = worker.says("stopping: ").await;
    assert!(waiting.contains("Failed to allocate memory") && waiting.contains("memory_refused"), "{waiting}");
    gate.open();
    let status = worker.ended().await;
    assert_eq!(status.code(), Some(1), "a supervisor starts it again");
    assert!(worker.log().contains("memory_refused"), "{}", worker.log());

    let result = async |name| bench.result_of("hungry", "1.0.0-fp32", name).await;
    assert_eq!(result("calm.png").await.expect("stored")["status"], "ok");
    assert_eq!(result("white.png").await, None, "a machine without memory is no study's fault");
    assert_eq!(bench.dead().await.len(), 0);
    // It may have been this study all the same: the next worker reads it alone.
    bench.observer().await.wait_for_depth(topology::QUARANTINE_QUEUE, 1).await;
}
