//! `nightread announce` as a process, with a real broker and a real Azurite: every blob is announced, whatever happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdin, Output, Stdio};
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::topology;
use nightread_domain::{BlobRef, ErrorClass, ErrorCode, Lane};
use nightread_tests::announcing::{Announced, announce, announce_with_kills, start, summary};
use nightread_tests::bench::Bench;
use nightread_tests::cable::Cable;
use nightread_tests::images::grey;
use nightread_tests::parts::{Ending, skipped};
use nightread_tests::rabbit::{Observer, Rabbit, options};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::json;
use tempfile::TempDir;

/// A declared virtual host and a folder of so many files in `incoming`.
async fn folder(rabbit: &Rabbit, files: usize) -> (TempDir, WorkerSettings, Observer) {
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WorkerSettings::new(&options.url).folder(folder.path());
    write_files(folder.path(), files);
    let observer = Observer::connect(&options.url).await;
    (folder, settings, observer)
}

fn write_files(folder: &Path, files: usize) {
    for number in 0..files {
        let path = folder.join(format!("incoming/{}/{number}.png", number % 7));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, b"x").expect("a file");
    }
}

fn expected(files: usize) -> Vec<String> {
    let mut names: Vec<_> =
        (0..files).map(|number| format!("incoming/{}/{number}.png", number % 7)).collect();
    names.sort();
    names
}

