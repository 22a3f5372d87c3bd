//! A worker over folders with little memory, and with a disk that is full; and the account of every announcement.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nightread::adapters::amqp::{DeadLetters, RabbitOptions, topology};
use nightread_domain::Lane;
use serde_json::Value;

use crate::cgroup::Room;
use crate::disk::Disk;
use crate::images::{grey, logit, noise, result_name};
use crate::measure::announce_all;
use crate::rabbit::{Observer, Rabbit};
use crate::wait;
use crate::worker::{Worker, WorkerSettings};

/// How long announcements may take to be worked off once the trouble is over.
const PATIENCE: Duration = Duration::from_mins(30);

/// Distinct large images; more announcements read them again.
const LARGE: usize = 20;

/// The account. Sound when [`Account::problems`] is empty.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub announced: usize,
    pub read: usize,
    pub results: usize,
    pub dead: usize,
    pub left: u32,
    pub elapsed: Duration,
    /// What befell, in words.
    pub told: Vec<String>,
    pub problems: Vec<String>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in [
            ("announcements", self.announced),
            ("read", self.read),
            ("right results", self.results),
            ("dead letters", self.dead),
            ("messages left", self.left as usize),
            ("seconds", self.elapsed.as_secs() as usize),
            ("problems", self.problems.len()),
        ] {
            writeln!(f, "{count:>8}  {what}")?;
        }
        for told in &self.told {
            writeln!(f, "{:>8}  {told}", "")?;
        }
        for problem in &self.problems {
            writeln!(f, "  PROBLEM {problem}")?;
        }
        Ok(())
    }
}

impl Account {
    /// Looks at what is left, and at a result that each of these blobs must have.
    async fn close(
        &mut self,
        options: &RabbitOptions,
        root: &Path,
        blobs: impl Iterator<Item = (String, Option<f64>)>,
    ) {
        let observer = Observer::connect(&options.url).await;
        for queue in topology::queues().iter().filter(|queue| *queue != topology::REPORTS) {
            self.left += observer.depth(queue).await;
        }
        self.dead =
            DeadLetters::open(options).await.expect("opened").count().await.expect("counted") as usize;
        for (name, expected) in blobs {
            let path = root.join("results").join(result_name("incoming", &name));
            let body = std::fs::read(&path).unwrap_or_default();
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            let read = document["findings"][0]["logit"].as_f64();
            let is_right = document["status"] == "ok"
                && expected.is_none_or(|expected| read.is_some_and(|read| (read - expected).abs() < 1.0));
            if is_right {
                self.results += 1;
            } else {
                self.problems.push(format!("{name} ended as {} {read:?}", document["status"]));
            }
        }
        if self.read < self.announced || self.dead > 0 || self.left > 0 {
            self.problems.push("not every announcement was read, and none lost".to_owned());
        }
    }
}

/// How many were read: all, unless the worker ended before.
async fn all_read(worker: &Worker, announcements: usize) -> usize {
    wait::until_within(PATIENCE, "all images to be read", || async {
        let read = worker.metric("nightread_jobs_total", "outcome=\"read\"").await as usize;
        (read >= announcements || worker.is_gone()).then_some(read)
    })
    .await
}

async fn ended(worker: &mut Worker, account: &mut Account) {
    worker.terminate();
    let status = worker.ended().await;
    if !status.success() {
        account.problems.push(format!("the worker ended as {status}"));
    }
}

/// Reads images of eight megabytes with eight permits in so little room.
pub async fn memory(test: &str, announcements: usize, room: Room) -> Option<Account> {
    let rabbit = Rabbit::shared(test).await?;
    if !Worker::is_built(test) {
        return None;
    }
    let began = Instant::now();
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let words = room.words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let settings = WorkerSettings::new(&options.url)
        .folder(folder.path())
        .with("NIGHTREAD_LIMITS_JOBS", "8")
        // As the unit and the image do.
        .with("MALLOC_ARENA_MAX", "2")
        .through(&words);
    for number in 0..LARGE {
        let path = folder.path().join(format!("incoming/{number}.png"));
        std::fs::write(path, noise(2830, number as u64)).expect("written");
    }
    let mut account = Account { announced: announcements, ..Account::default() };
    let names = (0..announcements).map(|number| format!("incoming/{}.png", number % LARGE));
    announce_all(&options, Lane::Bulk, names, true).await;
    let mut worker = Worker::start(&settings, folder.path());
    worker.ready().await;
    account.read = all_read(&worker, announcements).await;
    let (_, highest) = worker.memory();
    account.told.push(format!("{}; the worker took {} MiB at most", room.told(), highest >> 20));
    if matches!(&room, Room::Group(group) if group.kills() > 0) {
        account.problems.push("the kernel killed something for want of memory".to_owned());
    }
    ended(&mut worker, &mut account).await;
    account.close(&options, folder.path(), (0..LARGE).map(|number| (format!("{number}.png"), None))).await;
    account.elapsed = began.elapsed();
    Some(account)
}

/// Fills the disk of the results in the middle of the work, again and again, for so long each time.
pub async fn full_disk(test: &str, announcements: usize, times: usize, full: Duration) -> Option<Account> {
    let rabbit = Rabbit::shared(test).await?;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    std::fs::create_dir(&store).expect("a folder");
    // A file takes a page, and a result with its folder some more.
    let size = format!("size={}k", 24 * announcements + 1024);
    let disk = Disk::new(test, &store, &size).await?;
    if !Worker::is_built(test) {
        return None;
    }
    let began = Instant::now();
    let options = rabbit.declared().await;
    for container in ["incoming", "results"] {
        std::fs::create_dir(disk.folder().join(container)).expect("a folder");
    }
    let name = |number: usize| format!("{:02}/{number}.png", number % 20);
    for number in 0..announcements {
        let path = disk.folder().join("incoming").join(name(number));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, grey((number % 256) as u8, 64, number)).expect("written");
    }
    let text = store.to_str().expect("a UTF-8 path");
    let settings = WorkerSettings::new(&options.url)
        .with("NIGHTREAD_STORAGE_KIND", "folder")
        .with("NIGHTREAD_STORAGE_FOLDER", text)
        .on_disk(&disk);
    let mut worker = Worker::start(&settings, folder.path());
    worker.ready().await;
    let mut account = Account { announced: announcements, ..Account::default() };
    let portion = announcements.div_ceil(times);
    let ballast = disk.folder().join("ballast");
    for time in 0..times {
        fill(&ballast);
        let names = (time * portion..announcements.min((time + 1) * portion))
            .map(|n| format!("incoming/{}", name(n)));
        announce_all(&options, Lane::Ingest, names, false).await;
        let outage = async |wanted: f64| {
            wait::until("the outage to be seen", || async {
                let seen = worker.metric("nightread_storage_outage", "").await;
                ((seen - wanted).abs() < 0.5).then_some(())
            })
            .await;
        };
        outage(1.0).await;
        tokio::time::sleep(full).await;
        if worker.metric("nightread_storage_outage", "").await < 0.5 {
            account.problems.push("the pause ended while the disk was full".to_owned());
        }
        std::fs::remove_file(&ballast).expect("removed");
        outage(0.0).await;
    }
    account.told.push(format!("the disk full {times} times, for {} s each", full.as_secs()));
    account.read = all_read(&worker, announcements).await;
    ended(&mut worker, &mut account).await;
    let blobs = (0..announcements).map(|number| (name(number), Some(logit((number % 256) as u8))));
    account.close(&options, &disk.folder(), blobs).await;
    account.elapsed = began.elapsed();
    Some(account)
}

/// Writes until nothing more goes in.
fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).expect("a file");
    for size in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}
