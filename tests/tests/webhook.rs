//! `nightread webhook` as a process, before a real broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;

use lapin::types::AMQPValue;
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::parts::free_port;
use nightread_tests::queues::{event, serve};
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::{Value, json};

const TOKEN: &str = "a-token-for-the-tests-only";

struct Webhook {
    child: Child,
    port: u16,
}

impl Webhook {
    async fn start(broker_url: &str) -> Self {
        let port = free_port();
        let settings = WorkerSettings::new(broker_url)
            .with("NIGHTREAD_WEBHOOK_TOKEN", TOKEN)
            .with("NIGHTREAD_WEBHOOK_LISTEN", &format!("127.0.0.1:{port}"))
            .with("NIGHTREAD_WEBHOOK_PER_MINUTE", "120");
        let child = serve(&settings, "webhook");
        wait::until("the webhook to listen", || async { TcpStream::connect(("127.0.0.1", port)).ok() }).await;
        Self { child, port }
    }

    /// The status, and the whole answer.
    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let mut lines =
            vec![format!("{method} {target} HTTP/1.1"), "Host: test\r\nConnection: close".to_owned()];
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.push(format!("Content-Length: {}\r\n\r\n", body.len()));
        let head = lines.join("\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        // A body that is too long is refused before its end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer.to_lowercase())
    }

    fn post(&self, kind: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {TOKEN}");
        self.ask("POST", "/events", &[("Authorization", &bearer), ("Content-Type", kind)], body.as_bytes())
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_published_before_it_is_answered() {
    let test = "every_form_is_published_before_it_is_answered";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    if !Worker::is_built(test) {
        return;
    }
    let options = rabbit.declared().await;
    let webhook = Webhook::start(&options.url).await;
    let native = json!({"blob": "incoming/native.png"});
    let batch = json!([event("first.png"), event("second.png")]);
    for (kind, body) in [
        ("application/json", &native),
        ("application/cloudevents+json; charset=utf-8", &event("structured.png")),
        ("application/cloudevents-batch+json", &batch),
        ("application/cloudevents+json", &event("scan.nii.gz")),
    ] {
        assert_eq!(webhook.post(kind, &body.to_string()).0, 204, "{body}");
    }
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "binary.png"),
        ("ce-source", "/s"),
        ("ce-type", "Microsoft.Storage.BlobCreated"),
        ("Content-Type", "application/json"),
    ];
    let data = event("binary.png")["data"].to_string();
    let target = format!("/events?access_token={TOKEN}");
    assert_eq!(webhook.ask("POST", &target, &binary, data.as_bytes()).0, 204);
    let observer = Observer::connect(&options.url).await;
    let ingest = observer.drain(&topology::lane_queue(Lane::Ingest)).await;
    let mut bodies: Vec<Value> =
        ingest.iter().map(|found| serde_json::from_slice(&found.data).expect("JSON")).collect();
    let mut expected = vec![native, event("structured.png"), batch, event("binary.png")["data"].clone()];
    bodies.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(bodies, expected);
    let kinds: Vec<_> = ingest
        .iter()
        .filter_map(|found| found.properties.headers().as_ref()?.inner().get("cloudEvents:type").cloned())
        .collect();
    let created = AMQPValue::LongString("Microsoft.Storage.BlobCreated".into());
    assert_eq!(kinds, [created], "binary mode stays binary");
    assert_eq!(
        observer.drain(&topology::lane_queue(Lane::Volumes)).await.len(),
        1,
        "scans have their own lane"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_nonsense_are_refused() {
    let test = "strangers_and_nonsense_are_refused";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    if !Worker::is_built(test) {
        return;
    }
    let options = rabbit.declared().await;
    let webhook = Webhook::start(&options.url).await;
    let bearer = format!("Bearer {TOKEN}");
    let known = ("Authorization", bearer.as_str());
    let native = br#"{"blob": "incoming/a.png"}"#;
    let json = ("Content-Type", "application/json");
    for headers in
        [vec![json], vec![json, ("Authorization", "Bearer no")], vec![json, ("Authorization", TOKEN)]]
    {
        assert_eq!(webhook.ask("POST", "/events", &headers, native).0, 401);
    }
    assert_eq!(webhook.ask("POST", "/events?access_token=no", &[json], native).0, 401);
    assert_eq!(webhook.ask("GET", "/events", &[known], b"").0, 405);
    assert_eq!(webhook.ask("POST", "/elsewhere", &[known, json], native).0, 404);
    let (status, told) = webhook.post("application/json", "{\"blob\": \"Jane Doe\"");
    assert!(status == 400 && told.contains("message_unparseable") && !told.contains("jane"), "{told}");
    assert_eq!(webhook.post("text/plain", "{}").0, 415);
    let large = format!("{{\"blob\": \"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(webhook.post("application/json", &large).0, 413);
    // The handshake of CloudEvents, and Event Grid's own.
    let ask = ("WebHook-Request-Origin", "eventgrid.azure.net");
    let (status, told) =
        webhook.ask("OPTIONS", "/events", &[known, ask, ("WebHook-Request-Rate", "500")], b"");
    assert_eq!(status, 200);
    assert!(told.contains("webhook-allowed-origin: eventgrid.azure.net"), "{told}");
    assert!(told.contains("webhook-allowed-rate: 120"), "{told}");
    let stranger = ("WebHook-Request-Origin", "elsewhere.example");
    let (status, told) = webhook.ask("OPTIONS", "/events", &[known, stranger], b"");
    assert!(status == 403 && !told.contains("allowed-origin"), "{told}");
    assert_eq!(webhook.ask("OPTIONS", "/events", &[ask], b"").0, 401);
    let validation = json!([{"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "c0de", "validationUrl": "http://127.0.0.1:1/"}}]);
    let (status, told) = webhook.post("application/json", &validation.to_string());
    assert!(status == 200 && told.contains(r#"{"validationresponse":"c0de"}"#), "{told}");
    let observer = Observer::connect(&options.url).await;
    assert_eq!(
        observer.drain(&topology::lane_queue(Lane::Ingest)).await.len(),
        0,
        "nothing of it is published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_confirmation_the_sender_has_to_come_again() {
    let test = "without_a_confirmation_the_sender_has_to_come_again";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    if !Worker::is_built(test) {
        return;
    }
    // A virtual host on which nothing was declared: no queue takes what is published.
    let webhook = Webhook::start(&rabbit.fresh_url()).await;
    let (status, told) = webhook.post("application/json", r#"{"blob": "incoming/a.png"}"#);
    assert!(status == 503 && told.contains("retry-after"), "{told}");
}

#[test]
fn without_a_token_it_is_off() {
    if !Worker::is_built("without_a_token_it_is_off") {
        return;
    }
    let settings = WorkerSettings::new("amqp://guest:secret@127.0.0.1:1");
    for settings in [settings.clone(), settings.with("NIGHTREAD_WEBHOOK_TOKEN", "short")] {
        let output = settings.command(&["webhook"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("token") && !told.contains("secret"), "{told}");
    }
}
