//! `nightread backlog` against a real management plug-in, and against servers that stand in for Azure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use nightread::adapters::amqp::{
    DeadLetters, Management, Publisher, RabbitIntake, RabbitOptions, WorkReport, recent_reports, topology,
};
use nightread::telemetry::ledger::LaneWork;
use nightread_domain::message::Attributes;
use nightread_domain::{Disposition, ErrorCode, Intake, Lane, Message, PerLane};
use nightread_tests::images::grey;
use nightread_tests::parts::skipped;
use nightread_tests::queues::Queues;
use nightread_tests::rabbit::{Observer, Rabbit, Tls};
use nightread_tests::server::{Answer, Asked, ScriptedServer};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings, binary};
use serde_json::Value;

const RESOURCE: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/workers";

struct Bench {
    options: RabbitOptions,
    publisher: Arc<Publisher>,
    management: String,
}

impl Bench {
    /// On a virtual host of the shared managed node.
    async fn new(test: &str) -> Option<Self> {
        if !binary().is_file() {
            skipped(test, "the release binary (`make build`)");
            return None;
        }
        let rabbit = Rabbit::managed(test).await?;
        let options = rabbit.declared().await;
        let publisher = Arc::new(Publisher::new(options.clone()));
        Some(Self { options, publisher, management: rabbit.management_url()? })
    }

