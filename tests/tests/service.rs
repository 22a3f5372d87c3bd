//! `nightread run` as a process, with a real broker and a real Azurite: what a crash, a race or a stranger may do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use nightread::adapters::amqp::topology;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, Lane};
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::images::{grey, logit, result_name};
use nightread_tests::parts::{Ending, free_port, skipped};
use nightread_tests::proxy::Method;
use nightread_tests::rabbit::Rabbit;
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use serde_json::json;

/// Long enough for the delay queues of five and thirty seconds.
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_announcement_ends_in_a_result() {
    let Some(bench) = Bench::shared("every_form_of_announcement_ends_in_a_result").await else { return };
    for (number, name) in
        ["native.png", "grid.png", "cloud.png", "first.png", "second.png"].into_iter().enumerate()
    {
        bench.upload(name, grey(number as u8 * 50, 64, number)).await;
    }
    let worker = bench.start();
    bench.announce(Lane::Ingest, "native.png").await;
    bench.publish(Lane::Bulk, "grid", bench.event_grid("grid.png")).await;
    let cloud = |name: &str| {
        let event: serde_json::Value = serde_json::from_str(&bench.event_grid(name)).expect("JSON");
        json!({"specversion": "1.0", "id": name, "source": "/s", "type": "Microsoft.Storage.BlobCreated",
            "data": event[0]["data"]})
    };
    bench.publish(Lane::Volumes, "cloud", cloud("cloud.png").to_string()).await;
    let batch = json!([cloud("first.png"), {"bad": true}, cloud("second.png")]);
    bench.publish(Lane::Ingest, "batch", batch.to_string()).await;
    for (number, name) in
        ["native.png", "grid.png", "cloud.png", "first.png", "second.png"].into_iter().enumerate()
    {
        let result = bench.wait_for_result(name).await;
        assert_eq!(result["status"], "ok", "{result}");
        let read = result["findings"][0]["logit"].as_f64().expect("a number");
        assert!((read - logit(number as u8 * 50)).abs() < 1.0, "{name}: {read}");
    }
    bench.settled(&[&worker], PATIENCE).await;
    let dead = bench.dead().await;
    assert_eq!(dead.len(), 1, "one bad event takes no other with it");
    assert_eq!(dead[0].code, ErrorCode::MessageUnparseable);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_are_refused_counted_and_never_followed() {
    let Some(bench) = Bench::shared("hostile_messages_are_refused_counted_and_never_followed").await else {
        return;
    };
    bench.upload("good.png", grey(9, 64, 0)).await;
    let worker = bench.start();
    // A server that nobody must ever call.
    let trap = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let trap_port = trap.local_addr().expect("an address").port();
    let account = format!("http://127.0.0.1:{}/devstoreaccount1", bench.proxy.port());
    let by_url = |url: String| {
        json!([{"id": "x", "eventType": "Microsoft.Storage.BlobCreated", "data": {"url": url}}]).to_string()
    };
    let incoming = &bench.incoming;
    let hostile = [
        by_url(format!("http://127.0.0.1:{trap_port}/devstoreaccount1/{incoming}/good.png")),
        by_url(format!(
            "http://{}@127.0.0.1:{trap_port}/{incoming}/good.png",
            account.trim_start_matches("http://")
        )),
        by_url(format!("{account}/{incoming}/../{}/x", bench.results)),
        by_url(format!("{account}/{incoming}/%2e%2e/{}/x", bench.results)),
        by_url(format!("{account}/{incoming}/%2e%2e%2fx")),
        by_url(format!("{account}/{incoming}/good.png?sig=x")),
        by_url("file:///etc/passwd".to_owned()),
        json!({"blob": "secrets/x"}).to_string(),
        json!({"blob": format!("{incoming}/../x")}).to_string(),
    ];
    let garbage = ["", "null", "[]", "{", "\u{0}", r#"{"blob": 7}"#, r#"{"blob": "in/x", "more": 1}"#];
    for (number, body) in hostile.iter().enumerate() {
        bench.publish(Lane::Ingest, &format!("hostile {number}"), body.clone()).await;
    }
    for (number, body) in garbage.iter().enumerate() {
        bench.publish(Lane::Bulk, &format!("garbage {number}"), *body).await;
    }
    bench.publish(Lane::Ingest, "huge", vec![b' '; 10_000_000]).await;
    // Our own results announce themselves too; they are no job and no crime.
    bench
        .publish(Lane::Ingest, "own", json!({"blob": format!("{}/x.json", bench.results)}).to_string())
        .await;
    let deleted = json!({"specversion": "1.0", "id": "gone", "source": "/s", "data": {},
        "type": "Microsoft.Storage.BlobDeleted"});
    bench.publish(Lane::Ingest, "gone", deleted.to_string()).await;
    bench.announce(Lane::Ingest, "good.png").await;
    bench.wait_for_result("good.png").await;
    bench.settled(&[&worker], PATIENCE).await;
    for kind in ["own_result", "Microsoft.Storage.BlobDeleted"] {
        let told = format!("\"event_type\":\"{kind}\"");
        assert!(worker.log().contains(&told), "what is acknowledged without work leaves a line: {kind}");
    }
    let mut codes = BTreeMap::new();
    for letter in bench.dead().await {
        *codes.entry(letter.code).or_insert(0) += 1;
    }
    let expected = [
        (ErrorCode::SourceNotAllowed, hostile.len()),
        (ErrorCode::MessageUnparseable, garbage.len()),
        (ErrorCode::MessageTooLarge, 1),
    ];
    assert_eq!(codes, BTreeMap::from(expected));
    let called = tokio::time::timeout(Duration::from_millis(200), trap.accept()).await;
    assert!(called.is_err(), "no URL of a message is followed");
    assert_eq!(worker.metric("nightread_events_ignored_total", "own_result").await as u32, 1);
    let refused = worker.metric("nightread_messages_total", "dead_lettered").await as usize;
    assert_eq!(refused, hostile.len() + garbage.len() + 1, "each is counted");
}

/// A worker that was not upgraded yet, beside newer ones: their results must outlive it, and their jobs wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_a_newer_form_stays_and_its_job_waits_for_a_newer_worker() {
    let name = "a_result_of_a_newer_form_stays_and_its_job_waits_for_a_newer_worker";
    let Some(bench) = Bench::shared(name).await else { return };
    for name in ["newer.png", "plain.png"] {
        bench.upload(name, grey(9, 64, 0)).await;
    }
    let newer = json!({"schema": "nightread.result.v3", "status": "ok", "study": {"name": "newer.png"}});
    let newer = newer.to_string();
    let there =
        BlobRef::new(bench.results.as_str(), result_name(&bench.incoming, "newer.png")).expect("a name");
    bench.direct.put(&there, newer.clone().into()).await.expect("planted");
    let worker = bench.start();
    bench.announce(Lane::Ingest, "newer.png").await;
    bench.announce(Lane::Ingest, "plain.png").await;
    bench.wait_for_result("plain.png").await;
    // Twice refused: once on its way through the shortest delay, and now in the next.
    bench
        .observer()
        .await
        .wait_for_depth(&topology::delay_queue(nightread_domain::retry::Delay::Seconds30), 1)
        .await;
    let found = bench.direct.read(&there, 1 << 20).await.expect("storage answers").map(|(body, _)| body);
    assert_eq!(found.as_deref(), Some(newer.as_bytes()), "not a byte of it changed");
    assert!(bench.dead().await.is_empty());
    drop(worker);
}

/// Kills a worker at a named instant of its first job, then lets another finish.
async fn killed_at(failpoint: &str) {
    let Some(bench) = Bench::shared(&format!("killed_at_{failpoint}")).await else { return };
    bench.upload("a.png", grey(200, 64, 1)).await;
    let settings = bench.settings().with("NIGHTREAD_WORKER_FAILPOINT", failpoint);
    let mut doomed = bench.start_with(&settings);
    bench.announce(Lane::Ingest, "a.png").await;
    assert!(!doomed.ended().await.success(), "it aborts at {failpoint}");
    let stored = bench.result("a.png").await;
    assert_eq!(stored.is_some(), failpoint == "after_store");
    bench.observer().await.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
    let heir = bench.start();
    let result = bench.wait_for_result("a.png").await;
    bench.settled(&[&heir], PATIENCE).await;
    assert_eq!(result["status"], "ok");
    if let Some(stored) = stored {
        assert_eq!(bench.result("a.png").await, Some(stored), "the result that was stored stays as it was");
    }
    assert_eq!(bench.dead().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_the_download_loses_nothing() {
    killed_at("after_fetch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_the_inference_loses_nothing() {
    killed_at("after_infer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_store_and_acknowledge_doubles_nothing() {
    killed_at("after_store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_read_out_of_order_end_with_the_newer() {
    let Some(bench) = Bench::shared("two_versions_read_out_of_order_end_with_the_newer").await else {
        return;
    };
    bench.upload("a.png", grey(10, 64, 1)).await;
    // The first worker stands before the door with its reading of the old version in flight.
    let gate = bench.proxy.gate(Method::PUT, &bench.results);
    let slow = bench.start();
    bench.announce(Lane::Ingest, "a.png").await;
    gate.reached(1).await;
    // Last-Modified has seconds; the versions must lie in different ones to be told apart by time alone.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bench.upload("a.png", grey(240, 64, 2)).await;
    let azurite = Azurite::shared("").await.expect("it runs");
    let fast = bench.start_with(&bench.settings().azure(
        azurite.connection_string(),
        &bench.incoming,
        &bench.results,
    ));
    bench.announce(Lane::Ingest, "a.png").await;
    let newer = bench.wait_for_result("a.png").await;
    let read = newer["findings"][0]["logit"].as_f64().expect("a number");
    assert!((read - logit(240)).abs() < 1.0, "the newer version is read: {read}");
    gate.open();
    bench.settled(&[&slow, &fast], PATIENCE).await;
    assert_eq!(bench.result("a.png").await, Some(newer), "the older reading is dropped");
    assert_eq!(bench.dead().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_kills_every_worker_ends_as_worker_died_and_all_others_are_read() {
    let test = "an_image_that_kills_every_worker_ends_as_worker_died_and_all_others_are_read";
    let Some(bench) = Bench::shared(test).await else { return };
    for number in 0..20 {
        bench.upload(&format!("{number}.png"), grey(number, 64, number.into())).await;
    }
    bench.upload("killer.png", grey(99, 64, 99)).await;
    let gate = bench.proxy.gate(Method::GET, &format!("{}/killer.png", bench.incoming));
    for number in 0..10 {
        bench.announce(Lane::Ingest, &format!("{number}.png")).await;
    }
    bench.announce(Lane::Ingest, "killer.png").await;
    for number in 10..20 {
        bench.announce(Lane::Ingest, &format!("{number}.png")).await;
    }
    // Whoever downloads that image dies of it, as of a decoder's bug.
    for death in 1..=10 {
        let worker = bench.start();
        gate.reached(death).await;
        worker.kill();
    }
    let survivor = bench.start();
    for number in 0..20 {
        assert_eq!(bench.wait_for_result(&format!("{number}.png")).await["status"], "ok");
    }
    bench.settled(&[&survivor], PATIENCE).await;
    let dead = bench.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].code, ErrorCode::WorkerDied);
    assert_eq!(dead[0].message.attributes.message_id.as_deref(), Some("killer.png"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_storage_longer_than_the_brokers_patience_costs_no_attempt_and_no_image() {
    let test = "an_outage_of_storage_longer_than_the_brokers_patience_costs_no_attempt_and_no_image";
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::shared(test).await) else {
        return skipped(test, "RabbitMQ or Azurite");
    };
    if !Worker::is_built(test) {
        return;
    }
    // The broker takes back, with its channel, what is unacknowledged for so long.
    for setting in ["consumer_timeout, 8000", "channel_tick_interval, 1000"] {
        rabbit.control(&["eval", &format!("application:set_env(rabbit, {setting}).")]).await;
    }
    let bench = Bench::over(test, &rabbit, azurite).await;
    let worker = bench.start_with(&bench.settings().with("NIGHTREAD_STORAGE_RETRY_SECONDS", "1"));
    worker.ready().await;
    for number in 0..60_usize {
        bench.upload(&format!("{number}.png"), grey(number as u8, 64, number)).await;
    }
    bench.proxy.set_outage(true);
    for number in 0..60 {
        bench.announce(Lane::Bulk, &format!("{number}.png")).await;
    }
    wait::until("the breaker to open", || async {
        let ready = worker.get("/ready").await?;
        (ready.starts_with("HTTP/1.1 503") && ready.contains("storage: ")).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.dead().await.len(), 0);
    assert!(worker.get("/healthz").await.expect("an answer").contains("Healthy"), "alive all the while");
    bench.proxy.set_outage(false);
    for number in 0..60 {
        assert_eq!(bench.wait_for_result(&format!("{number}.png")).await["status"], "ok");
    }
    bench.settled(&[&worker], PATIENCE).await;
    assert_eq!(bench.dead().await.len(), 0);
    let sessions = worker.metric("nightread_broker_sessions_total", "").await;
    assert!((sessions - 1.0).abs() < 0.5, "the broker never lost patience: {sessions} sessions");
    let quarantine = worker.metric("nightread_messages_total", "quarantined").await;
    assert!(quarantine < 0.5, "nobody was quarantined for the outage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_outlives_its_broker() {
    let test = "a_worker_outlives_its_broker";
    let (Some(mut rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::shared(test).await) else {
        return skipped(test, "RabbitMQ or Azurite");
    };
    if !Worker::is_built(test) {
        return;
    }
    let bench = Bench::over(test, &rabbit, azurite).await;
    rabbit.pause(Ending::Term);
    let worker = bench.start();
    wait::until("the worker to live", || async {
        worker.get("/healthz").await.filter(|answer| answer.contains("Healthy"))
    })
    .await;
    let ready = worker.get("/ready").await.expect("an answer");
    assert!(!ready.starts_with("HTTP/1.1 200"), "not ready without its broker");
    rabbit.resume().await;
    worker.ready().await;
    // One job in flight while the broker is away.
    bench.upload("in flight.png", grey(1, 64, 1)).await;
    bench.upload("later.png", grey(2, 64, 2)).await;
    let gate = bench.proxy.gate(Method::PUT, &bench.results);
    bench.announce(Lane::Ingest, "in flight.png").await;
    gate.reached(1).await;
    rabbit.pause(Ending::Kill);
    gate.open();
    bench.wait_for_result("in flight.png").await;
    rabbit.resume().await;
    worker.ready().await;
    bench.announce(Lane::Ingest, "later.png").await;
    bench.wait_for_result("later.png").await;
    bench.settled(&[&worker], PATIENCE).await;
    assert_eq!(bench.dead().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_in_flight_and_exits_0() {
    let Some(bench) = Bench::shared("a_drain_finishes_what_is_in_flight_and_exits_0").await else { return };
    let mut worker = bench.start_with(&bench.settings().with("NIGHTREAD_LIMITS_JOBS", "8"));
    worker.ready().await;
    let gate = bench.proxy.gate(Method::PUT, &bench.results);
    for number in 0..30_usize {
        bench.upload(&format!("{number}.png"), grey(number as u8, 64, number)).await;
        bench.announce(Lane::Ingest, &format!("{number}.png")).await;
    }
    gate.reached(8).await;
    worker.terminate();
    let observer = bench.observer().await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 22).await;
    gate.open();
    assert!(worker.ended().await.success());
    let mut stored = 0;
    for number in 0..30 {
        stored += usize::from(bench.result(&format!("{number}.png")).await.is_some());
    }
    assert_eq!(stored, 8, "what was in flight is stored, the rest is back in its queue");
    assert_eq!(bench.waiting(&observer).await, 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_gives_everything_back_at_once() {
    let Some(bench) = Bench::shared("a_second_signal_gives_everything_back_at_once").await else { return };
    let mut worker = bench.start_with(&bench.settings().with("NIGHTREAD_LIMITS_JOBS", "4"));
    worker.ready().await;
    let gate = bench.proxy.gate(Method::PUT, &bench.results);
    for number in 0..4_usize {
        bench.upload(&format!("{number}.png"), grey(number as u8, 64, number)).await;
        bench.announce(Lane::Ingest, &format!("{number}.png")).await;
    }
    gate.reached(4).await;
    worker.terminate();
    wait::until("the drain to begin", || async { worker.log().contains("asked to stop").then_some(()) })
        .await;
    worker.terminate();
    assert!(worker.ended().await.success());
    let observer = bench.observer().await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 4).await;
}

/// The start opens some of the documents that are there. One that it did not open is met by its own job.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_another_model_is_refused_by_its_own_job_where_the_start_did_not_open_it() {
    let test = "a_document_of_another_model_is_refused_by_its_own_job_where_the_start_did_not_open_it";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("000.png", grey(1, 64, 0)).await;
    let first = bench.start();
    bench.announce(Lane::Ingest, "000.png").await;
    let made = bench.wait_for_result("000.png").await;
    bench.settled(&[&first], PATIENCE).await;
    drop(first);
    // Of two hundred and one every fourth is opened, in the order of the listing: this is none of them.
    let (rare, another) = ("101.png", "0".repeat(64));
    for number in 1..=200 {
        let name = format!("{number:03}.png");
        let mut document = made.clone();
        document["study"]["name"] = name.as_str().into();
        if name == rare {
            document["model"]["weights_sha256"] = another.as_str().into();
        }
        let blob = BlobRef::new(bench.results.as_str(), result_name(&bench.incoming, &name)).expect("a name");
        bench.direct.put(&blob, document.to_string().into()).await.expect("stored");
    }
    bench.upload(rare, grey(101, 64, 0)).await;
    let before = bench.result(rare).await;

    let mut worker = bench.start();
    worker.ready().await;
    bench.announce(Lane::Ingest, rare).await;
    assert!(!worker.ended().await.success(), "{}", worker.log());
    let log = worker.log();
    let ours = made["model"]["weights_sha256"].as_str().expect("a digest");
    let cause = log.lines().find(|line| line.contains("the worker cannot go on")).expect("a cause");
    for said in ["model_mismatch", another.as_str(), ours] {
        assert!(cause.contains(said), "{said}: {cause}");
    }
    assert_eq!(bench.result(rare).await, before, "it is not read again in silence");
    assert_eq!(bench.dead().await.len(), 0);
    bench.observer().await.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
}

/// As a scaler starts it: one run for each message.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_one_job_takes_one_of_its_lane_finishes_it_and_ends() {
    let test = "a_run_of_one_job_takes_one_of_its_lane_finishes_it_and_ends";
    let Some(bench) = Bench::shared(test).await else { return };
    for name in ["first.png", "second.png", "other.png"] {
        bench.upload(name, grey(3, 64, 1)).await;
    }
    bench.announce(Lane::Volumes, "first.png").await;
    bench.announce(Lane::Volumes, "second.png").await;
    bench.announce(Lane::Ingest, "other.png").await;
    let observer = bench.observer().await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Volumes), 2).await;
    let mut run = bench
        .settings()
        .command(&["run", "--lanes", "volumes", "--jobs", "1"])
        .env("NIGHTREAD_HTTP_LISTEN", format!("127.0.0.1:{}", free_port()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let status = wait::until_within(PATIENCE, "the run to end", || {
        let ended = run.try_wait().expect("a child of ours");
        async move { ended }
    })
    .await;
    assert!(status.success(), "{status}");
    assert_eq!(bench.wait_for_result("first.png").await["status"], "ok");
    assert!(bench.result("second.png").await.is_none() && bench.result("other.png").await.is_none());
    observer.wait_for_depth(&topology::lane_queue(Lane::Volumes), 1).await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 1).await;
    assert!(bench.dead().await.is_empty());
}
