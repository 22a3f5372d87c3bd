//! One announcement that several models read: each has its own result, and the delivery waits for all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use nightread::adapters::amqp::topology;
use nightread_domain::retry::Delay;
use nightread_domain::{BlobRef, ErrorCode, Lane};
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::root;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings, binary};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Puts a network of the engine's tests into a folder of models, as the one-node model is described.
fn add(models: &Path, name: &str, network: &Path) {
    let weights = std::fs::read(network).expect("the network");
    let described = root().join("tests/fixtures/models/one-node");
    let manifest = std::fs::read_to_string(described.join("manifest.toml")).expect("a manifest");
    let old = manifest.lines().find(|line| line.starts_with("sha256")).expect("a digest");
    let digest = format!("sha256 = \"{}\"", hex::encode(Sha256::digest(&weights)));
    let manifest =
        manifest.replace(old, &digest).replace("name = \"one-node\"", &format!("name = \"{name}\""));
    let model = models.join(name);
    std::fs::create_dir_all(&model).expect("a folder");
    std::fs::write(model.join("model.onnx"), weights).expect("written");
    std::fs::write(model.join("manifest.toml"), manifest).expect("written");
    std::fs::copy(described.join("README.md"), model.join("README.md")).expect("copied");
}

/// Settings of a worker whose one route names these models: `dark` cannot read what is dark, `hungry` breaks the engine over what
/// is white, others are the one-node model.
fn reading_with(bench: &Bench, names: &[&str]) -> WorkerSettings {
    let models = bench.folder.path().join("models");
    for name in names {
        let network = match *name {
            "dark" | "hungry" => root().join(format!("worker/crates/engine/tests/models/{name}.onnx")),
            _ => root().join("tests/fixtures/models/one-node/model.onnx"),
        };
        add(&models, name, &network);
    }
    let file = bench.folder.path().join("worker.toml");
    std::fs::write(&file, format!("[[routes]]\ntask = \"radiograph\"\nmodels = {names:?}\n"))
        .expect("written");
    bench
        .settings()
        .with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"))
        .with("NIGHTREAD_CONFIG", file.to_str().expect("a UTF-8 path"))
}

async fn result(bench: &Bench, model: &str, name: &str) -> Value {
    let asked = || bench.result_of(model, "1.0.0-fp32", name);
    wait::until(&format!("the result of {name} by {model}"), asked).await
}

/// A document of a form that this worker does not know, where a model's would lie: that one waits for a newer worker.
async fn hold(bench: &Bench, model: &str, name: &str) {
    let newer = json!({"schema": "nightread.result.v3", "status": "ok", "study": {"name": name}});
    bench.direct.put(&place(bench, model, name), newer.to_string().into()).await.expect("planted");
}

async fn let_go(bench: &Bench, model: &str, name: &str) {
    bench.direct.delete(&place(bench, model, name)).await.expect("deleted");
}

fn place(bench: &Bench, model: &str, name: &str) -> BlobRef {
    let path = format!("{model}/1.0.0-fp32/{}/{name}.json", bench.incoming);
    BlobRef::new(bench.results.as_str(), path).expect("a name")
}

async fn inferences(worker: &Worker) -> u32 {
    worker.metric("nightread_batch_items_total", "").await as u32
}

