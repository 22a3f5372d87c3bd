//! `nightread announce` as a process, and the account of what it published.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::bench::Bench;
use crate::images::grey;
use crate::rabbit::Rabbit;
use crate::worker::WorkerSettings;

/// The summary that `--format json` prints.
pub fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("no summary: {text}\nstatus {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}

/// Runs `nightread announce ... --format json` to its end.
pub fn announce(settings: &WorkerSettings, arguments: &[&str]) -> Output {
    let arguments = [&["announce", "--format", "json"], arguments].concat();
    settings.command(&arguments).stdin(Stdio::null()).output().expect("the command runs")
}

/// Starts it beside the test.
pub fn start(settings: &WorkerSettings, arguments: &[&str]) -> Child {
    let arguments = [&["announce", "--format", "json"], arguments].concat();
    let mut command = settings.command(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Which blobs were announced, and how often.
#[derive(Clone, Debug, Default)]
pub struct Announced(pub BTreeMap<String, usize>);

impl Announced {
    pub fn add(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let body: Value = serde_json::from_slice(&delivery.data).expect("an announcement is JSON");
            let blob = body["blob"].as_str().expect("an announcement names a blob");
            *self.0.entry(blob.to_owned()).or_default() += 1;
        }
    }

    pub fn of(deliveries: &[Delivery]) -> Self {
        let mut announced = Self::default();
        announced.add(deliveries);
        announced
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    pub fn messages(&self) -> usize {
        self.0.values().sum()
    }
}

/// How a run that was interrupted again and again ended.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    /// Times it was killed (SIGKILL) before its end.
    pub kills: usize,
    /// What the last run says of all runs together.
    pub announced: u64,
    pub done: u64,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed {} times, then finished", self.kills)
    }
}

/// Runs `announce` with a checkpoint, kills it `kills` times once the checkpoint has moved, and lets it finish.
pub fn announce_with_kills(
    settings: &WorkerSettings,
    arguments: &[&str],
    checkpoint: &Path,
    kills: usize,
    seed: u64,
) -> Interrupted {
    let mut random = StdRng::seed_from_u64(seed);
    let path = checkpoint.to_str().expect("a UTF-8 path");
    let arguments = [arguments, &["--checkpoint", path]].concat();
    // Slowly as long as it is to be killed, so that it does not end before.
    let is_slow = arguments.contains(&"--rate");
    let slowly = if is_slow { arguments.clone() } else { [&arguments[..], &["--rate", "500"]].concat() };
    let mut killed = 0;
    loop {
        let before = std::fs::read(checkpoint).unwrap_or_default();
        let mut child = start(settings, if killed < kills { &slowly } else { &arguments });
        if killed < kills {
            while child.try_wait().expect("a child").is_none()
                && std::fs::read(checkpoint).unwrap_or_default() == before
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..900)));
            if child.try_wait().expect("a child").is_none() {
                child.kill().expect("killed");
                child.wait().expect("a child");
                killed += 1;
                continue;
            }
        }
        let output = child.wait_with_output().expect("a child");
        let summary = summary(&output);
        assert!(output.status.success(), "{summary}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(!checkpoint.exists(), "the checkpoint goes at the end");
        let count = |name: &str| summary[name].as_u64().expect("a count");
        return Interrupted { kills: killed, announced: count("announced"), done: count("done") };
    }
}

/// Names from a generator on standard input: how fast they are published and confirmed, and what memory that takes.
/// A tenth first, and then all, published to a broker of our own; and counted only (`--dry-run`).
pub async fn throughput(published: usize, counted: usize) {
    let Some(rabbit) = Rabbit::start(None).await else { return eprintln!("RabbitMQ is missing") };
    for (names, dry_run) in
        [(published / 10, false), (published, false), (counted / 10, true), (counted, true)]
    {
        let options = rabbit.declared().await;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = WorkerSettings::new(&options.url).folder(folder.path());
        let backlog = names.max(1).to_string();
        let mut arguments = vec!["announce", "--names", "--format", "json", "--max-backlog", &backlog];
        let checkpoint = folder.path().join("progress.json");
        if dry_run {
            arguments.push("--dry-run");
        } else {
            arguments.extend(["--checkpoint", checkpoint.to_str().expect("a UTF-8 path")]);
        }
        let mut command = settings.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let status = format!("/proc/{}/status", child.id());
        let pipe = child.stdin.take().expect("a pipe");
        let highest = tokio::task::spawn_blocking(move || {
            let mut pipe = BufWriter::new(pipe);
            let mut highest = 0;
            for number in 0..names {
                writeln!(pipe, "incoming/ward-{}/{number:09}.dcm", number % 100).expect("it reads");
                if number % 10_000 == 0 {
                    highest = highest.max(peak_memory(&status));
                }
            }
            pipe.flush().expect("it reads");
            highest.max(peak_memory(&status))
        })
        .await
        .expect("a generator");
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
        let told = summary(&output.expect("a wait").expect("a child"));
        assert_eq!(told["announced"], names, "{told}");
        println!(
            "{names} names {}: {:.1} s, {:.0} a second, {:.1} MiB of memory at most",
            if dry_run { "counted" } else { "published and confirmed" },
            told["seconds"].as_f64().unwrap_or_default(),
            told["per_second"].as_f64().unwrap_or_default(),
            highest as f64 / f64::from(1 << 20),
        );
    }
}

/// The most that a process ever had resident, in bytes.
fn peak_memory(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A relabelling over Azurite, read by one worker meanwhile, whose announcing is killed again and again.
pub async fn relabel(blobs: usize, kills: usize) {
    let Some(bench) = Bench::shared("relabel").await else { return };
    futures::stream::iter(0..blobs)
        .for_each_concurrent(16, |number| {
            let bench = &bench;
            async move { bench.upload(&format!("{number}.png"), grey((number % 256) as u8, 64, number)).await }
        })
        .await;
    let worker = bench.start();
    worker.ready().await;
    let checkpoint = bench.folder.path().join("progress.json");
    let arguments = ["--model", "one-node", "--skip-done"];
    let settings = bench.settings();
    let ended = tokio::task::spawn_blocking({
        let settings = settings.clone();
        move || announce_with_kills(&settings, &arguments, &checkpoint, kills, 1)
    });
    let ended = ended.await.expect("a run");
    bench.settled(&[&worker], Duration::from_hours(1)).await;
    let read = worker.metric("nightread_jobs_total", "outcome=\"read\"").await;
    let repeats = worker.metric("nightread_jobs_total", "outcome=\"already_done\"").await;
    let mut stored = 0;
    for number in 0..blobs {
        let document = bench.result(&format!("{number}.png")).await.expect("every blob has its result");
        assert_eq!(document["status"], "ok", "{number}");
        stored += 1;
    }
    println!("{ended}: {blobs} blobs, {stored} with their result, {read} read, {repeats} found done already");
    let again = tokio::task::spawn_blocking(move || announce(&settings, &["--skip-done", "--dry-run"]));
    let told = summary(&again.await.expect("a run"));
    println!("afterwards --skip-done leaves {} of {} to announce", told["announced"], told["seen"]);
    assert_eq!((&told["announced"], &told["done"]), (&0.into(), &blobs.into()));
}
