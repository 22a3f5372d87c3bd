//! Storage as it really behaves: refusals of an account and of a container, archived blobs, folders, leases; a real
//! worker, broker and Azurite, and a scripted proxy for the answers that Azurite cannot give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, Lane, WriteCondition, WriteOutcome};
use nightread_tests::announcing::{announce, summary};
use nightread_tests::bench::Bench;
use nightread_tests::images::{grey, result_name};
use nightread_tests::lies::{self, Plan};
use nightread_tests::proxy::{Faults, Method};
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use serde_json::{Value, json};

/// Long enough for the delay queues of five and thirty seconds.
const PATIENCE: Duration = Duration::from_mins(5);

async fn upload_many(bench: &Bench, container: &str, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0..count {
        let name = format!("{number:02}.png");
        let blob = BlobRef::new(container, name.as_str()).expect("a name");
        bench.direct.put(&blob, grey(number as u8, 64, number)).await.expect("uploaded");
        names.push(name);
    }
    names
}

async fn announce_all(bench: &Bench, container: &str, names: &[String]) {
    for name in names {
        let body = json!({"blob": format!("{container}/{name}")}).to_string();
        bench.publish(Lane::Ingest, &format!("{container} {name}"), body).await;
    }
}

async fn document(bench: &Bench, container: &str, name: &str) -> Option<Value> {
    let blob = BlobRef::new(bench.results.as_str(), result_name(container, name)).expect("a name");
    let found = bench.direct.read(&blob, 1 << 24).await.expect("storage answers");
    found.map(|(body, _)| serde_json::from_slice(&body).expect("JSON"))
}

