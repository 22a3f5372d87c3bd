//! What must never stand in a log, however much is asked of it: names of blobs, bodies of messages, signatures, keys, tokens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use azure_core::base64;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use nightread::adapters::amqp::topology;
use nightread_domain::delivery::DeliveryOrder;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, Lane};
use nightread_tests::archive::{Way, WebArchive};
use nightread_tests::azurite::{self, KEY, Service};
use nightread_tests::bench::Bench;
use nightread_tests::delivering::{BRIGHT, STUDY};
use nightread_tests::images::{grey, result_name};
use nightread_tests::parts::{free_port, skipped};
use nightread_tests::queues::{self, Queues};
use nightread_tests::rabbit::Rabbit;
use nightread_tests::radiographs::radiograph;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Stands in every name and every body.
const MARK: &str = "Jane-Doe-1970";

const TOKEN: &str = "a-token-for-the-tests-only";

/// A signature as it is, and as it stands in an address.
fn forms(signature: &str) -> [String; 2] {
    let encoded = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    [signature.to_owned(), encoded]
}

/// Fails with the line that tells too much.
fn tells_nothing(log: &str, what: &str, secrets: &[String]) {
    assert!(!log.is_empty(), "{what} says something");
    let always = [MARK, KEY, TOKEN, "sig=", "SharedKey ", "AccountKey=", "guest:guest"];
    for line in log.lines() {
        for secret in always.into_iter().chain(secrets.iter().map(String::as_str)) {
            assert!(!line.contains(secret), "{what} tells {secret:?}: {line}");
        }
    }
}

/// Good and bad images, and messages of every kind, all of them marked.
async fn announce_everything(bench: &Bench) -> String {
    let good = format!("{MARK}/good.png");
    bench.upload(&good, grey(100, 64, 0)).await;
    bench.upload(&format!("{MARK}/bad.png"), b"no image at all".to_vec().into()).await;
    for (id, name) in [("good", "good.png"), ("bad", "bad.png"), ("missing", "missing.png")] {
        let body = json!({"blob": format!("{}/{MARK}/{name}", bench.incoming)});
        bench.publish(Lane::Ingest, id, body.to_string()).await;
    }
    // An event's id is logged; it is the sender's to keep names out of it.
    let event = bench.event_grid(&format!("{MARK}-grid.png"));
    bench.publish(Lane::Ingest, "grid", event.replace(&format!("event-{MARK}"), "event")).await;
    bench.publish(Lane::Bulk, "garbage", format!("{{\"{MARK}\": 7}}")).await;
    bench.publish(Lane::Bulk, "elsewhere", json!({"blob": format!("secrets/{MARK}")}).to_string()).await;
    good
}

