//! Messages as senders really write them, through a real broker, queue service, storage, relay and worker. The cases lie
//! beside the repository, each with its right outcome in words; variants of all of them are in the parser's own tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use azure_core::base64;
use nightread::adapters::amqp::topology;
use nightread_domain::message::Attributes;
use nightread_domain::{BlobRef, Lane, Message};
use nightread_tests::announcing::summary;
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::{cases, skipped};
use nightread_tests::queues::{Queues, relay_once};
use nightread_tests::rabbit::Rabbit;
use nightread_tests::worker::Worker;
use serde::Deserialize;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(3);

/// The account that the events name.
const ACCOUNT: &str = "nightreadcases";

#[derive(Clone, Debug, Deserialize)]
struct Case {
    name: String,
    #[serde(rename = "where")]
    place: String,
    content_type: String,
    headers: BTreeMap<String, Value>,
    right: String,
    #[serde(default)]
    body: String,
    body_base64: Option<String>,
}

impl Case {
    /// Base64 in it names the account too; it stays as long as it was.
    fn bytes(&self) -> Vec<u8> {
        match &self.body_base64 {
            Some(text) => base64::decode(text).expect("base64"),
            None => self.body.replace("ACCOUNT", ACCOUNT).into_bytes(),
        }
    }

    /// The blob that is to be read, by the words of the case.
    fn blob(&self) -> Option<String> {
        let words: Vec<_> = self.right.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["job", blob, ..] if blob.starts_with("incoming/") => Some((*blob).to_owned()),
            ["job", "for", "the", "blob", .., name] => Some(format!("incoming/{name}")),
            ["job;", ..] => {
                let body: Value = serde_json::from_str(&self.body).expect("the native form");
                body["blob"].as_str().map(str::to_owned)
            }
            _ => None,
        }
    }

    fn message(&self) -> Message {
        let mut attributes = Attributes::for_lane(Lane::Ingest);
        attributes.message_id = Some(self.name.clone());
        attributes.content_type = Some(self.content_type.clone());
        attributes.announced_at = self.headers.get("amqp-timestamp").and_then(Value::as_u64);
        Message { body: self.bytes().into(), attributes }
    }

    fn has_no_time(&self) -> bool {
        self.right.contains("nightread_wait_seconds does not count it")
    }
}

fn all(test: &str) -> Option<Vec<Case>> {
    let text = std::fs::read_to_string(cases(test)?.join("messages/cases.jsonl")).expect("the cases");
    let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(!cases.is_empty());
    Some(cases)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_announcement_ends_as_it_should() {
    let test = "each_announcement_ends_as_it_should";
    let Some(cases) = all(test) else { return };
    let (Some(rabbit), Some(azurite)) = (Rabbit::shared(test).await, Azurite::start().await) else {
        return skipped(test, "RabbitMQ or Azurite");
    };
    if !Worker::is_built(test) {
        return;
    }
    let mut bench = Bench::over(test, rabbit, &azurite).await;
    (bench.incoming, bench.results) = ("incoming".to_owned(), "results".to_owned());
    for container in [&bench.incoming, &bench.results] {
        bench.direct.create_container(container).await.expect("a container");
    }
    // What dies of its expiration is the broker's business, and held there.
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|case| case.place == "amqp" && !case.headers.contains_key("amqp-expiration"))
        .collect();
    for (number, blob) in cases.iter().filter_map(Case::blob).enumerate() {
        let blob = BlobRef::parse(&blob).expect("a name");
        bench.direct.put(&blob, grey(40, 64, number)).await.expect("uploaded");
    }
    let endpoints = ["ACCOUNT", ACCOUNT].map(|account| format!("https://{account}.blob.core.windows.net"));
    let worker =
        bench.start_with(&bench.settings().with("NIGHTREAD_SOURCES_ENDPOINTS", &endpoints.join(",")));
    worker.ready().await;
    let mut timed = 0.0;
    for case in &cases {
        bench.publisher.announce(&case.message()).await.expect("confirmed");
        timed += f64::from(u8::from(!case.has_no_time()));
        bench.settled(&[&worker], PATIENCE).await;
        let log = worker.log();
        if let Some(blob) = case.blob() {
            let (_, name) = blob.split_once('/').expect("a container");
            let result = bench.result(name).await;
            let result = result.unwrap_or_else(|| panic!("{}: no result of {blob}", case.name));
            assert_eq!(result["status"], "ok", "{}: {result}", case.name);
        } else {
            let event: Value = serde_json::from_slice(&case.bytes()).expect("JSON");
            let kind = event["type"].as_str().expect("a type");
            assert!(log.contains(&format!("\"event_type\":\"{kind}")), "{}: no line with {kind}", case.name);
        }
        assert_eq!(bench.dead().await.len(), 0, "{}", case.name);
    }
    assert!((worker.metric("nightread_wait_seconds_count", "").await - timed).abs() < 0.1);
    assert!(worker.metric("nightread_wait_seconds_sum", "").await < 86_400.0);
    let jobs = cases.iter().filter(|case| case.blob().is_some()).count();
    let ended = worker.metric("nightread_jobs_total", "").await
        + worker.metric("nightread_events_ignored_total", "").await;
    assert_eq!(ended as usize, cases.len());
    assert!(jobs > cases.len() / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_text_in_the_storage_queue_ends_as_it_should() {
    let test = "each_text_in_the_storage_queue_ends_as_it_should";
    let Some(cases) = all(test) else { return };
    let (Some(rabbit), Some(queues)) = (Rabbit::shared(test).await, Queues::shared(test).await) else {
        return;
    };
    if !Worker::is_built(test) {
        return;
    }
    let options = rabbit.declared().await;
    let observer = nightread_tests::rabbit::Observer::connect(&options.url).await;
    for case in cases.iter().filter(|case| case.place == "storage-queue") {
        let queue = queues.fresh().await;
        // A control character cannot travel in XML: what comes of it is any other text.
        let text: String = case.body.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
        queue.main.put(&text).await.expect("put");
        let output = relay_once(&queue.settings(&options.url));
        let told = summary(&output);
        let came = observer.drain(&topology::lane_queue(Lane::Ingest)).await;
        if case.right == "relayed" {
            assert_eq!(
                (&told["relayed"], &told["poisoned"]),
                (&1.into(), &0.into()),
                "{}: {told}",
                case.name
            );
            let event: Value = serde_json::from_slice(&came[0].data).expect("plain JSON");
            assert_eq!(event["type"], "Microsoft.Storage.BlobCreated");
        } else {
            assert_eq!(case.right, "poison queue", "{}", case.name);
            assert_eq!(
                (&told["relayed"], &told["poisoned"]),
                (&0.into(), &1.into()),
                "{}: {told}",
                case.name
            );
            assert_eq!((came.len(), queue.poison.depth().await.expect("a depth")), (0, 1));
        }
    }
}