/// Requests for a blob's bytes and properties, as the proxy saw them.
fn requests(bench: &Bench, name: &str) -> u64 {
    bench.proxy.requests_of(&format!("{}/{name}", bench.incoming))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_model_beside_a_good_one_stops_nobody_and_the_blob_is_fetched_once() {
    let test = "a_broken_model_beside_a_good_one_stops_nobody_and_the_blob_is_fetched_once";
    let Some(bench) = Bench::shared(test).await else { return };
    let worker = bench.start_with(&reading_with(&bench, &["dark", "one-node"]));
    worker.ready().await;
    bench.upload("night.png", grey(10, 64, 1)).await;
    bench.upload("day.png", grey(200, 64, 2)).await;
    bench.upload("alone.png", grey(201, 64, 3)).await;
    for name in ["night.png", "day.png"] {
        bench.announce(Lane::Ingest, name).await;
    }
    let broken = result(&bench, "dark", "night.png").await;
    assert_eq!(
        (&broken["status"], &broken["error"]["code"]),
        (&json!("failed"), &json!("scores_not_finite"))
    );
    let good = result(&bench, "one-node", "night.png").await;
    assert_eq!(good["status"], "ok", "{good}");
    for model in ["dark", "one-node"] {
        let read = result(&bench, model, "day.png").await;
        assert_eq!((&read["status"], &read["model"]["name"]), (&json!("ok"), &json!(model)), "{read}");
    }
    bench.settled(&[&worker], wait::patience()).await;
    assert!(bench.dead().await.is_empty(), "a failed-document tells it");

    // As often as for one model that is named.
    let alone = json!({"blob": format!("{}/alone.png", bench.incoming), "model": "one-node"});
    bench.publish(Lane::Ingest, "alone", alone.to_string()).await;
    result(&bench, "one-node", "alone.png").await;
    bench.settled(&[&worker], wait::patience()).await;
    assert_eq!(
        bench.result_of("dark", "1.0.0-fp32", "alone.png").await,
        None,
        "a named model is the only one"
    );
    let asked = requests(&bench, "alone.png");
    assert!(asked > 0);
    assert_eq!((requests(&bench, "night.png"), requests(&bench, "day.png")), (asked, asked));

    // Announced anew, all is there.
    let before = inferences(&worker).await;
    bench.announce(Lane::Ingest, "night.png").await;
    wait::until("it to be met", || async {
        (worker.metric("nightread_messages_total", "done").await as u32 == 4).then_some(())
    })
    .await;
    assert_eq!(inferences(&worker).await, before);
    let counted = async |label: &str| worker.metric("nightread_jobs_total", label).await as u32;
    assert_eq!(counted("model=\"dark\"").await, 3, "each model's part is counted");
    assert_eq!(counted("model=\"one-node\"").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_two_stores_leaves_one_and_its_heir_makes_only_the_other() {
    let test = "a_worker_killed_between_two_stores_leaves_one_and_its_heir_makes_only_the_other";
    let Some(bench) = Bench::shared(test).await else { return };
    let settings = reading_with(&bench, &["first", "second"]);
    bench.upload("a.png", grey(200, 64, 1)).await;
    let mut doomed = bench.start_with(&settings.clone().with("NIGHTREAD_WORKER_FAILPOINT", "after_store"));
    bench.announce(Lane::Ingest, "a.png").await;
    assert!(!doomed.ended().await.success(), "it aborts when the first is stored");
    let stored = result(&bench, "first", "a.png").await;
    assert_eq!(bench.result_of("second", "1.0.0-fp32", "a.png").await, None);
    bench.observer().await.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;

    let heir = bench.start_with(&settings);
    let made = result(&bench, "second", "a.png").await;
    bench.settled(&[&heir], wait::patience()).await;
    assert_eq!(made["status"], "ok");
    assert_eq!(result(&bench, "first", "a.png").await, stored, "what was stored stays as it was");
    assert_eq!(
        heir.metric("nightread_stage_seconds_count", "infer").await as u32,
        1,
        "only what was missing"
    );
    let met = heir.metric("nightread_jobs_total", "outcome=\"already_done\"").await as u32;
    let read = heir.metric("nightread_jobs_total", "outcome=\"read\"").await as u32;
    assert_eq!((met, read), (1, 1));
    assert!(bench.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_for_one_or_all_models_comes_again_and_runs_only_what_is_missing() {
    let test = "what_may_pass_for_one_or_all_models_comes_again_and_runs_only_what_is_missing";
    let Some(bench) = Bench::shared(test).await else { return };
    for (number, name) in ["one.png", "all.png"].into_iter().enumerate() {
        bench.upload(name, grey(200, 64, number)).await;
    }
    hold(&bench, "second", "one.png").await;
    for model in ["first", "second"] {
        hold(&bench, model, "all.png").await;
    }
    let worker = bench.start_with(&reading_with(&bench, &["first", "second"]));
    worker.ready().await;
    let before = inferences(&worker).await;
    bench.announce(Lane::Ingest, "one.png").await;
    bench.announce(Lane::Ingest, "all.png").await;
    let stored = result(&bench, "first", "one.png").await;
    assert_eq!(stored["status"], "ok");
    // Each once: on their way through the shortest delay.
    bench.observer().await.wait_for_depth(&topology::delay_queue(Delay::Seconds5), 2).await;
    assert_eq!(inferences(&worker).await - before, 1, "nothing is read for a model that cannot store");
    let unfinished = worker.metric("nightread_jobs_total", "outcome=\"unfinished\"").await as u32;
    assert_eq!(unfinished, 3);

    let held = [("second", "one.png"), ("first", "all.png"), ("second", "all.png")];
    for (model, name) in held {
        let_go(&bench, model, name).await;
    }
    for (model, name) in held {
        assert_eq!(result(&bench, model, name).await["status"], "ok");
    }
    bench.settled(&[&worker], wait::patience()).await;
    assert_eq!(inferences(&worker).await - before, 4, "each model read each image once");
    assert_eq!(result(&bench, "first", "one.png").await, stored);
    assert!(bench.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_names_the_models_that_failed_and_a_redrive_runs_only_those() {
    let test = "a_dead_letter_names_the_models_that_failed_and_a_redrive_runs_only_those";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("a.png", grey(200, 64, 1)).await;
    for model in ["second", "third"] {
        hold(&bench, model, "a.png").await;
    }
    let settings = reading_with(&bench, &["first", "second", "third"]).with("NIGHTREAD_LIMITS_ATTEMPTS", "1");
    let worker = bench.start_with(&settings);
    worker.ready().await;
    bench.announce(Lane::Ingest, "a.png").await;
    let stored = result(&bench, "first", "a.png").await;
    bench.observer().await.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let dead = bench.dead().await;
    assert_eq!(dead[0].code, ErrorCode::ResultNewerSchema);
    let reason = dead[0].reason.clone().expect("a reason");
    assert!(reason.contains("second: ") && reason.contains("; result_newer_schema: third: "), "{reason}");
    assert!(!reason.contains("first: "), "{reason}");

    for model in ["second", "third"] {
        let_go(&bench, model, "a.png").await;
    }
    let before = inferences(&worker).await;
    let mut redrive = std::process::Command::new(binary());
    redrive.args(["dead", "redrive", "--all"]).env("NIGHTREAD_BROKER_URL", &bench.options.url);
    let redriven =
        tokio::task::spawn_blocking(move || redrive.output().expect("it starts")).await.expect("ends");
    assert!(redriven.status.success(), "{}", String::from_utf8_lossy(&redriven.stderr));
    for model in ["second", "third"] {
        assert_eq!(result(&bench, model, "a.png").await["status"], "ok");
    }
    bench.settled(&[&worker], wait::patience()).await;
    assert_eq!(inferences(&worker).await - before, 2);
    assert_eq!(result(&bench, "first", "a.png").await, stored);
    assert!(bench.dead().await.is_empty());
}

/// The one that breaks the engine comes first, and takes the process with it each time: the other has its turn with the next
/// delivery.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_ends_every_worker_does_not_keep_another_from_its_result() {
    let test = "a_model_that_ends_every_worker_does_not_keep_another_from_its_result";
    let Some(bench) = Bench::shared(test).await else { return };
    let settings = reading_with(&bench, &["hungry", "one-node"]);
    bench.upload("white.png", grey(255, 64, 1)).await;
    bench.announce(Lane::Ingest, "white.png").await;
    let mut starts = 0;
    let letter = loop {
        starts += 1;
        assert!(starts < 12, "it is given up at last");
        let mut worker = bench.start_with(&settings);
        let (ended, dead) = (worker.ended(), bench.observer().await);
        tokio::select! {
            status = ended => assert_eq!(status.code(), Some(1)),
            () = dead.wait_for_depth(topology::DEAD_QUEUE, 1) => break bench.dead().await.remove(0),
        }
    };
    assert_eq!(letter.code, ErrorCode::ExceedsMemory, "{:?}", letter.reason);
    let good = result(&bench, "one-node", "white.png").await;
    assert_eq!(good["status"], "ok", "{good}");
    assert_eq!(bench.result_of("hungry", "1.0.0-fp32", "white.png").await, None);
}