/// Two dead letters, each one line that says why.
async fn dead_letters_are_told(bench: &Bench, worker: &Worker) {
    let codes: Vec<ErrorCode> = bench.dead().await.into_iter().map(|letter| letter.code).collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    let log = worker.log();
    for code in ["message_unparseable", "source_not_allowed"] {
        let told = log.lines().filter(|line| line.contains("dead-lettered") && line.contains(code)).count();
        assert_eq!(told, 1, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_level_tells_names_bodies_or_signatures() {
    let Some(bench) = Bench::shared("no_level_tells_names_bodies_or_signatures").await else { return };
    let settings = bench.settings().with("NIGHTREAD_LOG", "trace");
    let worker = bench.start_with(&settings);
    let good = announce_everything(&bench).await;
    bench.wait_for_result(&good).await;
    bench.settled(&[&worker], Duration::from_mins(2)).await;
    tells_nothing(&worker.log(), "the worker", &[]);
    dead_letters_are_told(&bench, &worker).await;
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
    tells_nothing(&String::from_utf8_lossy(&output.stderr), "announce", &[]);
}

/// A document at this place of the results, and the order to send it.
async fn order(bench: &Bench, name: &str, document: Option<Value>) {
    let result = BlobRef::new(bench.results.as_str(), name).expect("a name");
    if let Some(document) = document {
        bench.direct.put(&result, document.to_string().into()).await.expect("planted");
    }
    let body = DeliveryOrder::new(&result, "archive").body().expect("an order");
    let key = format!("{}.archive", topology::DELIVERY_KEY);
    let observer = bench.observer().await;
    let sent = observer.channel().basic_publish(
        topology::JOBS.into(),
        key.into(),
        BasicPublishOptions::default(),
        &body,
        BasicProperties::default(),
    );
    sent.await.expect("published").await.expect("taken");
}

/// Names that stand in a document or an order, and not in a message to a worker.
#[tokio::test(flavor = "multi_thread")]
async fn results_that_cannot_be_used_are_told_without_their_names() {
    let Some(bench) = Bench::shared("results_that_cannot_be_used_are_told_without_their_names").await else {
        return;
    };
    let archive = WebArchive::start(Way::Stores).await;
    let settings = bench
        .settings()
        .with("NIGHTREAD_DELIVER_ARCHIVE", &archive.url())
        .with("NIGHTREAD_LIMITS_ATTEMPTS", "1")
        .with("NIGHTREAD_LOG", "trace");
    let observer = bench.observer().await;

    let newer = json!({"schema": "nightread.result.v3", "status": "ok"});
    let name = format!("{MARK}/newer.png");
    let place = BlobRef::new(bench.results.as_str(), result_name(&bench.incoming, &name)).expect("a name");
    bench.direct.put(&place, newer.to_string().into()).await.expect("planted");
    bench.upload(&name, grey(100, 64, 0)).await;
    let body = json!({"blob": format!("{}/{name}", bench.incoming)});
    bench.publish(Lane::Ingest, "newer", body.to_string()).await;
    let worker = bench.start_with(&settings);
    observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let log = worker.log();
    assert!(log.contains("result_newer_schema"), "{log}");
    tells_nothing(&log, "a worker before a newer result", &[]);
    drop(worker);

    let name = format!("{MARK}/a.dcm");
    let source = radiograph(STUDY, BRIGHT);
    bench.upload(&name, source.clone().into()).await;
    let version = bench.direct.properties(&bench.blob(&name)).await.expect("there").etag;
    let document = json!({
        "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "radiograph",
        "study": {"kind": "blob", "container": bench.incoming, "name": name, "version": version, "last_modified": null,
            "bytes": source.len(), "sha256": hex::encode(Sha256::digest(&source)), "media": "dicom"},
        "model": {"name": "one-node", "version": "1.0.0", "precision": "fp32", "weights_sha256": "ab".repeat(32),
            "execution_provider": "cpu", "preprocessing": "xrv-1"},
        "findings": [{"label": "Brightness", "logit": 3.0, "probability": 0.95, "threshold": 0.5, "positive": true}],
        "artefacts": [{"kind": "heatmap", "path": format!("one-node/{MARK}/a.dcm.heatmap.png"), "media_type": "image/png",
            "bytes": 1, "sha256": "ab".repeat(32), "of": "Brightness"}],
        "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"}, "read_at": "2026-01-01T00:00:00Z"});
    order(&bench, &format!("one-node/{MARK}/a.dcm.json"), Some(document)).await;
    order(&bench, &format!("one-node/{MARK}/newer.dcm.json"), Some(newer)).await;
    order(&bench, &format!("one-node/{MARK}/gone.dcm.json"), None).await;
    let deliver = Worker::start_as(&["deliver"], &settings, bench.folder.path());
    observer.wait_for_depth(topology::DELIVERIES_DEAD, 3).await;
    let log = deliver.log();
    for code in ["artefact_changed", "result_newer_schema", "blob_not_found"] {
        assert!(log.contains(code), "{code}: {log}");
    }
    tells_nothing(&log, "deliver", &[]);
}

/// A signature stands in the address of every request, so in whatever is said of one that fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_access_signature_is_in_no_line() {
    let Some(bench) = Bench::shared("a_shared_access_signature_is_in_no_line").await else { return };
    let (url, signature) = azurite::sas_url(bench.proxy.port(), Service::Blob, "");
    let secrets = forms(&signature);
    let with = |url: &str| {
        WorkerSettings::new(&bench.options.url)
            .with("NIGHTREAD_STORAGE_KIND", "azure")
            .with("NIGHTREAD_STORAGE_SAS_URL", url)
            .with("NIGHTREAD_STORAGE_RETRY_SECONDS", "1")
            .with("NIGHTREAD_SOURCES_CONTAINERS", &bench.incoming)
            .with("NIGHTREAD_RESULTS_CONTAINER", &bench.results)
            .with("NIGHTREAD_LOG", "trace")
    };
    let settings = with(&url);
    let worker = bench.start_with(&settings);
    worker.ready().await;
    // Connections that break, answers that refuse, then a sound account.
    let away = |worker: &'static str| format!("{worker} to see that storage is away");
    bench.proxy.set_outage(true);
    let good = announce_everything(&bench).await;
    wait::until(&away("the worker"), || async {
        worker.get("/ready").await.filter(|ready| ready.contains("storage: "))
    })
    .await;
    bench.proxy.set_outage(false);
    bench.proxy.refuse(None, 403, "AuthenticationFailed", &format!("Signature did not match. '{signature}'"));
    wait::until("the refusal to be told", || async {
        worker.log().contains("storage does not know us").then_some(())
    })
    .await;
    bench.proxy.let_in();
    bench.wait_for_result(&good).await;
    bench.settled(&[&worker], Duration::from_mins(5)).await;
    let ready = worker.get("/ready").await.expect("an answer");
    tells_nothing(&(worker.log() + &ready), "the worker", &secrets);
    dead_letters_are_told(&bench, &worker).await;
    drop(worker);

    // One that the service does not accept, from the start on.
    let wrong = signature.chars().rev().collect::<String>();
    let mut refused = url.clone();
    for (right, wrong) in forms(&signature).iter().zip(forms(&wrong)) {
        refused = refused.replace(right.as_str(), &wrong);
    }
    let worker = bench.start_with(&with(&refused));
    wait::until("the worker to be refused", || async { worker.log().contains("not ready").then_some(()) })
        .await;
    let log = worker.log();
    assert!(log.contains("storage_forbidden"), "{log}");
    tells_nothing(&log, "a worker that is refused", &forms(&wrong));
    drop(worker);
    let check = with(&refused).command(&["check", "--for", "run"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert!(told.contains("storage_forbidden"), "{told}");
    for secret in forms(&wrong) {
        assert!(!told.contains(&secret), "{told}");
    }
    let listed = settings.command(&["announce", "--format", "json"]).output().expect("it runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let told =
        String::from_utf8_lossy(&listed.stdout).into_owned() + &String::from_utf8_lossy(&listed.stderr);
    tells_nothing(&told, "announce", &secrets);
}

/// An event whose id may be logged and whose blob may not.
fn event(id: &str) -> Value {
    let mut event = queues::event(&format!("{MARK}-{id}.png"));
    event["id"] = id.into();
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_tells_no_names_bodies_or_signatures() {
    let test = "the_relay_tells_no_names_bodies_or_signatures";
    let Some(parts) = Queues::shared(test).await else { return };
    let Some((queue, settings, observer)) = queues::bench(test).await else { return };
    for body in [event("one").to_string(), event("two").to_string(), format!("{{\"{MARK}\": 7}}")] {
        queue.main.put(&base64::encode(body)).await.expect("put");
    }
    queue.main.put(&format!("{MARK}, not in base64")).await.expect("put");
    let port = parts.address().port();
    let (url, signature) = azurite::sas_url(port, Service::Queue, &format!("/{}", queue.name));
    let settings = settings
        .with("NIGHTREAD_RELAY_CONNECTION_STRING", "")
        .with("NIGHTREAD_RELAY_QUEUE", "")
        .with("NIGHTREAD_RELAY_SAS_URL", &url)
        .with("NIGHTREAD_LOG", "trace");
    let ran = queues::relay_once(&settings);
    let log = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{log}");
    let published = observer.drain(&topology::lane_queue(Lane::Ingest)).await.len();
    assert!(published >= 2, "{published}: {}", String::from_utf8_lossy(&ran.stdout));
    tells_nothing(&log, "the relay", &forms(&signature));

    // Its queue is away, or refuses.
    for at in [free_port(), port] {
        let (url, signature) = azurite::sas_url(at, Service::Queue, &format!("/{}", queue.name));
        let url = if at == port { url.replace("2100-01-01", "2100-01-02") } else { url };
        let settings = settings.clone().with("NIGHTREAD_RELAY_SAS_URL", &url);
        let mut command = settings.command(&["relay", "--format", "json"]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("relay.log");
        let file = File::create(&path).expect("a file");
        let running = Running(
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("started"),
        );
        let said = || std::fs::read_to_string(&path).expect("a log");
        wait::until("it to say so", || async { said().contains("storage_un").then_some(()) }).await;
        drop(running);
        let log = said();
        tells_nothing(&log, "a relay without its queue", &forms(&signature));
    }
}

/// A running command whose log is read; killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn post(port: u16, target: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_tells_no_names_bodies_or_tokens() {
    let test = "the_webhook_tells_no_names_bodies_or_tokens";
    let Some(rabbit) = Rabbit::shared(test).await.filter(|_| Worker::is_built(test)) else {
        return skipped(test, "RabbitMQ or the binary");
    };
    let options = rabbit.declared().await;
    let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
    let path: &Path = &folder.path().join("webhook.log");
    let log = File::create(path).expect("a file");
    let settings = WorkerSettings::new(&options.url)
        .with("NIGHTREAD_WEBHOOK_TOKEN", TOKEN)
        .with("NIGHTREAD_WEBHOOK_LISTEN", &format!("127.0.0.1:{port}"))
        .with("NIGHTREAD_LOG", "trace");
    let mut command = settings.command(&["webhook", "--format", "json"]);
    let running =
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("started"));
    wait::until("the webhook to listen", || async { TcpStream::connect(("127.0.0.1", port)).ok() }).await;
    let json = "Content-Type: application/json";
    let known = format!("Authorization: Bearer {TOKEN}\r\n{json}");
    let body = json!({"blob": format!("incoming/{MARK}.png")}).to_string();
    let in_query = format!("/events?access_token={TOKEN}");
    assert!(post(port, "/events", &known, &body).contains("204"));
    assert!(post(port, &in_query, json, &body).contains("204"));
    assert!(post(port, "/events", &known, &format!("{{\"{MARK}\": 7}}")).contains("400"));
    assert!(post(port, &format!("/{MARK}"), &known, &body).contains("404"));
    assert!(post(port, "/events", json, &body).contains("401"));
    // Nobody takes what is published now.
    let observer = nightread_tests::rabbit::Observer::connect(&options.url).await;
    let lane = topology::lane_queue(Lane::Ingest);
    observer.channel().queue_delete(lane.into(), QueueDeleteOptions::default()).await.expect("deleted");
    assert!(post(port, "/events", &known, &body).contains("503"));
    drop(running);
    tells_nothing(&std::fs::read_to_string(path).expect("a log"), "the webhook", &[]);
}
