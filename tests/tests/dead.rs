//! `nightread dead` on a real broker: what is looked at stays, and what is sent back is never lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::{DeadLetters, Handling, Swept, topology};
use nightread_domain::{ErrorCode, Lane};
use nightread_tests::rabbit::{Observer, Rabbit, options};
use nightread_tests::wait;
use nightread_tests::worker::{binary, peak_memory};
use serde_json::Value;

/// A declared virtual host.
struct Bench {
    url: String,
    observer: Observer,
}

impl Bench {
    async fn new(test: &str) -> Option<Self> {
        if !binary().is_file() {
            nightread_tests::parts::skipped(test, "the release binary (`make build`)");
            return None;
        }
        let url = Rabbit::shared(test).await?.fresh_url();
        topology::declare(&options(&url)).await.expect("declared");
        let observer = Observer::connect(&url).await;
        observer.channel().confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Some(Self { url, observer })
    }

    /// A letter as a worker leaves it; without a code, as the broker does at its delivery limit.
    async fn die(&self, lane: Lane, id: &str, code: Option<(&str, &str)>, body: &[u8]) {
        let mut headers = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        if let Some((code, reason)) = code {
            headers.insert("error-code".into(), text(code));
            headers.insert("error-message".into(), text(reason));
            headers.insert("stage".into(), text("fetch"));
            headers.insert("attempt".into(), AMQPValue::LongUInt(5));
            headers.insert("dead-at".into(), AMQPValue::Timestamp(1_700_000_000));
        }
        headers.insert("x-death".into(), text("as the broker writes it"));
        headers.insert("x-last-death-queue".into(), text("nightread.jobs.ingest"));
        let properties =
            BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2).with_headers(headers);
        let key = topology::lane_key(lane);
        let (exchange, publish) = (topology::DEAD, BasicPublishOptions::default());
        let sent = self.observer.channel().basic_publish(
            exchange.into(),
            key.as_str().into(),
            publish,
            body,
            properties,
        );
        // Awaited by the caller's last letter: the broker confirms in order.
        drop(sent.await.expect("sent"));
    }

    async fn letters(&self, count: u32) {
        self.observer.wait_for_depth(topology::DEAD_QUEUE, count).await;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("dead").args(arguments).env("NIGHTREAD_BROKER_URL", &self.url).stdin(Stdio::null());
        command
    }

    /// Runs it on a thread of its own, to leave this one to the broker's client.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("it ends")
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat()).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} ended with {}: {stderr}", output.status);
        said(&output)
    }

    /// Everything in a lane, by message id, with how often it is there.
    async fn drain(&self, lane: Lane) -> BTreeMap<String, u32> {
        let mut ids = BTreeMap::new();
        for delivery in self.observer.drain(&topology::lane_queue(lane)).await {
            let id = delivery.properties.message_id().as_ref().expect("an id").to_string();
            *ids.entry(id).or_insert(0) += 1;
        }
        ids
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("an exit status")
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_counted_shown_sent_back_and_thrown_away() {
    let test = "letters_are_counted_shown_sent_back_and_thrown_away";
    let Some(bench) = Bench::new(test).await else { return };
    let empty = bench.json(&["list"]).await;
    assert_eq!((&empty["count"], empty["letters"].as_array().map(Vec::len)), (&0.into(), Some(0)));

    let exhausted = Some(("attempts_exhausted", "given up after 6 attempts"));
    let signed = br#"{"blob": "incoming/x.png", "url": "https://a/incoming/x.png?sig=HUSH"}"#;
    for number in 0..3 {
        bench.die(Lane::Bulk, &format!("bulk-{number}"), exhausted, signed).await;
    }
    bench.die(Lane::Ingest, "odd", Some(("message_unparseable", "not JSON")), &[0xff, 0xfe, 0x00]).await;
    bench.die(Lane::Volumes, "killer", None, br#"{"blob": "incoming/scan.nii"}"#).await;
    bench.letters(5).await;

    let listing = bench.json(&["list", "--limit", "2"]).await;
    let codes: BTreeMap<_, _> = listing["codes"]
        .as_array()
        .expect("codes")
        .iter()
        .map(|of| (of["code"].as_str().expect("a code"), of["count"].as_u64().expect("a count")))
        .collect();
    let expected = [("attempts_exhausted", 3), ("message_unparseable", 1), ("message_rejected", 1)];
    assert_eq!(codes, expected.into());
    assert_eq!(listing["letters"].as_array().map(Vec::len), Some(2));
    assert_eq!(listing["codes"][0]["oldest"], "2023-11-14T22:13:20Z");
    let table = bench.run(&["list", "--code", "message_rejected"]).await;
    let table = String::from_utf8(table.stdout).expect("text");
    assert!(table.contains("message_rejected") && !table.contains("attempts_exhausted"), "{table}");
    assert!(table.ends_with("1 dead letters, 1 listed\n"), "{table}");

    let id = listing["letters"][0]["id"].as_str().expect("an id").to_owned();
    let shown = bench.json(&["show", &id]).await;
    assert_eq!(shown["message_id"], "bulk-0");
    assert_eq!(shown["body"]["json"]["blob"], "incoming/x.png");
    assert_eq!(
        (&shown["attempts"], &shown["lane"], &shown["stage"]),
        (&5.into(), &"bulk".into(), &"fetch".into())
    );
    let text = bench.run(&["show", "bulk-0"]).await;
    assert!(!format!("{shown}{}", String::from_utf8_lossy(&text.stdout)).contains("HUSH"));
    let binary = bench.json(&["show", "odd"]).await;
    assert_eq!(binary["body"]["binary"]["looks_like"], "unknown");
    assert_eq!(status(&bench.run(&["show", "nobody"]).await), 1);
    bench.letters(5).await;

    let planned = bench.json(&["redrive", "--code", "attempts_exhausted", "--dry-run"]).await;
    assert_eq!((&planned["chosen"], &planned["redriven"]), (&3.into(), &0.into()));
    let sent = bench.json(&["redrive", "--code", "attempts_exhausted", "--limit", "2"]).await;
    assert_eq!((&sent["redriven"], &sent["discarded"]), (&2.into(), &0.into()));
    bench.letters(3).await;
    let back = bench.observer.take(&topology::lane_queue(Lane::Bulk)).await;
    assert_eq!(back.data, signed);
    let headers = back.properties.headers().clone().expect("headers");
    let names: Vec<_> = headers.inner().keys().map(lapin::types::ShortString::as_str).collect();
    assert_eq!(names, ["attempt", "redriven", "x-delivery-count"], "nothing of its death");
    assert_eq!(headers.inner().get("attempt"), Some(&AMQPValue::LongUInt(0)));
    let looks = format!("{:?}", headers.inner().get("x-delivery-count"));
    assert!(looks.ends_with("Int(0))"), "no look is counted: {looks}");
    let by_id = bench.json(&["redrive", "--id", "bulk-2"]).await;
    assert_eq!(by_id["redriven"], 1);
    let unknown = bench.run(&["redrive", "--id", "bulk-2"]).await;
    assert_eq!(status(&unknown), 1, "it is gone");

    let hesitant = bench.run(&["discard", "--code", "message_unparseable"]).await;
    assert_eq!(status(&hesitant), 2);
    bench.letters(2).await;
    let gone = bench.json(&["discard", "--code", "message_unparseable", "--yes"]).await;
    assert_eq!((&gone["discarded"], &gone["kept"]), (&1.into(), &1.into()));
    bench.letters(1).await;
    let rest = bench.json(&["redrive", "--all"]).await;
    assert_eq!(rest["redriven"], 1);
    assert_eq!(bench.drain(Lane::Volumes).await.into_keys().collect::<Vec<_>>(), ["killer"]);
    bench.letters(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_and_a_broker_that_is_away_are_told_apart() {
    let test = "wrong_use_and_a_broker_that_is_away_are_told_apart";
    let Some(bench) = Bench::new(test).await else { return };
    for wrong in
        [&["redrive"][..], &["discard", "--code", "no_such_code"], &["redrive", "--all", "--id", "x"]]
    {
        assert_eq!(status(&bench.run(wrong).await), 2, "{wrong:?}");
    }
    let mut nowhere = bench.command(&["list"]);
    nowhere.env("NIGHTREAD_BROKER_URL", "amqp://guest:HUSH@127.0.0.1:9/t0");
    let output =
        tokio::task::spawn_blocking(move || nowhere.output().expect("it starts")).await.expect("it ends");
    assert_eq!(status(&output), 1);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("HUSH"));
    let mut unset = bench.command(&["list"]);
    unset.env_remove("NIGHTREAD_BROKER_URL");
    let output =
        tokio::task::spawn_blocking(move || unset.output().expect("it starts")).await.expect("it ends");
    assert_eq!(status(&output), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_takes_nothing_leaves_the_letters_where_they_were() {
    let test = "a_lane_that_takes_nothing_leaves_the_letters_where_they_were";
    let Some(bench) = Bench::new(test).await else { return };
    for number in 0..5 {
        bench.die(Lane::Bulk, &number.to_string(), None, b"{}").await;
    }
    bench.letters(5).await;
    let (queue, key) = (topology::lane_queue(Lane::Bulk), format!("{}.#", topology::lane_key(Lane::Bulk)));
    let unbound = bench.observer.channel().queue_unbind(
        queue.as_str().into(),
        topology::JOBS.into(),
        key.as_str().into(),
        FieldTable::default(),
    );
    unbound.await.expect("unbound");
    assert_eq!(status(&bench.run(&["redrive", "--all"]).await), 1);
    bench.letters(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_another_holds_are_said_to_be_missing() {
    let test = "letters_that_another_holds_are_said_to_be_missing";
    let Some(bench) = Bench::new(test).await else { return };
    for number in 0..3 {
        bench.die(Lane::Bulk, &number.to_string(), None, b"{}").await;
    }
    bench.letters(3).await;
    let discard = ["discard", "--all", "--yes", "--format", "json"];
    let another = bench.observer.look(topology::DEAD_QUEUE).await;
    bench.letters(0).await;
    let blind = bench.run(&discard).await;
    assert_eq!((status(&blind), said(&blind)["discarded"].as_u64()), (0, Some(0)));
    assert!(blinded(&blind));
    another.close(200, "looked".into()).await.expect("closed");
    bench.letters(3).await;
    let seeing = bench.run(&discard).await;
    assert_eq!((said(&seeing)["discarded"].as_u64(), blinded(&seeing)), (Some(3), false));
}

const LETTERS: usize = 4000;
/// Every fifth letter is not meant: it is held and given back again and again.
const KEPT: usize = LETTERS / 5;

#[tokio::test(flavor = "multi_thread")]
async fn redrives_killed_at_any_instant_lose_nothing() {
    let test = "redrives_killed_at_any_instant_lose_nothing";
    let Some(bench) = Bench::new(test).await else { return };
    bench.die_of("attempts_exhausted").await;
    let lane = topology::lane_queue(Lane::Bulk);
    let kills = bench.storm(&["redrive", "--code", "attempts_exhausted"], &lane).await;
    let sent = bench.drain(Lane::Bulk).await;
    let copies: u32 = sent.values().sum();
    println!(
        "{kills} kills; {} letters sent back, {} of them twice",
        sent.len(),
        copies as usize - sent.len()
    );
    assert_eq!(sent.len(), LETTERS - KEPT, "none is lost");
    let left = bench.left().await;
    assert_eq!(left, meant_to_stay(), "and what was not meant stays, each once");
    assert!(left.iter().all(|id| !sent.contains_key(&id.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_killed_at_any_instant_takes_nothing_that_was_not_meant() {
    let test = "a_discard_killed_at_any_instant_takes_nothing_that_was_not_meant";
    let Some(bench) = Bench::new(test).await else { return };
    bench.die_of("message_unparseable").await;
    let discard = ["discard", "--code", "message_unparseable", "--yes"];
    let kills = bench.storm(&discard, topology::DEAD_QUEUE).await;
    println!("{kills} kills");
    assert_eq!(bench.left().await, meant_to_stay(), "each once");
}

fn meant_to_stay() -> Vec<usize> {
    (0..LETTERS).step_by(LETTERS / KEPT).collect()
}

impl Bench {
    /// Letters of this code, and every so often one of another.
    async fn die_of(&self, code: &str) {
        for number in 0..LETTERS {
            let code = if number % (LETTERS / KEPT) == 0 { "no_route" } else { code };
            self.die(Lane::Bulk, &number.to_string(), Some((code, "why")), b"{}").await;
        }
        self.letters(LETTERS as u32).await;
    }

    /// Runs it and kills it, again and again, until a run that saw all letters comes to its end; tells how many were
    /// killed. A run is at work when the depth of `queue` changes; then any instant is as good as another.
    async fn storm(&self, arguments: &[&str], queue: &str) -> usize {
        let mut kills = 0;
        while kills < 200 {
            let before = self.observer.depth(queue).await;
            let mut command = self.command(arguments);
            let mut child =
                Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
            let ended = wait::until("the command to begin or end", || {
                let ended = child.0.try_wait().expect("a child");
                async move { (ended.is_some() || self.observer.depth(queue).await != before).then_some(ended) }
            })
            .await;
            // The first is killed at once: thousands of letters are before it, so that it cannot come to its end.
            if ended.is_none() && kills > 0 {
                tokio::time::sleep(Duration::from_millis(rand::random_range(0..120))).await;
            }
            if child.0.try_wait().expect("a child").is_none() {
                kills += 1;
                continue;
            }
            // What a killed one held comes back when the broker knows that its connection is gone, perhaps only now.
            let all = self.run(arguments).await;
            assert!(all.status.success(), "{}", String::from_utf8_lossy(&all.stderr));
            if !blinded(&all) {
                assert!(kills > 0, "no kill came in time");
                self.letters(KEPT as u32).await;
                return kills;
            }
        }
        panic!("it never comes to an end");
    }

    /// The message ids of all letters, sorted; none of them was meant.
    async fn left(&self) -> Vec<usize> {
        let letters = DeadLetters::open(&options(&self.url)).await.expect("opened");
        let mut left = Vec::new();
        let mut swept = Swept::default();
        let looked = letters.sweep(None, &mut swept, |letter| {
            assert_eq!(letter.code, ErrorCode::NoRoute);
            let id = letter.message.attributes.message_id.as_ref().expect("an id");
            left.push(id.parse().expect("a number"));
            Handling::Keep
        });
        looked.await.expect("looked");
        left.sort_unstable();
        left
    }
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Whether the command found that others held letters.
fn blinded(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("somebody else looks at the dead letters")
}

/// A child that is killed with SIGKILL when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_looked_through_in_little_memory() {
    const LETTERS: u32 = 3000;
    const BYTES: usize = 40 * 1024;
    let Some(bench) = Bench::new("a_long_queue_is_looked_through_in_little_memory").await else { return };
    let body = vec![b' '; BYTES];
    for number in 0..LETTERS {
        bench.die(Lane::Bulk, &number.to_string(), None, &body).await;
    }
    bench.letters(LETTERS).await;
    let mut command = bench.command(&["list", "--format", "json"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let peak = peak_memory(child.id());
    let output =
        tokio::task::spawn_blocking(|| child.wait_with_output().expect("it ends")).await.expect("it ends");
    let peak = peak.await.expect("watched");
    let listing: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(listing["count"], LETTERS);
    let (held, mib) = (u64::from(LETTERS) * BYTES as u64, |bytes: u64| bytes / 1024 / 1024);
    println!("{} MiB of letters looked through in at most {} MiB", mib(held), mib(peak));
    assert!(peak > 0 && peak < held / 2, "{} of {} MiB", mib(peak), mib(held));
    bench.letters(LETTERS).await;
}