fn bulk() -> String {
    topology::lane_queue(Lane::Bulk)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_three_times_it_announces_every_blob() {
    let Some(rabbit) = Rabbit::shared("killed_three_times_it_announces_every_blob").await else { return };
    let files = 12_000;
    let (folder, settings, observer) = folder(rabbit, files).await;
    let checkpoint = folder.path().join("progress.json");
    let ended = announce_with_kills(&settings, &[], &checkpoint, 3, 7);
    let announced = Announced::of(&observer.drain(&bulk()).await);
    println!("{ended}: {} messages for {} blobs", announced.messages(), announced.0.len());
    assert_eq!(ended.kills, 3);
    assert_eq!(announced.names(), expected(files), "none is lost, none is invented");
    // What was confirmed after the last checkpoint before a kill is announced again.
    assert!(announced.messages() < 2 * files, "{} messages", announced.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_it_and_the_same_command_goes_on_without_repeats() {
    let Some(rabbit) = Rabbit::shared("a_signal_stops_it").await else { return };
    let files = 3_000;
    let (folder, settings, observer) = folder(rabbit, files).await;
    let checkpoint = folder.path().join("progress.json");
    let path = checkpoint.to_str().expect("a UTF-8 path");
    let child = start(&settings, &["--rate", "100", "--checkpoint", path]);
    wait::until("some announcements", || async { (observer.depth(&bulk()).await > 100).then_some(()) }).await;
    let told = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(told.expect("a signal").success());
    let output = child.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let first = summary(&output)["announced"].as_u64().expect("a count");
    observer.wait_for_depth(&bulk(), first as u32).await;
    let other = announce(&settings, &["--lane", "ingest", "--checkpoint", path]);
    assert_eq!(other.status.code(), Some(1), "another announcement's checkpoint is refused");
    let output = announce(&settings, &["--checkpoint", path]);
    assert!(output.status.success());
    assert_eq!(summary(&output)["announced"], files);
    let announced = Announced::of(&observer.drain(&bulk()).await);
    assert_eq!(
        (announced.names(), announced.messages()),
        (expected(files).iter().map(String::as_str).collect(), files)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_pauses_it_and_nothing_is_lost() {
    let Some(rabbit) = Rabbit::shared("a_full_queue_pauses_it_and_nothing_is_lost").await else { return };
    let options = options(&rabbit.fresh_url());
    let observer = Observer::connect(&options.url).await;
    // A lane that takes no more than 40, as an operator's policy may make it.
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let channel = observer.channel();
    channel
        .exchange_declare(topology::JOBS.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .expect("an exchange");
    let mut arguments = FieldTable::default();
    // Classic queues count exactly; quorum queues take some more before they refuse.
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(40));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(bulk().into(), durable, arguments).await.expect("a queue");
    let key = topology::lane_key(Lane::Bulk);
    channel
        .queue_bind(
            bulk().into(),
            topology::JOBS.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path(), 300);
    let settings = WorkerSettings::new(&options.url).folder(folder.path());
    let mut child = start(&settings, &[]);
    let mut announced = Announced::default();
    // A lane that stays full has refused what came next.
    let mut full = 0;
    while full < 10 {
        full = if observer.depth(&bulk()).await == 40 { full + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while child.try_wait().expect("a child").is_none() {
        announced.add(&observer.drain(&bulk()).await);
    }
    announced.add(&observer.drain(&bulk()).await);
    let output = child.wait_with_output().expect("a child");
    let summary = summary(&output);
    assert!(output.status.success(), "{summary}");
    assert!(summary["pauses"].as_u64().expect("a count") > 0, "{summary}");
    assert_eq!(announced.names(), expected(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_while_the_backlog_is_long() {
    let Some(rabbit) = Rabbit::shared("it_waits_while_the_backlog_is_long").await else { return };
    let (_folder, settings, observer) = folder(rabbit, 500).await;
    let mut child = start(&settings, &["--max-backlog", "120"]);
    let mut announced = Announced::default();
    while child.try_wait().expect("a child").is_none() {
        wait::until("a long backlog, or the end", || async {
            let depth = observer.depth(&bulk()).await;
            assert!(depth <= 120, "{depth} in the lane");
            let rest = 500 - announced.messages() as u32;
            (depth == 120.min(rest)).then_some(())
        })
        .await;
        announced.add(&observer.drain(&bulk()).await);
    }
    assert!(child.wait().expect("a child").success());
    announced.add(&observer.drain(&bulk()).await);
    assert_eq!((announced.messages(), announced.0.len()), (500, 500));
}

/// `announce` over a list of names that is not at its end until the test says so.
struct Listing {
    child: Child,
    names: ChildStdin,
}

impl Listing {
    fn start(settings: &WorkerSettings, arguments: &[&str]) -> Self {
        let arguments = [&["announce", "--names", "--format", "json"], arguments].concat();
        let mut command = settings.command(&arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let names = child.stdin.take().expect("a pipe");
        Self { child, names }
    }

    /// So few that the pipe takes them all; it takes them up by five hundred.
    fn name(&mut self, numbers: Range<usize>) {
        let names: Vec<_> = numbers.map(|number| format!("incoming/{}/{number}.png\n", number % 7)).collect();
        self.names.write_all(names.concat().as_bytes()).expect("it reads");
    }

    fn end(self) -> Output {
        drop(self.names);
        self.child.wait_with_output().expect("a child")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_out_a_short_memory_and_outlives_its_broker() {
    let test = "it_waits_out_a_short_memory_and_outlives_its_broker";
    let Some(mut rabbit) = Rabbit::start(None).await else { return skipped(test, "RabbitMQ") };
    let (_folder, settings, observer) = folder(&rabbit, 0).await;
    // A broker that is short of memory is there, and is waited for longer than one that answers nothing.
    let patience = Duration::from_secs(8);
    let mut listing = Listing::start(&settings, &["--broker-patience", "8"]);
    listing.name(0..500);
    observer.wait_for_depth(&bulk(), 500).await;
    // It reads no more, and confirms what it has.
    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
    listing.name(500..3_000);
    let mut still = (0, 0);
    while still.1 < 20 {
        let depth = observer.depth(&bulk()).await;
        still = if depth == still.0 { (depth, still.1 + 1) } else { (depth, 0) };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(still.0 < 3_000, "{} are there", still.0);
    tokio::time::sleep(patience).await;
    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "2GB"]).await;
    let output = listing.end();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(summary(&output)["announced"], 3_000);

    let mut listing = Listing::start(&settings, &[]);
    listing.name(3_000..3_500);
    observer.wait_for_depth(&bulk(), 3_500).await;
    rabbit.pause(Ending::Kill);
    listing.name(3_500..4_000);
    rabbit.resume().await;
    let observer = Observer::connect(settings.broker_url()).await;
    wait::until("it to go on", || async { (observer.depth(&bulk()).await > 3_500).then_some(()) }).await;
    listing.name(4_000..5_000);
    let output = listing.end();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(summary(&output)["announced"], 2_000);
    let announced = Announced::of(&observer.drain(&bulk()).await);
    assert_eq!(announced.names(), expected(5_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_cut_off_is_given_up_by_name_and_the_same_command_goes_on() {
    let test = "a_broker_that_is_cut_off_is_given_up_by_name_and_the_same_command_goes_on";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let (folder, settings, observer) = folder(rabbit, 0).await;
    let url = rabbit.url();
    let address = url.rsplit('@').next().expect("an address").to_owned();
    let cable = Cable::to(address.parse().expect("an address")).await;
    let place = format!("127.0.0.1:{}", cable.port());
    let cabled =
        settings.clone().with("NIGHTREAD_BROKER_URL", &settings.broker_url().replace(&address, &place));
    let checkpoint = folder.path().join("progress.json");
    let arguments = ["--checkpoint", checkpoint.to_str().expect("a UTF-8 path"), "--broker-patience", "3"];
    let given_up = |output: &Output| {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let last = told.lines().last().expect("a line").to_owned();
        assert!(last.contains(&place) && last.contains("broker_unavailable"), "{told}");
        assert!(!told.contains("guest"), "{told}");
    };
    assert_eq!(ErrorCode::of("broker_unavailable").expect("a code").class(), ErrorClass::Transient);

    // In the middle: nothing is lost, and nothing that was confirmed comes again.
    let mut listing = Listing::start(&cabled, &arguments);
    listing.name(0..500);
    observer.wait_for_depth(&bulk(), 500).await;
    cable.cut();
    listing.name(500..1_000);
    given_up(&listing.end());
    // From the start: it calls, and nobody answers.
    let mut listing = Listing::start(&cabled, &arguments);
    listing.name(0..1_500);
    given_up(&listing.end());
    cable.mend();
    let mut listing = Listing::start(&cabled, &arguments);
    listing.name(0..1_500);
    let output = listing.end();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let announced = Announced::of(&observer.drain(&bulk()).await);
    assert_eq!(announced.names(), expected(1_500));
    assert!(announced.messages() < 2_000, "{} messages", announced.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_result_of_this_version_is_left_out() {
    let Some(bench) = Bench::shared("what_has_a_result_of_this_version_is_left_out").await else { return };
    // Names whose results sort in another order than they do; one too long for a plain result's name.
    let long = format!("{}/x.png", "d".repeat(200).repeat(5));
    let names = ["a", "a b", "a-b", "a.jsn", "a.png", "a/b.png", "b", "ü.png", &long];
    let is_done = |name: &str| ["a", "a-b", "a/b.png", "bad", &long].contains(&name);
    for (number, name) in names.iter().enumerate() {
        bench.upload(name, grey(number as u8, 64, number)).await;
    }
    bench.upload("bad", "no image".into()).await;
    let worker = bench.start();
    let done: Vec<_> = names.iter().chain(&["bad"]).filter(|name| is_done(name)).collect();
    for name in &done {
        bench.announce(Lane::Ingest, name).await;
    }
    wait::until("a result of each", || async {
        (worker.metric("nightread_jobs_total", "").await as usize == done.len()).then_some(())
    })
    .await;
    bench.settled(&[&worker], Duration::from_mins(2)).await;
    worker.kill();
    let observer = bench.observer().await;
    let settings = bench.settings();
    let left = async |arguments: &[&str]| -> Vec<String> {
        let output = announce(&settings, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let deliveries = observer.drain(&bulk()).await;
        let announced = Announced::of(&deliveries);
        assert_eq!(summary(&output)["announced"], deliveries.len());
        let prefix = format!("{}/", bench.incoming);
        announced.names().iter().map(|name| name.trim_start_matches(&prefix).to_owned()).collect()
    };
    let undone: Vec<_> = names.iter().filter(|name| !is_done(name)).copied().collect();
    assert_eq!(left(&["--skip-done", "--model", "one-node"]).await, undone);
    assert_eq!(left(&["--skip-done"]).await, undone, "the routes name the same model");
    let place = format!("{}/a", bench.incoming);
    assert_eq!(left(&["--skip-done", &place]).await, ["a b", "a.jsn", "a.png"]);
    let with_failed: Vec<_> = [&undone[..3], &["b", "bad", "ü.png"]].concat();
    assert_eq!(left(&["--skip-done", "--retry-failed"]).await, with_failed);
    assert_eq!(left(&["--skip-done", "--suffix", "PNG", "--modified-since", "1h"]).await, ["a.png", "ü.png"]);
    // Another version of a blob has no result yet.
    bench.upload("a-b", grey(77, 64, 77)).await;
    assert_eq!(left(&["--skip-done", &place]).await, ["a b", "a-b", "a.jsn", "a.png"]);
    // A list of names finds the same by asking for each.
    let list = format!("{0}/a\n{0}/a-b\n{0}/gone\n{0}/b\n{0}/{long}\n", bench.incoming);
    let mut command = settings.command(&["announce", "--names", "--skip-done", "--format", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("a child");
    let told = summary(&output);
    assert_eq!(
        (&told["announced"], &told["done"], &told["gone"]),
        (&json!(2), &json!(2), &json!(1)),
        "{told}"
    );
    let announced = Announced::of(&observer.drain(&bulk()).await);
    assert_eq!(announced.names(), [format!("{}/a-b", bench.incoming), format!("{}/b", bench.incoming)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_event_grid_gave_up_is_announced_again() {
    let Some(bench) = Bench::shared("what_event_grid_gave_up_is_announced_again").await else { return };
    let letters = nightread_tests::parts::fresh_name("letters");
    bench.direct.create_container(&letters).await.expect("a container");
    let event = |name: &str| {
        let events: serde_json::Value = serde_json::from_str(&bench.event_grid(name)).expect("JSON");
        events[0].clone()
    };
    let mut dead = event("first.png");
    dead["deadLetterReason"] = json!("MaxDeliveryAttemptsExceeded");
    dead["deliveryAttempts"] = json!(30);
    let cloud = |name: &str, kind: &str| {
        json!({"specversion": "1.0", "id": name, "source": "/s", "type": kind, "data": event(name)["data"],
            "deadletterreason": "TimeToLiveExceeded"})
    };
    let created = "Microsoft.Storage.BlobCreated";
    let mut foreign = event("x");
    foreign["data"]["url"] = json!("https://elsewhere.blob.core.windows.net/incoming/x");
    for (name, body) in [
        ("T/BLOB-CREATED/2026/1/2/3/one.json", json!([dead, cloud("second ü.png", created)])),
        ("T/BLOB-CREATED/2026/1/2/4/two.json", json!([cloud("x", "Microsoft.Storage.BlobDeleted"), foreign])),
        ("T/BLOB-CREATED/2026/1/2/5/three.json", json!("no event")),
    ] {
        let blob = BlobRef::new(letters.as_str(), name).expect("a name");
        bench.direct.put(&blob, body.to_string().into()).await.expect("uploaded");
    }
    let output =
        announce(&bench.settings(), &["--from-event-grid-dead-letter", &letters, "--lane", "ingest"]);
    let told = summary(&output);
    assert!(output.status.success(), "{told}");
    assert_eq!(
        (&told["announced"], &told["ignored"], &told["refused"]),
        (&json!(2), &json!(1), &json!(2)),
        "{told}"
    );
    let observer = bench.observer().await;
    let announced = Announced::of(&observer.drain(&topology::lane_queue(Lane::Ingest)).await);
    let expected = ["first.png", "second ü.png"].map(|name| format!("{}/{name}", bench.incoming));
    assert_eq!(announced.names(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_after_a_kill() {
    let Some(bench) = Bench::shared("a_listing_goes_on_after_a_kill").await else { return };
    for number in 0..60 {
        bench.upload(&format!("{number}.png"), "x".into()).await;
    }
    let checkpoint = bench.folder.path().join("progress.json");
    let ended = announce_with_kills(&bench.settings(), &["--rate", "15"], &checkpoint, 2, 3);
    let announced = Announced::of(&bench.observer().await.drain(&bulk()).await);
    assert_eq!((ended.kills, ended.announced as usize), (2, 60));
    assert_eq!(announced.0.len(), 60);
}

#[test]
fn wrong_use_ends_with_2_and_says_why() {
    if !Worker::is_built("wrong_use_ends_with_2_and_says_why") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WorkerSettings::new("amqp://guest:secret@127.0.0.1:1").folder(folder.path());
    for (arguments, why) in [
        (vec!["elsewhere"], "elsewhere is not among"),
        (vec!["--names", "--min-bytes", "3"], "knows no sizes"),
        (vec!["--names", "--inventory", "x.csv"], "cannot be used with"),
        (vec!["--retry-failed"], "--skip-done"),
        (vec!["--skip-done", "--force"], "cannot be used with"),
        (vec!["--modified-since", "soon"], "72h"),
        (vec!["--rate", "0"], "0 is not in"),
    ] {
        let output = announce(&settings, &arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(why), "{arguments:?}: {told}");
        assert!(!told.contains("secret"));
    }
    let output = announce(&settings, &["--dry-run", "--skip-done", "--model", "one-node"]);
    assert_eq!(summary(&output)["announced"], 0);
    let no_topology = announce(&settings.with("NIGHTREAD_BROKER_URL", "mqtt://x"), &[]);
    assert_eq!(no_topology.status.code(), Some(2));
}
