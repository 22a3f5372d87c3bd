//! A worker with little: memory, descriptors, disk, time. Each is a storm with the account of every message at its end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use hyper::Method;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::account::{Account, Announced, SIDE, Work};
use crate::azurite::Azurite;
use crate::bench::Bench;
use crate::cgroup::{MemoryGroup, starve};
use crate::parts::{Part, skipped};
use crate::rabbit::Rabbit;
use crate::wait;
use crate::worker::{Worker, WorkerSettings};

/// How long queues may take to empty once the trouble is over.
const PATIENCE: Duration = Duration::from_mins(30);

/// A storm's parts: its bench, what is announced on it, and the account that is open.
struct Storm {
    bench: Bench,
    work: Work,
    account: Account,
    began: Instant,
}

impl Storm {
    async fn new(test: &str, blobs: usize) -> Option<Self> {
        Self::with_images(test, blobs, SIDE).await
    }

    async fn with_images(test: &str, blobs: usize, side: u32) -> Option<Self> {
        let (rabbit, azurite) = (Rabbit::shared(test).await?, Azurite::shared(test).await?);
        if !Worker::is_built(test) {
            return None;
        }
        let began = Instant::now();
        let bench = Bench::over(test, rabbit, azurite).await;
        let work = Work::upload(&bench, blobs, side, &mut StdRng::seed_from_u64(7)).await;
        let account = Account::of(&work);
        Some(Self { bench, work, account, began })
    }

    /// One of so many portions of the announcements.
    async fn publish(&self, portion: usize, portions: usize) {
        let size = self.work.messages.len().div_ceil(portions);
        let messages = self.work.messages.chunks(size).nth(portion).unwrap_or_default();
        futures::stream::iter(messages)
            .for_each_concurrent(16, |(lane, id, body): &Announced| {
                self.bench.publish(*lane, id, body.clone())
            })
            .await;
    }

    async fn end(mut self, settings: &WorkerSettings, workers: Vec<Worker>) -> Account {
        self.account.calm(&self.bench, settings, workers, PATIENCE).await;
        self.account.close(&self.bench, &self.work).await;
        self.account.elapsed = self.began.elapsed();
        self.account
    }
}

/// Stops a worker (SIGSTOP) that has jobs in flight, for longer than the broker waits for its heartbeats, and lets it go on.
pub async fn stopped(test: &str, blobs: usize, stop: Duration, heartbeat: u16) -> Option<Account> {
    let mut storm = Storm::new(test, blobs).await?;
    let url = format!("{}?heartbeat={heartbeat}", storm.bench.options.url);
    let settings = storm.bench.settings().with("NIGHTREAD_BROKER_URL", &url);
    let workers = vec![storm.bench.start_with(&settings), storm.bench.start_with(&settings)];
    for worker in &workers {
        worker.ready().await;
    }
    let gate = storm.bench.proxy.gate(Method::GET, &storm.bench.incoming);
    storm.publish(0, 2).await;
    wait::until("the worker to have jobs in flight", || async {
        (workers[0].metric("nightread_jobs_in_flight", "").await > 0.5).then_some(())
    })
    .await;
    workers[0].signal("STOP");
    gate.open();
    tokio::time::sleep(stop).await;
    workers[0].signal("CONT");
    storm.account.befell(format!("a worker with jobs in flight stopped (SIGSTOP) for {} s", stop.as_secs()));
    wait::until("its session to be back", || async {
        workers[0].get("/ready").await.filter(|answer| answer.starts_with("HTTP/1.1 200"))
    })
    .await;
    storm.publish(1, 2).await;
    Some(storm.end(&settings, workers).await)
}

/// Sets a worker's clock an hour back and an hour forward while it works, for so long each time. What it signs then Azurite
/// takes or refuses as the service does: by the time from when and until when it is valid.
pub async fn clock(test: &str, blobs: usize, off: Duration) -> Option<Account> {
    let Some(library) = faketime() else {
        skipped(test, "libfaketime");
        return None;
    };
    let mut storm = Storm::new(test, blobs).await?;
    let file = storm.bench.folder.path().join("clock");
    let set = |offset: &str| std::fs::write(&file, offset).expect("a clock");
    set("+0");
    let settings = storm
        .bench
        .settings()
        .with("LD_PRELOAD", &library.display().to_string())
        .with("FAKETIME_TIMESTAMP_FILE", &file.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let settings = settings.with("NIGHTREAD_LOG", "debug");
    let worker = storm.bench.start_with(&settings);
    worker.ready().await;
    storm.publish(0, 5).await;
    for (portion, offset) in [(1, "-3600"), (3, "+3600")] {
        set(offset);
        storm.publish(portion, 5).await;
        tokio::time::sleep(off).await;
        let paused = worker.metric("nightread_storage_outage", "").await > 0.5;
        set("+0");
        storm.publish(portion + 1, 5).await;
        wait::until("storage to let it in", || async {
            (worker.metric("nightread_storage_outage", "").await < 0.5).then_some(())
        })
        .await;
        let how = if paused { "the work paused" } else { "the work went on" };
        storm.account.befell(format!("the clock {offset} s off for {} s: {how}", off.as_secs()));
        if !told_at(&worker.log(), offset.parse().expect("seconds")) {
            storm.account.problems.push(format!("the clock was never {offset} s off"));
        }
    }
    Some(storm.end(&settings, vec![worker]).await)
}

/// Whether a line of the log is of a time that is about so many seconds off.
fn told_at(log: &str, offset: i64) -> bool {
    let now = OffsetDateTime::now_utc();
    log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
        let time = line["timestamp"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        time.is_some_and(|time| ((time - now).whole_seconds() - offset).abs() < 1800)
    })
}

fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|library| library.is_file())
}

/// How workers come to want memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Somebody else in their control group takes it, and the kernel kills them.
    Killed,
    /// The kernel gives them no more.
    Refused,
}

/// Lets workers die for want of memory while they have jobs in flight.
pub async fn out_of_memory(test: &str, blobs: usize, deaths: usize, want: Want) -> Option<Account> {
    const LIMIT: u64 = 400 << 20;
    let group = match want {
        Want::Refused => None,
        Want::Killed => {
            let group = MemoryGroup::new(LIMIT);
            if group.is_none() {
                skipped(test, "a memory control group that may be made");
                return None;
            }
            group
        }
    };
    // Large enough that no memory that is free by chance holds one.
    let side = if want == Want::Refused { 1500 } else { SIDE };
    let mut storm = Storm::with_images(test, blobs, side).await?;
    let words = group.as_ref().map(MemoryGroup::words).map_or_else(Vec::new, Vec::from);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    // The first that the kernel turns to; what it starts comes with it.
    let first = ["sh", "-c", "echo 1000 >/proc/self/oom_score_adj && exec \"$@\"", "first"];
    // As people set it in images: a backtrace needs memory, and its lock must not be what the end waits for.
    let settings = storm.bench.settings().with("RUST_BACKTRACE", "1").through(&words).through(&first);
    let folder = storm.bench.folder.path().to_owned();
    for portion in 0..deaths {
        let mut worker = storm.bench.start_with(&settings);
        worker.ready().await;
        let gate = storm.bench.proxy.gate(Method::GET, &storm.bench.incoming);
        storm.publish(portion, deaths).await;
        wait::until("the worker to have jobs in flight", || async {
            (worker.metric("nightread_jobs_in_flight", "").await > 0.5).then_some(())
        })
        .await;
        let status = if let Some(group) = &group {
            // Somebody else's hunger: `tail` keeps what has no line's end.
            let hunger = "head -c 2G /dev/zero | tail";
            let hungry: Vec<_> = words.iter().copied().chain(["sh", "-c", hunger]).collect();
            let before = group.kills();
            let part = Part::start("hungry", &hungry, &[], &folder);
            let status = worker.ended().await;
            drop(part);
            gate.open();
            if group.kills() == before {
                storm.account.problems.push("the kernel killed nobody".to_owned());
            }
            status
        } else {
            starve(worker.process(), 1 << 20);
            gate.open();
            worker.ended().await
        };
        if status.success() {
            storm.account.problems.push(format!("a worker without memory ended as {status}"));
        }
        storm.account.befell(format!("a worker without memory ended as {status}"));
        storm.account.kills += 1;
    }
    let settings = storm.bench.settings();
    let last = storm.bench.start_with(&settings);
    last.ready().await;
    Some(storm.end(&settings, vec![last]).await)
}

/// Runs a worker with as few descriptors as it says that it needs, beside idle clients that hold all the connections they
/// can have; first with 64, of which it must say that they are too few.
pub async fn descriptors(test: &str, blobs: usize) -> Option<Account> {
    let mut storm = Storm::new(test, blobs).await?;
    let mut short = storm.bench.start_with(&storm.bench.settings().descriptors(64));
    let status = short.ended().await;
    let said = short.log();
    let needed = said.split("needs up to ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let names_limit = said.contains("may open 64 file descriptors") && said.contains("too_few_descriptors");
    let Some(needed) = needed.filter(|_| status.code() == Some(1) && names_limit) else {
        storm.account.problems.push(format!("64 descriptors: {status}, {said}"));
        return Some(storm.account);
    };
    storm.account.befell(format!("64 descriptors: the worker ends at its start and asks for {needed}"));
    let settings = storm.bench.settings().descriptors(needed);
    let worker = storm.bench.start_with(&settings);
    worker.ready().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(tokio::net::TcpStream::connect(("127.0.0.1", worker.port())).await.expect("it listens"));
    }
    storm.publish(0, 1).await;
    let outages = worker.metric("nightread_storage_outage", "").await;
    storm.account.befell(format!("{needed} descriptors, and {} idle clients", idle.len()));
    if outages > 0.0 {
        storm.account.problems.push("storage seems to be away".to_owned());
    }
    Some(storm.end(&settings, vec![worker]).await)
}
