//! What the commands tell Prometheus, held by its own checker and by a server that scrapes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::Duration;

use nightread::telemetry::metrics::process;
use nightread::telemetry::metrics::table::{METRICS, Teller};
use nightread_domain::{ErrorClass, ErrorCode, Lane};
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::{Ending, free_port, skipped};
use nightread_tests::prometheus::{self, Prometheus, promtool};
use nightread_tests::queues::{Queues, event, serve_at};
use nightread_tests::rabbit::Rabbit;
use nightread_tests::server::get;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::json;

/// A command of the binary, killed with the test.
struct Started {
    child: Child,
    port: u16,
}

impl Started {
    fn new(settings: &WorkerSettings, command: &str) -> Self {
        let port = free_port();
        Self { child: serve_at(port, settings, command), port }
    }

    fn backlog(settings: &WorkerSettings) -> Self {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = settings.command(&["backlog", "--every", "1s", "--serve", &address]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("it starts"), port }
    }

    async fn get(&self, path: &str) -> Option<String> {
        get(&format!("http://127.0.0.1:{}{path}", self.port)).await
    }

    async fn ready(&self) {
        wait::until("it to be ready", || async {
            self.get("/ready").await.filter(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await;
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// The labels of every metric in Prometheus text, by the metric's own name.
fn families(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut histograms = BTreeSet::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            if let Some(name) = head.strip_suffix(" histogram") {
                histograms.insert(name.to_owned());
            }
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let end = line.find(['{', ' ']).expect("a value");
        let (name, rest) = line.split_at(end);
        let parent = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let name = parent.filter(|parent| histograms.contains(*parent)).unwrap_or(name);
        let labels = families.entry(name.to_owned()).or_default();
        let set = rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map_or("", |(set, _)| set);
        labels.extend(set.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())));
    }
    families
}

fn assert_tells(teller: Teller, answer: &str) {
    let text = body(answer);
    let folder = std::env::temp_dir();
    promtool(&["check", "metrics"], &folder, text)
        .unwrap_or_else(|fault| panic!("{}: {fault}", teller.as_str()));
    let told = families(text);
    let own: BTreeMap<_, _> =
        METRICS.iter().filter(|metric| metric.told_by.contains(&teller)).map(|m| (m.name, m)).collect();
    for (name, labels) in &told {
        if process::names().any(|known| known == name) {
            continue;
        }
        let metric = own.get(name.as_str()).unwrap_or_else(|| panic!("{} tells {name}", teller.as_str()));
        let known: BTreeSet<_> =
            metric.labels.iter().map(ToString::to_string).chain(["le".to_owned()]).collect();
        assert!(labels.is_subset(&known), "{name}: {labels:?}");
    }
    for name in own.keys().copied().chain(process::names()) {
        assert!(told.contains_key(name), "{} does not tell {name}:\n{text}", teller.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_tells_what_the_table_says_and_the_checker_finds_no_fault() {
    let test = "every_command_tells_what_the_table_says_and_the_checker_finds_no_fault";
    if !prometheus::is_there(test) || !Worker::is_built(test) {
        return;
    }
    let Some(rabbit) = Rabbit::managed(test).await else { return };
    let Some(queues) = Queues::shared(test).await else { return };
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let queue = queues.fresh().await;
    queue.main.put(&event("waits.png").to_string()).await.expect("put");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let settings = queue.settings(&options.url).folder(folder.path());

    let relay = Started::new(&settings, "relay");
    relay.ready().await;
    let told = wait::until("the event to be relayed", || async {
        let told = relay.get("/metrics").await?;
        told.contains("nightread_relay_messages_total{outcome=\"relayed\"} 1").then_some(told)
    })
    .await;
    assert!(told.contains("nightread_storage_queue_wait_seconds_bucket{le=\"1\"} 0"), "{told}");
    assert!(told.contains("nightread_storage_queue_wait_seconds_count 1"), "{told}");
    assert!(told.contains("nightread_relay_messages_total{outcome=\"poisoned\"} 0"), "{told}");
    assert_tells(Teller::Relay, &told);

    let token = settings.clone().with("NIGHTREAD_WEBHOOK_TOKEN", "a-token-for-the-tests-only");
    let webhook = Started::new(&token.with("NIGHTREAD_WEBHOOK_LISTEN", "127.0.0.1:0"), "webhook");
    webhook.ready().await;
    assert_tells(Teller::Webhook, &webhook.get("/metrics").await.expect("an answer"));

    let worker = Worker::start(&settings, folder.path());
    worker.ready().await;
    // The blob is in another account, and the message is as old as its time in both queues.
    wait::until("the message to be settled", || async {
        let text = worker.get("/metrics").await?;
        text.contains(r#"nightread_wait_seconds_count{lane="ingest"} 1"#).then_some(())
    })
    .await;
    assert!(worker.metric("nightread_wait_seconds_sum", "ingest").await >= 2.0);
    let told = worker.get("/metrics").await.expect("an answer");
    for row in [
        r#"nightread_jobs_total{outcome="read",lane="volumes",model="one-node"} 0"#,
        r#"nightread_job_errors_total{outcome="failed",code="decode_failed"} 0"#,
        r#"nightread_paused{reason="storage"} 0"#,
        r#"nightread_job_seconds_count{lane="bulk"} 0"#,
        r#"nightread_wait_seconds_bucket{lane="bulk",le="86400"} 0"#,
    ] {
        assert!(told.lines().any(|line| line == row), "no {row} in\n{told}");
    }
    assert_tells(Teller::Run, &told);

    let management = rabbit.management_url().expect("the plug-in");
    let backlog = Started::backlog(&settings.with("NIGHTREAD_BACKLOG_MANAGEMENT_URL", &management));
    backlog.ready().await;
    assert_tells(Teller::Backlog, &backlog.get("/metrics").await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_dead_letter_is_an_alert() {
    let test = "the_first_dead_letter_is_an_alert";
    if !prometheus::is_there(test) {
        return;
    }
    let Some(bench) = Bench::shared(test).await else { return };
    let worker = bench.start();
    worker.ready().await;
    let told = worker.get("/metrics").await.expect("an answer");
    for code in ErrorCode::ALL.iter().filter(|code| code.class() != ErrorClass::Fatal) {
        let row = format!(r#"nightread_messages_total{{disposition="dead_lettered",code="{code}"}} 0"#);
        assert!(told.contains(&row), "{row}");
    }
    let server = Prometheus::start(&[worker.port()]);
    server.has("nightread_messages_total", 100).await;
    assert_eq!(server.firing().await, [] as [serde_json::Value; 0], "nothing is wrong yet");
    bench.upload("a.png", grey(1, 64, 1)).await;
    bench.announce(Lane::Ingest, "a.png").await;
    bench.publish(Lane::Ingest, "bad", "no announcement").await;
    let alert = wait::until("the alert", || async { server.firing().await.into_iter().next() }).await;
    let expected =
        json!({"alertname": "NightreadDeadLetter", "code": "message_unparseable", "severity": "warning"});
    assert_eq!(alert, expected);
    assert_eq!(bench.wait_for_result("a.png").await["status"], "ok");
    // One row for the model that read it, none of a message's making.
    let read = r#"outcome="read",lane="ingest",model="one-node""#;
    wait::until("the job to be counted", || async {
        (worker.metric("nightread_jobs_total", read).await > 0.5).then_some(())
    })
    .await;
}

#[test]
fn the_rules_are_sound_and_name_only_metrics_that_there_are() {
    if !prometheus::is_there("the_rules_are_sound_and_name_only_metrics_that_there_are") {
        return;
    }
    let rules = prometheus::rules();
    let folder = rules.parent().expect("a folder");
    for arguments in
        [["check", "rules", "nightread.rules.yml"], ["test", "rules", "nightread.rules.test.yml"]]
    {
        promtool(&arguments, folder, "").unwrap_or_else(|fault| panic!("{arguments:?}: {fault}"));
    }
    let text = std::fs::read_to_string(&rules).expect("the rules");
    let named: BTreeSet<_> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| ["nightread_", "process_"].iter().any(|start| word.starts_with(start)))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let known: Vec<_> = METRICS.iter().map(|metric| metric.name).chain(process::names()).collect();
    for name in named {
        let plain = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(known.contains(&plain), "the rules name {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_cannot_see_tells_no_figures_but_how_old_its_last_are() {
    let test = "a_backlog_that_cannot_see_tells_no_figures_but_how_old_its_last_are";
    if !Worker::is_built(test) {
        return;
    }
    let Some(mut rabbit) = Rabbit::start_managed(None).await else { return skipped(test, "RabbitMQ") };
    let options = rabbit.declared().await;
    let management = rabbit.management_url().expect("the plug-in");
    let settings = WorkerSettings::new(&options.url).with("NIGHTREAD_BACKLOG_MANAGEMENT_URL", &management);
    let backlog = Started::backlog(&settings);
    backlog.ready().await;
    let told = backlog.get("/metrics").await.expect("an answer");
    assert!(
        told.contains("nightread_dead_letters 0") && told.contains("nightread_backlog_messages{"),
        "{told}"
    );
    rabbit.pause(Ending::Kill);
    let told = wait::until("the figures to be gone", || async {
        let told = backlog.get("/metrics").await?;
        (!told.contains("nightread_dead_letters")).then_some(told)
    })
    .await;
    for name in
        ["nightread_backlog_messages", "nightread_backlog_workers", "nightread_oldest_job_age_seconds"]
    {
        assert!(!told.contains(name), "{told}");
    }
    wait::until("it to say why", || async {
        let ready = backlog.get("/ready").await?;
        (ready.starts_with("HTTP/1.1 503") && ready.contains("broker: ")).then_some(())
    })
    .await;
    wait::until("the age to grow", || async {
        let told = backlog.get("/metrics").await?;
        let age =
            told.lines().find_map(|line| line.strip_prefix("nightread_backlog_last_success_age_seconds "))?;
        (age.trim().parse::<f64>().ok()? > 3.0).then_some(())
    })
    .await;
    rabbit.resume().await;
    wait::until("the figures to be back", || async {
        backlog.get("/metrics").await?.contains("nightread_dead_letters 0").then_some(())
    })
    .await;
}