async fn is_ready(worker: &Worker) -> bool {
    worker.get("/ready").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Refuses the whole account in mid-run, lets it in again, and holds that nobody was blamed.
async fn refused_in_mid_run(
    test: &str,
    status: u16,
    code: &str,
    detail: &str,
    outage: Duration,
) -> Option<String> {
    let bench = Bench::shared(test).await?;
    let names = upload_many(&bench, &bench.incoming, 40).await;
    let worker = bench.start();
    worker.ready().await;
    announce_all(&bench, &bench.incoming, &names[..4]).await;
    bench.wait_for_result(&names[0]).await;
    bench.proxy.refuse(None, status, code, detail);
    announce_all(&bench, &bench.incoming, &names[4..]).await;
    wait::until("intake to pause", || async {
        (worker.metric("nightread_storage_outage", "").await > 0.0).then_some(())
    })
    .await;
    worker.says("storage: ").await;
    tokio::time::sleep(outage).await;
    bench.proxy.let_in();
    bench.settled(&[&worker], PATIENCE).await;
    for name in &names {
        let result = bench.result(name).await.unwrap_or_else(|| panic!("no result of {name}"));
        assert_eq!(result["status"], "ok", "{name}: {result}");
    }
    assert_eq!(bench.dead().await.len(), 0);
    assert_eq!(worker.metric("nightread_jobs_total", "outcome=\"failed\"").await as u32, 0);
    worker.ready().await;
    Some(worker.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_refuses_for_a_while_blames_nobody() {
    let test = "an_account_that_refuses_for_a_while_blames_nobody";
    refused_in_mid_run(test, 403, "AuthorizationFailure", "", Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_in_mid_run_are_an_outage_and_are_explained() {
    let test = "credentials_that_expire_in_mid_run_are_an_outage_and_are_explained";
    let detail = "Signature not valid in the specified time frame: Start [Tue, 05 May 2026 10:00:00 GMT] - Expiry \
                  [Tue, 05 May 2026 11:00:00 GMT] - Current [Tue, 05 May 2026 12:00:00 GMT]";
    let Some(log) =
        refused_in_mid_run(test, 403, "AuthenticationFailed", detail, Duration::from_secs(4)).await
    else {
        return;
    };
    assert!(log.contains("the signature is not valid at this time: Start [Tue, 05 May 2026"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_refuses_delays_its_own_jobs_alone() {
    let Some(bench) = Bench::shared("a_container_that_refuses_delays_its_own_jobs_alone").await else {
        return;
    };
    let (open, shut) = (bench.incoming.clone(), format!("{}-shut", bench.incoming));
    bench.direct.create_container(&shut).await.expect("a container");
    let (ours, theirs) = (upload_many(&bench, &open, 40).await, upload_many(&bench, &shut, 8).await);
    let settings = bench
        .settings()
        .with("NIGHTREAD_SOURCES_CONTAINERS", &format!("{open},{shut}"))
        .with("NIGHTREAD_LIMITS_REFUSED_SECONDS", "8");
    let worker = bench.start_with(&settings);
    worker.ready().await;
    bench.proxy.refuse(Some(&shut), 403, "AuthorizationPermissionMismatch", "");
    announce_all(&bench, &shut, &theirs).await;
    announce_all(&bench, &open, &ours).await;
    for name in &ours {
        let result = bench.wait_for_result(name).await;
        assert_eq!(result["status"], "ok", "{name}");
        assert!(is_ready(&worker).await, "one of two containers is not the account");
    }
    bench.settled(&[&worker], PATIENCE).await;
    let dead = bench.dead().await;
    let codes: Vec<_> = dead.iter().map(|letter| letter.code).collect();
    assert_eq!(codes, vec![ErrorCode::StorageForbidden; theirs.len()], "given up after the stated time");
    for name in &theirs {
        assert_eq!(document(&bench, &shut, name).await, None, "no document of {name}");
    }
    let gauge = format!("container=\"{shut}\"");
    assert_eq!(worker.metric("nightread_storage_container_up", &gauge).await as u32, 0);
    assert_eq!(worker.metric("nightread_storage_container_up", &format!("\"{open}\"")).await as u32, 1);

    bench.proxy.let_in();
    wait::until("the probe to find out", || async {
        (worker.metric("nightread_storage_container_up", &gauge).await > 0.0).then_some(())
    })
    .await;
    let redriven =
        settings.command(&["dead", "redrive", "--code", "storage_forbidden"]).output().expect("it runs");
    assert!(redriven.status.success(), "{}", String::from_utf8_lossy(&redriven.stderr));
    for name in &theirs {
        let result = wait::until("a redriven result", || document(&bench, &shut, name)).await;
        assert_eq!(result["status"], "ok", "{name}");
    }
}

/// A figure and no verdict: 40 images beside a container that refuses its own, and alone, turn by turn.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run it by name with --ignored --nocapture"]
async fn the_pace_beside_a_container_that_refuses() {
    let Some(bench) = Bench::shared("the_pace_beside_a_container_that_refuses").await else { return };
    let shut = format!("{}-shut", bench.incoming);
    bench.direct.create_container(&shut).await.expect("a container");
    let theirs = upload_many(&bench, &shut, 40).await;
    for number in 0..40_usize {
        bench.upload(&format!("{number}.png"), grey(number as u8, 1_000, number)).await;
    }
    let containers = format!("{},{shut}", bench.incoming);
    let worker = bench.start_with(&bench.settings().with("NIGHTREAD_SOURCES_CONTAINERS", &containers));
    worker.ready().await;
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..15 {
        let refused = round % 2;
        if refused == 1 {
            bench.proxy.refuse(Some(&shut), 403, "AuthorizationPermissionMismatch", "");
            announce_all(&bench, &shut, &theirs).await;
        }
        let read = async || worker.metric("nightread_jobs_total", "outcome=\"read\"").await;
        let (before, start) = (read().await, Instant::now());
        for number in 0..40 {
            // Forced, or it would be found done.
            let body = json!({"blob": format!("{}/{number}.png", bench.incoming), "force": true}).to_string();
            bench.publish(Lane::Ingest, &format!("{round} {number}"), body).await;
        }
        wait::until("40 to be read", || async { (read().await >= before + 40.0).then_some(()) }).await;
        seconds[refused].push(start.elapsed().as_secs_f64());
        bench.proxy.let_in();
        wait::until_within(PATIENCE, "all to be settled", || async {
            let open = worker.metric("nightread_storage_container_up", &shut).await > 0.5;
            let observer = bench.observer().await;
            (open && bench.waiting(&observer).await == 0).then_some(())
        })
        .await;
    }
    let medians = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    println!(
        "40 read alone in {:.2} s, beside a container that refuses in {:.2} s (medians)",
        medians[0], medians[1]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_beside_a_container_that_refuses() {
    let Some(bench) = Bench::shared("a_worker_starts_beside_a_container_that_refuses").await else { return };
    let (open, shut) = (bench.incoming.clone(), format!("{}-shut", bench.incoming));
    bench.direct.create_container(&shut).await.expect("a container");
    let (ours, theirs) = (upload_many(&bench, &open, 2).await, upload_many(&bench, &shut, 1).await);
    bench.proxy.refuse(Some(&shut), 403, "AuthorizationFailure", "");
    let settings = bench.settings().with("NIGHTREAD_SOURCES_CONTAINERS", &format!("{shut},{open}"));
    let worker = bench.start_with(&settings);
    worker.ready().await;
    announce_all(&bench, &shut, &theirs).await;
    announce_all(&bench, &open, &ours).await;
    for name in &ours {
        bench.wait_for_result(name).await;
    }
    bench.proxy.let_in();
    let result = wait::until("the late result", || document(&bench, &shut, &theirs[0])).await;
    assert_eq!(result["status"], "ok");
    assert_eq!(bench.dead().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_blob_is_told_of_and_read_when_it_comes_back() {
    let Some(bench) = Bench::shared("an_archived_blob_is_told_of_and_read_when_it_comes_back").await else {
        return;
    };
    bench.upload("asleep.png", grey(70, 64, 0)).await;
    bench.proxy.script(Method::HEAD, "asleep.png", |head, _| {
        head.headers.insert("x-ms-access-tier", "Archive".parse().expect("a value"));
    });
    let worker = bench.start();
    bench.announce(Lane::Ingest, "asleep.png").await;
    let failed = bench.wait_for_result("asleep.png").await;
    assert_eq!(failed["error"]["code"], "blob_archived");
    bench.settled(&[&worker], PATIENCE).await;
    assert_eq!(bench.dead().await.len(), 0, "it is acknowledged");

    // What failed so does not count as done, by a listing or by name.
    let skipping = ["--skip-done", "--dry-run"];
    bench.proxy.unscript();
    let told = summary(&announce(&bench.settings(), &skipping));
    assert_eq!((&told["announced"], &told["done"]), (&json!(1), &json!(0)), "{told}");
    let url =
        format!("http://127.0.0.1:{}/devstoreaccount1/{}/asleep.png", bench.proxy.port(), bench.incoming);
    let event = json!({"specversion": "1.0", "id": "tier", "source": "/s", "type": "Microsoft.Storage.BlobTierChanged",
        "data": {"api": "SetBlobTier", "accessTier": "Hot", "previousTier": "Archive", "url": url}});
    bench.publish(Lane::Ingest, "tier", event.to_string()).await;
    let read = wait::until("it to be read", || async {
        bench.result("asleep.png").await.filter(|document| document["status"] == "ok")
    })
    .await;
    assert_eq!(read["study"]["name"], "asleep.png");
    let told = summary(&announce(&bench.settings(), &skipping));
    assert_eq!((&told["announced"], &told["done"]), (&json!(0), &json!(1)), "{told}");

    // A listing counts it and leaves it out.
    bench.proxy.script(Method::GET, "", |_, body| {
        let text = String::from_utf8_lossy(body);
        if text.contains("<EnumerationResults") {
            *body = text.replace("<AccessTier>Hot</AccessTier>", "<AccessTier>Archive</AccessTier>").into();
        }
    });
    let told = summary(&announce(&bench.settings(), &["--dry-run"]));
    assert_eq!(
        (&told["announced"], &told["archived"], &told["seen"]),
        (&json!(0), &json!(1), &json!(1)),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_for_a_folder_is_no_study() {
    let Some(bench) = Bench::shared("what_stands_for_a_folder_is_no_study").await else { return };
    let mark = BTreeMap::from([("hdi_isfolder".to_owned(), "true".to_owned())]);
    let folder = bench.blob("ward");
    let made = bench.direct.write(&folder, Bytes::new(), &mark, WriteCondition::IfAbsent).await;
    assert!(matches!(made, Ok(WriteOutcome::Written(_))));
    bench.upload("slash/", Bytes::new()).await;
    bench.upload("ward/a.png", grey(9, 64, 0)).await;
    let worker = bench.start();
    for name in ["ward", "slash/", "ward/a.png"] {
        bench.announce(Lane::Ingest, name).await;
    }
    bench.wait_for_result("ward/a.png").await;
    bench.settled(&[&worker], PATIENCE).await;
    for name in ["ward", "slash/"] {
        assert_eq!(bench.result(name).await, None, "{name}");
    }
    assert_eq!(worker.metric("nightread_jobs_total", "outcome=\"no_study\"").await as u32, 2);
    assert_eq!(bench.dead().await.len(), 0);
    let told = summary(&announce(&bench.settings(), &["--dry-run"]));
    assert_eq!(
        (&told["announced"], &told["ignored"], &told["seen"]),
        (&json!(1), &json!(2), &json!(3)),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_goes_on_and_a_lost_condition_without_a_code_are_waited_for() {
    let test = "a_copy_that_goes_on_and_a_lost_condition_without_a_code_are_waited_for";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("copied.png", grey(80, 64, 0)).await;
    bench.upload("raced.png", grey(90, 64, 1)).await;
    bench.proxy.script(Method::HEAD, "copied.png", |head, _| {
        head.headers.insert("x-ms-copy-status", "pending".parse().expect("a value"));
    });
    // Azurite's own 409 of a lost race, as a proxy leaves it that takes the service's headers away.
    bench.proxy.script(Method::PUT, "raced.png.json", |head, body| {
        if !head.status.is_success() {
            head.headers.remove("x-ms-error-code");
            *body = Bytes::new();
        }
    });
    let worker = bench.start();
    bench.announce(Lane::Ingest, "copied.png").await;
    wait::until("it to be put off", || async {
        (worker.metric("nightread_messages_total", "code=\"blob_busy\"").await > 0.0).then_some(())
    })
    .await;
    assert_eq!(bench.result("copied.png").await, None, "half a blob is not read");
    bench.proxy.unscript_head();
    assert_eq!(bench.wait_for_result("copied.png").await["status"], "ok");

    bench.announce(Lane::Ingest, "raced.png").await;
    bench.wait_for_result("raced.png").await;
    let again = json!({"blob": format!("{}/raced.png", bench.incoming), "force": true}).to_string();
    bench.publish(Lane::Ingest, "again", again).await;
    wait::until("it to be read again", || async {
        (worker.metric("nightread_jobs_total", "outcome=\"read\"").await >= 3.0).then_some(())
    })
    .await;
    assert_eq!(bench.dead().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_is_busy_for_a_day_is_asked_again_in_five_minutes() {
    let test = "storage_that_is_busy_for_a_day_is_asked_again_in_five_minutes";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("a.png", grey(80, 64, 0)).await;
    let worker = bench.start();
    worker.ready().await;
    bench.proxy.set_faults(Faults { busy_for_a_day: 1.0, ..Faults::default() });
    bench.announce(Lane::Ingest, "a.png").await;
    let observer = bench.observer().await;
    observer.wait_for_depth("nightread.jobs.delay.5m", 1).await;
    assert_eq!(bench.proxy.requests_of("a.png"), 1, "nobody asks again at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_lies_loses_no_study_and_spoils_none() {
    let plan = Plan {
        blobs: 40,
        share: 0.3,
        busy_for_a_day: 0.0,
        refusal: Duration::from_secs(5),
        patience: PATIENCE,
    };
    let Some(account) = lies::run("storage_that_lies_loses_no_study_and_spoils_none", plan).await else {
        return;
    };
    assert!(account.problems.is_empty(), "{account}");
}