    async fn announce(&self, lane: Lane, count: usize) {
        for _ in 0..count {
            let message = Message { body: Bytes::from_static(b"{}"), attributes: Attributes::for_lane(lane) };
            self.publisher.announce(&message).await.expect("confirmed");
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("backlog")
            .args(arguments)
            .env("NIGHTREAD_BROKER_URL", &self.options.url)
            .env("NIGHTREAD_BACKLOG_MANAGEMENT_URL", &self.management)
            .stdin(Stdio::null());
        command
    }

    async fn json(&self) -> Value {
        let output = output(self.command(&["--format", "json"])).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Waits until the plug-in, which is some seconds late, counts these messages of each lane.
    async fn counted(&self, ingest: [u64; 2], bulk: [u64; 2], workers: u64) -> Value {
        wait::until("the management plug-in to count", || async {
            let backlog = self.json().await;
            let of = |queue: usize| {
                let queue = &backlog["queues"][queue];
                [
                    queue["ready"].as_u64().expect("a count"),
                    queue["unacknowledged"].as_u64().expect("a count"),
                ]
            };
            (of(0) == ingest && of(1) == bulk && backlog["workers"] == workers).then_some(backlog)
        })
        .await
    }
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("it ends")
}

fn worker_report(at: u64, lane: Lane, messages: u64, seconds: f64) -> WorkReport {
    let mut lanes = PerLane::<LaneWork>::default();
    lanes[lane] = LaneWork { messages, seconds, oldest_age: Some(42), left: None };
    WorkReport::Worker { at, worker: "w".to_owned(), lanes }
}

fn unix_now() -> u64 {
    time::OffsetDateTime::now_utc().unix_timestamp() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ready_and_what_is_in_flight_is_work_and_workers_tell_what_it_costs() {
    let test = "what_is_ready_and_what_is_in_flight_is_work_and_workers_tell_what_it_costs";
    let Some(bench) = Bench::new(test).await else { return };
    let idle = bench.counted([0, 0], [0, 0], 0).await;
    assert_eq!(idle["seconds_per_worker"], 0.0);
    bench.announce(Lane::Ingest, 10).await;
    let alone = bench.counted([10, 0], [0, 0], 0).await;
    assert_eq!(alone["seconds_per_worker"], 601.0, "nobody works on it: {alone}");
    assert_eq!(alone["queues"][0]["known"], "settings");

    // Two workers, of which each takes what it may have: AMQP would tell of an empty queue.
    let mut intakes = Vec::new();
    for _ in 0..2 {
        let mut options = bench.options.clone();
        options.permits = 8;
        let mut intake = RabbitIntake::start(options, Arc::clone(&bench.publisher));
        let held = tokio::time::timeout(wait::patience(), intake.next()).await.expect("in time");
        intakes.push((held.expect("a session").expect("a delivery"), intake));
    }
    let observer = Observer::connect(&bench.options.url).await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 0).await;
    let busy = bench.counted([0, 10], [0, 0], 2).await;
    assert_eq!(busy["seconds"], 0.2, "ten images at 20 ms: {busy}");
    assert_eq!(busy["seconds_per_worker"], 0.1);

    bench.publisher.report(&worker_report(unix_now(), Lane::Ingest, 100, 50.0)).await.expect("told");
    bench.publisher.report(&worker_report(unix_now(), Lane::Bulk, 0, 3.0)).await.expect("told");
    bench.publisher.report(&worker_report(unix_now() - 5_000, Lane::Bulk, 1, 99.0)).await.expect("told");
    let told = bench.json().await;
    assert_eq!(
        (&told["queues"][0]["known"], &told["queues"][0]["seconds_each"]),
        (&"measured".into(), &0.5.into())
    );
    assert_eq!(told["queues"][1]["known"], "settings", "what is old is not of now");
    assert_eq!((&told["seconds_per_worker"], &told["oldest_job_age_seconds"]), (&2.5.into(), &42.into()));
    let window = std::time::Duration::from_mins(1);
    // Three brokers ask at the same second.
    let readers = (0..3).map(|_| recent_reports(&bench.options, &bench.publisher, window));
    for read in futures::future::join_all(readers).await {
        assert_eq!(read.expect("read").len(), 2, "each reads all, and takes nothing away");
    }

    for (held, _) in intakes {
        held.settlement.settle(Disposition::DeadLetter { error: dead() }).await.expect("settled");
    }
    let after = wait::until("the letters to be counted", || async {
        let backlog = bench.json().await;
        (backlog["dead_letters"] == 2).then_some(backlog)
    })
    .await;
    let table = String::from_utf8(output(bench.command(&[])).await.stdout).expect("text");
    assert!(table.contains("dead letters                 2"), "{table}\n{after}");
}

fn dead() -> nightread_domain::JobError {
    nightread_domain::JobError::new(nightread_domain::Stage::Fetch, ErrorCode::NoRoute, "why")
}

/// Azure's identity and metrics endpoints in one; the first two metrics meet failures.
async fn azure() -> ScriptedServer {
    let turn = AtomicU32::new(0);
    ScriptedServer::start(move |asked: &Asked| {
        if asked.method == "GET" && asked.path.starts_with("/identity?") {
            return Answer::new(
                200,
                r#"{"access_token":"TOKEN","expires_on":"4102444800","resource":"r","token_type":"Bearer"}"#,
            );
        }
        match turn.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::new(503, "busy"),
            1 => Answer::new(429, "slowly"),
            _ => Answer::new(200, ""),
        }
    })
    .await
}

fn publishing(bench: &Bench, azure: &ScriptedServer, arguments: &[&str]) -> Command {
    let mut command = bench.command(arguments);
    command
        .env("IDENTITY_ENDPOINT", format!("{}/identity", azure.url()))
        .env("IDENTITY_HEADER", "header")
        .env("NIGHTREAD_TESTING", "1")
        .env("NIGHTREAD_BACKLOG_ENDPOINT", azure.url())
        .env("NIGHTREAD_BACKLOG_RESOURCE_ID", RESOURCE);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_published_as_documented_zeros_included() {
    let Some(bench) = Bench::new("metrics_are_published_as_documented_zeros_included").await else { return };
    let azure = azure().await;
    let Some(queues) = Queues::shared("metrics_are_published_as_documented_zeros_included").await else {
        return;
    };
    let queue = queues.fresh().await;
    let mut publish = publishing(&bench, &azure, &["--publish"]);
    publish
        .env("NIGHTREAD_RELAY_CONNECTION_STRING", &queue.connection_string)
        .env("NIGHTREAD_RELAY_QUEUE", &queue.name);
    let before = time::OffsetDateTime::now_utc().unix_timestamp();
    let done = output(publish).await;
    let after = time::OffsetDateTime::now_utc().unix_timestamp();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let asked = azure.asked_by("GET");
    let resources: Vec<_> = asked
        .iter()
        .filter_map(|asked| {
            asked.path.strip_prefix("/identity?")?.split('&').find_map(|pair| pair.strip_prefix("resource="))
        })
        .collect();
    assert_eq!(resources, ["https%3A%2F%2Fmonitoring.azure.com%2F"], "one token for all metrics");
    let posts = azure.asked_by("POST");
    assert_eq!(posts.len(), 6, "four metrics, and two tries that failed");
    assert_eq!([&posts[0].body, &posts[1].body], [&posts[2].body; 2], "the same value is tried again");
    let stamp = &posts[0].body[9..29];
    let format = &time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::parse(stamp, format).expect("a time").unix_timestamp();
    assert!((before..=after).contains(&at));
    let metrics = ["BacklogSecondsPerWorker", "DeadLetters", "OldestJobAgeSeconds", "StorageQueueDepth"];
    for (post, metric) in posts[2..].iter().zip(metrics) {
        let expected = format!(
            concat!(
                r#"{{"time":"{}","data":{{"baseData":{{"metric":"{}","namespace":"nightread/queue","#,
                r#""series":[{{"min":0.0,"max":0.0,"sum":0.0,"count":1}}]}}}}}}"#
            ),
            stamp, metric
        );
        assert_eq!(post.body, expected, "byte by byte");
        assert_eq!(post.path, format!("{RESOURCE}/metrics"));
        assert_eq!(post.header("content-type"), "application/json");
        assert_eq!(post.header("authorization"), "Bearer TOKEN");
        assert_eq!(post.header("content-length"), expected.len().to_string());
    }
    queue.main.put("announcement").await.expect("put");
    queue.main.put("another").await.expect("put");
    let mut look = bench.command(&["--format", "json"]);
    look.env("NIGHTREAD_RELAY_CONNECTION_STRING", &queue.connection_string)
        .env("NIGHTREAD_RELAY_QUEUE", &queue.name);
    let backlog: Value = serde_json::from_slice(&output(look).await.stdout).expect("JSON");
    assert_eq!(backlog["storage_queue"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_counted_or_published_is_said_and_never_made_up() {
    let test = "what_cannot_be_counted_or_published_is_said_and_never_made_up";
    let Some(bench) = Bench::new(test).await else { return };
    let refusing = ScriptedServer::start(|asked: &Asked| match asked.method.as_str() {
        "GET" => Answer::new(
            200,
            r#"{"access_token":"TOKEN","expires_on":"4102444800","resource":"r","token_type":"Bearer"}"#,
        ),
        _ => Answer::new(403, "no role"),
    })
    .await;
    let refused = output(publishing(&bench, &refusing, &["--publish"])).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("Monitoring Metrics Publisher") && !said.contains("TOKEN"), "{said}");
    assert_eq!(refusing.asked_by("POST").len(), 3, "a refusal is not tried again, and the other metrics are");

    let mut stranger = publishing(&bench, &refusing, &["--publish"]);
    stranger.env("NIGHTREAD_BACKLOG_MANAGEMENT_URL", bench.management.replace("guest:guest", "guest:HUSH"));
    let stranger = output(stranger).await;
    assert_eq!(stranger.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&stranger.stderr).contains("HUSH"));
    assert_eq!(refusing.asked_by("POST").len(), 3, "nothing is published that nobody counted");

    let mut unset = bench.command(&["--publish"]);
    unset.env_remove("NIGHTREAD_BACKLOG_MANAGEMENT_URL");
    let unset = output(unset).await;
    let said = String::from_utf8_lossy(&unset.stderr).into_owned();
    assert_eq!(unset.status.code(), Some(2));
    assert!(said.contains("management_url") && said.contains("resource_id"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_workers_tell_what_their_images_cost_and_how_old_they_were() {
    let test = "real_workers_tell_what_their_images_cost_and_how_old_they_were";
    let Some(bench) = Bench::new(test).await else { return };
    if !Worker::is_built(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WorkerSettings::new(&bench.options.url).folder(folder.path());
    let settings = settings.with("NIGHTREAD_WORKER_REPORT_SECONDS", "1");
    for number in 0..20 {
        let name = format!("{number}.png");
        std::fs::write(folder.path().join("incoming").join(&name), grey(9, 64, number)).expect("written");
        let mut attributes = Attributes::for_lane(Lane::Bulk);
        attributes.announced_at = Some(unix_now() - 5_000);
        let body = Bytes::from(format!(r#"{{"blob": "incoming/{name}"}}"#));
        bench.publisher.announce(&Message { body, attributes }).await.expect("confirmed");
    }
    // A long-lived look beside it, as a service that is scraped.
    let port = nightread_tests::parts::free_port();
    let mut watch =
        bench.command(&["--every", "1s", "--serve", &format!("127.0.0.1:{port}"), "--format", "json"]);
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let worker = Worker::start(&settings, folder.path());
    worker.ready().await;
    let backlog = wait::until("the worker to have told", || async {
        let backlog = bench.json().await;
        (backlog["queues"][1]["known"] == "measured" && backlog["workers"] == 1).then_some(backlog)
    })
    .await;
    let each = backlog["queues"][1]["seconds_each"].as_f64().expect("a number");
    assert!(each > 0.0 && each < 60.0, "{backlog}");
    let age = backlog["oldest_job_age_seconds"].as_u64().expect("a number");
    assert!((5_000..6_000).contains(&age), "{backlog}");
    assert!(worker.metric("nightread_wait_seconds_sum", r#"lane="bulk""#).await >= 100_000.0);
    let text = wait::until("the look to be scraped", || async {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = nightread_tests::server::get(&url).await?;
        text.contains("nightread_backlog_workers 1").then_some(text)
    })
    .await;
    let row = format!(
        r#"nightread_backlog_messages{{queue="{}",state="ready"}} 0"#,
        topology::lane_queue(Lane::Bulk)
    );
    assert!(text.contains(&row), "{text}");
    let told = Command::new("kill").args(["-TERM", &watch.id().to_string()]).status().expect("kill");
    assert!(told.success());
    let ended = tokio::task::spawn_blocking(move || watch.wait().expect("it ends")).await.expect("it ends");
    assert!(ended.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plug_in_is_reached_over_tls_and_only_when_its_certificate_is_known() {
    let test = "the_plug_in_is_reached_over_tls_and_only_when_its_certificate_is_known";
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.pem();
    let tls = Tls { certificate: certificate.clone(), key: made.signing_key.serialize_pem() };
    let Some(rabbit) = Rabbit::start_managed(Some(tls)).await else { return skipped(test, "RabbitMQ") };
    let options = rabbit.declared().await;
    let (url, host) = (
        rabbit.management_tls_url().expect("a TLS listener"),
        nightread::adapters::amqp::virtual_host(&options).expect("a host"),
    );
    let queues = [topology::DEAD_QUEUE.to_owned()];
    let unknown = Management::new(&url, &host, None).expect("an address");
    assert_eq!(unknown.counts(&queues).await.expect_err("unknown").code, ErrorCode::BrokerUnavailable);
    let known = Management::new(&url, &host, Some(&certificate)).expect("an address");
    let counts = known.counts(&queues).await.expect("counted");
    assert_eq!(counts[topology::DEAD_QUEUE].messages(), 0);
    let missing = known.counts(&["nightread.jobs.none".to_owned()]).await.expect_err("no such queue");
    assert_eq!(missing.code, ErrorCode::BrokerRejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_checked_to_its_bindings_and_policies_and_letters_are_called_by_what_the_broker_did()
{
    let test =
        "the_topology_is_checked_to_its_bindings_and_policies_and_letters_are_called_by_what_the_broker_did";
    let Some(bench) = Bench::new(test).await else { return };
    let rabbit = Rabbit::managed(test).await.expect("it is there");
    let check = async |management: &str| {
        let mut command = Command::new(binary());
        command.args(["topology", "--check"]).env("NIGHTREAD_BROKER_URL", &bench.options.url);
        command.env("NIGHTREAD_BACKLOG_MANAGEMENT_URL", management).stdin(Stdio::null());
        let output = output(command).await;
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.success(), text.concat())
    };
    let (sound, said) = check("").await;
    assert!(sound && said.contains("Only names were looked at"), "{said}");
    let (sound, said) = check(&bench.management).await;
    assert!(sound, "{said}");
    let observer = Observer::connect(&bench.options.url).await;
    let (queue, exchange, key) = (topology::DEAD_QUEUE.into(), topology::DEAD.into(), "".into());
    let unbound = observer.channel().queue_unbind(queue, exchange, key, lapin::types::FieldTable::default());
    unbound.await.expect("unbound");
    let host = bench.options.url.rsplit('/').next().expect("a virtual host");
    let policy = r#"{"message-ttl": 100}"#;
    rabbit
        .control(&["set_policy", "-p", host, "--apply-to", "queues", "tidy", "^nightread.jobs", policy])
        .await;
    // The plug-in is some seconds late with policies.
    let named = "queue nightread.jobs.dead: policy tidy sets message-ttl";
    let said = wait::until("the policy to be named", || async {
        let (sound, said) = check(&bench.management).await;
        assert!(!sound && said.contains("nothing leads from exchange nightread.dead"), "{said}");
        said.contains(named).then_some(said)
    })
    .await;
    assert!(said.contains("dead letters would vanish"), "{said}");
    topology::declare(&bench.options).await.expect("declared");
    // What the policy lets expire in its lane died of that, and of no worker. It must not cover the letters too.
    rabbit.control(&["set_policy", "-p", host, "--apply-to", "queues", "tidy", "jobs.ingest$", policy]).await;
    bench.announce(Lane::Ingest, 1).await;
    observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let letters = DeadLetters::open(&bench.options).await.expect("opened").peek(1).await.expect("peeked");
    assert_eq!(letters[0].code, ErrorCode::MessageExpired);
    assert!(letters[0].dead_at.is_some() && letters[0].reason.is_some());
}

/// Where nothing is published, whoever goes on looking remembers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_without_a_worker_grows_older_from_look_to_look() {
    let test = "what_waits_without_a_worker_grows_older_from_look_to_look";
    let Some(bench) = Bench::new(test).await else { return };
    bench.announce(Lane::Volumes, 1).await;
    let port = nightread_tests::parts::free_port();
    let mut watch = bench.command(&["--every", "1s", "--serve", &format!("127.0.0.1:{port}")]);
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    wait::until("an age of three seconds", || async {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = nightread_tests::server::get(&url).await?;
        let age = text.lines().find_map(|line| line.strip_prefix("nightread_oldest_job_age_seconds "))?;
        (age.parse::<f64>().ok()? >= 3.0).then_some(())
    })
    .await;
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
}
