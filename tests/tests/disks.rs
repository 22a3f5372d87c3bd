//! `nightread run` over folders whose disk takes nothing for a while: full, read-only, or none of ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nightread::adapters::amqp::{RabbitOptions, topology};
use nightread_tests::disk::Disk;
use nightread_tests::images::grey;
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use tempfile::TempDir;

/// Long enough for the delay queues of five and thirty seconds.
const PATIENCE: Duration = Duration::from_mins(5);

const IMAGES: usize = 40;

/// The folder of each image, and so of its result; in no line of the log.
const MARK: &str = "Jane-Doe-1970";

/// A service over folders, its broker and its images.
struct Service {
    options: RabbitOptions,
    folder: TempDir,
    settings: WorkerSettings,
}

impl Service {
    async fn new(test: &str) -> Option<Self> {
        let rabbit = Rabbit::shared(test).await.filter(|_| Worker::is_built(test))?;
        let options = rabbit.declared().await;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = WorkerSettings::new(&options.url)
            .folder(folder.path())
            .with("NIGHTREAD_STORAGE_RETRY_SECONDS", "1")
            // Whatever counts an attempt wrongly is seen soon.
            .with("NIGHTREAD_LIMITS_ATTEMPTS", "2");
        Some(Self { options, folder, settings })
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    fn start(&self) -> Worker {
        Worker::start(&self.settings, self.folder.path())
    }

    fn announce_images(&self) {
        for number in 0..IMAGES {
            let image = grey(number as u8, 64, number);
            std::fs::write(self.folder.path().join(format!("incoming/{number}.png")), image).expect("a file");
        }
        // Without a disk of its own: what is announced lies in the sources.
        let settings = WorkerSettings::new(&self.options.url).folder(self.folder.path());
        let announced = settings.command(&["announce"]).output().expect("it runs");
        assert!(announced.status.success(), "{}", String::from_utf8_lossy(&announced.stderr));
    }

    /// One outage that names the folder and what the system says, and stays one.
    async fn is_away(&self, worker: &Worker, said: &str) {
        let away = || async {
            let ready = worker.get("/ready").await?;
            (ready.starts_with("HTTP/1.1 503") && ready.contains("storage: ")).then_some(ready)
        };
        let ready = wait::until("an outage", away).await;
        assert!(ready.contains(&self.results().display().to_string()) && ready.contains(said), "{ready}");
        // Longer than several probes and the shortest delay queue.
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(8) {
            assert!(away().await.is_some(), "the pause came and went: {}", worker.log());
            let outage = worker.metric("nightread_storage_outage", "").await;
            assert!((outage - 1.0).abs() < f64::EPSILON, "{outage}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self::paused_once(worker);
        let log = worker.log();
        assert!(log.contains("storage_unwritable") && log.contains(said), "{log}");
        assert!(!log.contains(MARK) && !ready.contains(MARK), "names stay out: {log}");
        self.nobody_is_blamed(worker).await;
    }

    fn paused_once(worker: &Worker) {
        let pauses = worker.log().matches("intake pauses until a probe passes").count();
        assert_eq!(pauses, 1, "{}", worker.log());
    }

    async fn nobody_is_blamed(&self, worker: &Worker) {
        let observer = Observer::connect(&self.options.url).await;
        assert_eq!(observer.depth(topology::DEAD_QUEUE).await, 0);
        for outcome in [r#"outcome="failed""#, r#"outcome="given_up""#] {
            assert!(worker.metric("nightread_jobs_total", outcome).await < 0.5, "{outcome}");
        }
    }

    /// All images are read, no attempt was counted, nothing was left beside the documents.
    async fn all_are_read(&self, worker: &Worker, results: &Path) {
        wait::until_within(PATIENCE, "every result", || async {
            (documents_in(results).len() == IMAGES).then_some(())
        })
        .await;
        for path in documents_in(results) {
            let document: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a document")).expect("JSON");
            assert_eq!(document["status"], "ok", "{document}");
        }
        wait::until("the worker to be ready", || async {
            worker.get("/ready").await.filter(|ready| ready.starts_with("HTTP/1.1 200"))
        })
        .await;
        self.nobody_is_blamed(worker).await;
        let retried = worker.metric("nightread_messages_total", r#"disposition="retried""#).await;
        assert!(retried < 0.5, "no attempt was counted: {retried}");
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

fn documents_in(folder: &Path) -> Vec<PathBuf> {
    files_in(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    while file.write_all(&[0; 1024]).is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_one_outage_and_no_image_s_fault() {
    let test = "a_full_disk_is_one_outage_and_no_image_s_fault";
    let Some(service) = Service::new(test).await else { return };
    let Some(disk) = Disk::new(test, &service.results(), "size=1m").await else { return };
    let service = Service { settings: service.settings.on_disk(&disk), ..service };
    let worker = service.start();
    worker.ready().await;
    let filler = disk.folder().join("filler");
    fill(&filler);
    service.announce_images();
    service.is_away(&worker, "No space left on device").await;
    assert!(documents_in(&disk.folder()).is_empty());

    // Room for a small document or two, which the next would find gone again, is no room.
    File::options().write(true).open(&filler).expect("a file").set_len((1 << 20) - (24 << 10)).expect("cut");
    tokio::time::sleep(Duration::from_secs(5)).await;
    service.is_away(&worker, "No space left on device").await;

    std::fs::remove_file(&filler).expect("removed");
    service.all_are_read(&worker, &disk.folder()).await;
    Service::paused_once(&worker);
    let left: Vec<_> = files_in(&disk.folder())
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".nightread-")))
        .collect();
    assert!(left.is_empty(), "what could not be written is not left there: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_one_outage_and_no_image_s_fault() {
    let test = "a_read_only_disk_is_one_outage_and_no_image_s_fault";
    let Some(service) = Service::new(test).await else { return };
    let results = service.results();
    let Some(disk) = Disk::new(test, &results, "size=8m,ro").await else { return };
    let service = Service { settings: service.settings.on_disk(&disk), ..service };
    let said = "Read-only file system";
    let worker = service.start();
    // From the start on: nothing is taken, and why is told.
    wait::until("the worker to say why it is not ready", || async {
        let ready = worker.get("/ready").await?;
        let named = ready.contains(&results.display().to_string()) && ready.contains(said);
        (ready.starts_with("HTTP/1.1 503") && named).then_some(())
    })
    .await;
    disk.remount("rw");
    worker.ready().await;

    disk.remount("ro");
    service.announce_images();
    service.is_away(&worker, said).await;
    disk.remount("rw");
    service.all_are_read(&worker, &disk.folder()).await;
    Service::paused_once(&worker);
}

/// Puts a link in the place of another in one step.
fn point(link: &Path, to: &Path) {
    let draft = link.with_extension("new");
    symlink(to, &draft).expect("a link");
    std::fs::rename(draft, link).expect("renamed");
}

/// Without mounts of its own, so on any machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_takes_no_results_is_one_outage_and_no_image_s_fault() {
    let test = "a_folder_that_takes_no_results_is_one_outage_and_no_image_s_fault";
    let Some(service) = Service::new(test).await else { return };
    let (results, disk) = (service.results(), service.folder.path().join("disk"));
    std::fs::rename(&results, &disk).expect("renamed");
    point(&results, &disk);
    let worker = service.start();
    worker.ready().await;
    // Nobody makes files there, root neither.
    point(&results, Path::new("/sys"));
    service.announce_images();
    service.is_away(&worker, "os error").await;
    point(&results, &disk);
    service.all_are_read(&worker, &results).await;
}
