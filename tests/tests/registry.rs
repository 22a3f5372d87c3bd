//! Models out of a container of a real Azurite: fetched, verified, kept, and rolled out by settings alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hyper::Method;
use nightread_domain::{BlobRef, BlobStore, Lane};
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::{fresh_name, root};
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::Value;

/// A registry of its own beside the containers of a bench.
struct Shelf {
    bench: Bench,
    container: String,
}

impl Shelf {
    async fn new(test: &str) -> Option<Self> {
        let bench = Bench::shared(test).await?;
        let container = fresh_name("models");
        bench.direct.create_container(&container).await.expect("a container");
        Some(Self { bench, container })
    }

    /// Settings without models of a folder.
    fn settings(&self, cache: &str, pins: &[&str]) -> WorkerSettings {
        let cache = self.bench.folder.path().join(cache);
        self.bench
            .settings()
            .with("NIGHTREAD_MODELS_DIR", "")
            .with("NIGHTREAD_MODELS_REGISTRY", &format!("{}/prod", self.container))
            .with("NIGHTREAD_MODELS_REGISTRY_CACHE", cache.to_str().expect("a UTF-8 path"))
            .with("NIGHTREAD_MODELS_PINNED", &pins.join(","))
            .with("NIGHTREAD_STORAGE_RETRY_SECONDS", "1")
    }

    /// Exit status, answer and complaints of `nightread models push`.
    fn push(&self, models: &Path) -> (Option<i32>, Value, String) {
        let models = models.to_str().expect("a UTF-8 path");
        let to = format!("{}/prod", self.container);
        let words = ["models", "push", "one-node", "--to", &to, "--models", models, "--format", "json"];
        let ran = self.bench.settings().command(&words).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        (ran.status.code(), serde_json::from_slice(&ran.stdout).unwrap_or_default(), said)
    }

    fn pushed(&self, models: &Path) -> String {
        let (code, answer, said) = self.push(models);
        assert_eq!(code, Some(0), "{said}");
        answer["pin"].as_str().expect("a pin").to_owned()
    }

    /// A blob of a version.
    fn blob(&self, pin: &str, file: &str) -> BlobRef {
        let (name, sha256) = pin.split_once("@sha256:").expect("a pin");
        BlobRef::new(self.container.as_str(), format!("prod/{name}/{sha256}/{file}")).expect("a sound name")
    }

    fn cached(&self, cache: &str, pin: &str, file: &str) -> PathBuf {
        let (name, sha256) = pin.split_once("@sha256:").expect("a pin");
        self.bench.folder.path().join(cache).join(sha256).join(name).join(file)
    }

    async fn read(&self, name: &str, version: &str) -> Value {
        self.bench.upload(name, grey(90, 64, 1)).await;
        self.bench.announce(Lane::Ingest, name).await;
        wait::until(&format!("the result of {name}"), || self.bench.result_of("one-node", version, name))
            .await
    }
}

fn models() -> PathBuf {
    root().join("tests/fixtures/models")
}

/// The one-node model under another version.
fn changed_models(folder: &Path, version: &str) -> PathBuf {
    let (from, to) = (models().join("one-node"), folder.join(format!("changed-{version}/one-node")));
    std::fs::create_dir_all(&to).expect("a folder");
    for file in ["README.md", "model.onnx"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
    }
    let manifest = std::fs::read_to_string(from.join("manifest.toml")).expect("a manifest");
    let manifest = manifest.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
    std::fs::write(to.join("manifest.toml"), manifest).expect("written");
    to.parent().expect("a parent").to_owned()
}

/// Bytes that a process asked the system for until now, from disk or not.
fn bytes_read(worker: &Worker) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{}/io", worker.process())).expect("a running process");
    let read = told.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("what it read");
    read.parse().expect("a number")
}

/// As if this version had 2 GiB more, and were not used since yesterday.
fn unused_for_long(place: &Path) {
    File::create(place.join("ballast")).and_then(|file| file.set_len(2 << 30)).expect("a sparse file");
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    File::open(place.join(".used")).and_then(|mark| mark.set_modified(yesterday)).expect("a mark");
}

fn check(settings: &WorkerSettings) -> (Option<i32>, String) {
    let ran =
        settings.command(&["check", "--for", "run", "--format", "json"]).output().expect("the binary runs");
    let answer: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    (ran.status.code(), answer["problems"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_rolls_a_model_out_and_the_next_pin_the_next_one() {
    let test = "a_pin_rolls_a_model_out_and_the_next_pin_the_next_one";
    let Some(shelf) = Shelf::new(test).await else { return };
    let first = shelf.pushed(&models());
    let (code, again, _) = shelf.push(&models());
    assert_eq!((code, &again["written"], again["pin"].as_str()), (Some(0), &0.into(), Some(first.as_str())));
    let second = shelf.pushed(&changed_models(shelf.bench.folder.path(), "1.1.0"));

    let mut worker = shelf.bench.start_with(&shelf.settings("cache", &[&first]));
    worker.ready().await;
    assert_eq!(shelf.read("a.png", "1.0.0-fp32").await["status"], "ok");
    worker.terminate();
    assert!(worker.ended().await.success());

    let settings = shelf.settings("cache", &[&second]);
    assert_eq!(check(&settings), (Some(0), "[]".to_owned()));
    let mut worker = shelf.bench.start_with(&settings);
    worker.ready().await;
    assert_eq!(shelf.read("b.png", "1.1.0-fp32").await["status"], "ok");
    worker.terminate();
    assert!(worker.ended().await.success());
    assert!(shelf.cached("cache", &first, "model.onnx").is_file(), "the way back is here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_pinned_is_refused_with_the_pin_that_could_be() {
    let Some(shelf) = Shelf::new("what_is_not_pinned_is_refused_with_the_pin_that_could_be").await else {
        return;
    };
    let pin = shelf.pushed(&models());
    let (code, told) = check(&shelf.settings("cache", &[]));
    assert!(code == Some(1) && told.contains(&pin) && told.contains("no model is pinned"), "{told}");

    let wrong = format!("one-node@sha256:{}", "0".repeat(64));
    let settings = shelf.settings("cache", &[&wrong]);
    let (code, told) = check(&settings);
    assert!(code == Some(1) && told.contains(&pin) && told.contains(&wrong), "{told}");
    let mut worker = shelf.bench.start_with(&settings);
    assert_eq!(worker.ended().await.code(), Some(1));
    assert!(worker.log().contains("model_missing") && worker.log().contains(&pin), "{}", worker.log());

    let words = ["models", "check", "other"];
    let ran = shelf.settings("cache", &[&pin]).command(&words).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("other is not pinned") && said.contains("none"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blobs_end_the_worker_and_damaged_files_are_fetched_again() {
    let test = "damaged_blobs_end_the_worker_and_damaged_files_are_fetched_again";
    let Some(shelf) = Shelf::new(test).await else { return };
    let pin = shelf.pushed(&models());
    let blob = shelf.blob(&pin, "model.onnx");
    let (sound, _) = shelf.bench.direct.read(&blob, 1 << 20).await.unwrap().expect("published");
    let mut damaged = sound.to_vec();
    damaged[40] ^= 1;
    shelf.bench.direct.put(&blob, damaged.into()).await.expect("damaged");
    let settings = shelf.settings("cache", &[&pin]);
    let mut worker = shelf.bench.start_with(&settings);
    assert_eq!(worker.ended().await.code(), Some(1), "a supervisor tells of it");
    assert!(
        worker.log().contains("model_mismatch") && worker.log().contains("model.onnx"),
        "{}",
        worker.log()
    );
    assert!(!shelf.cached("cache", &pin, "model.onnx").exists());

    shelf.bench.direct.put(&blob, sound).await.expect("mended");
    let worker = shelf.bench.start_with(&settings);
    worker.ready().await;
    drop(worker);
    std::fs::write(shelf.cached("cache", &pin, "model.onnx"), "other bytes").expect("damaged");
    let worker = shelf.bench.start_with(&settings);
    worker.ready().await;
    assert!(worker.log().contains("is damaged; it is fetched again"), "{}", worker.log());
    assert_eq!(shelf.read("a.png", "1.0.0-fp32").await["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_registry_a_worker_waits_and_says_so_unless_all_is_here() {
    let test = "without_its_registry_a_worker_waits_and_says_so_unless_all_is_here";
    let Some(shelf) = Shelf::new(test).await else { return };
    let pin = shelf.pushed(&models());
    let settings = shelf.settings("cache", &[&pin]);
    shelf.bench.proxy.refuse(Some(&shelf.container), 503, "ServerBusy", "");
    let mut worker = shelf.bench.start_with(&settings);
    let waiting = worker.says("models: ").await;
    assert!(waiting.contains("the registry") && waiting.contains("storage is busy"), "{waiting}");
    worker.terminate();
    assert!(worker.ended().await.success(), "it drains while it waits");

    let worker = shelf.bench.start_with(&settings);
    worker.says("models: ").await;
    shelf.bench.proxy.let_in();
    worker.ready().await;
    drop(worker);

    shelf.bench.proxy.refuse(Some(&shelf.container), 503, "ServerBusy", "");
    let asked = shelf.bench.proxy.requests_of(&shelf.container);
    let worker = shelf.bench.start_with(&settings);
    worker.ready().await;
    assert_eq!(shelf.read("a.png", "1.0.0-fp32").await["status"], "ok");
    assert_eq!(shelf.bench.proxy.requests_of(&shelf.container), asked, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_while_it_fetches_leaves_nothing_wrong() {
    let test = "a_worker_that_is_killed_while_it_fetches_leaves_nothing_wrong";
    let Some(shelf) = Shelf::new(test).await else { return };
    let pin = shelf.pushed(&models());
    let settings = shelf.settings("cache", &[&pin]);
    // Held before the list, and before each of the three files: what was there by then is not asked for again.
    for passed in [0, 1, 1, 1] {
        let gate = shelf.bench.proxy.gate_after(passed, Method::GET, &format!("{}/prod", shelf.container));
        let worker = shelf.bench.start_with(&settings);
        gate.reached(passed + 1).await;
        worker.kill();
        gate.open();
    }
    let workers: Vec<_> = (0..2).map(|_| shelf.bench.start_with(&settings)).collect();
    for worker in &workers {
        worker.ready().await;
    }
    assert_eq!(shelf.read("a.png", "1.0.0-fp32").await["status"], "ok");
    let folder = shelf.cached("cache", &pin, "model.onnx");
    let left = std::fs::read_dir(folder.parent().unwrap()).unwrap().flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_that_start_together_download_once() {
    let Some(shelf) = Shelf::new("two_workers_that_start_together_download_once").await else { return };
    let pin = shelf.pushed(&models());
    shelf.bench.proxy.delay("model.onnx", Duration::from_millis(500));
    let settings = shelf.settings("cache", &[&pin]);
    let before = shelf.bench.proxy.requests_of("model.onnx");
    let workers: Vec<_> = (0..2).map(|_| shelf.bench.start_with(&settings)).collect();
    for worker in &workers {
        worker.ready().await;
    }
    // What it is, and its bytes.
    assert_eq!(shelf.bench.proxy.requests_of("model.onnx") - before, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_digests_what_is_in_the_cache_once() {
    let Some(shelf) = Shelf::new("a_start_digests_what_is_in_the_cache_once").await else { return };
    let models = changed_models(shelf.bench.folder.path(), "1.1.0");
    let large = 24 << 20;
    std::fs::write(models.join("one-node/LICENSE"), vec![b'a'; large as usize]).expect("written");
    let pin = shelf.pushed(&models);
    let settings = shelf.settings("cache", &[&pin]);
    let fetched = shelf.bench.start_with(&settings);
    fetched.ready().await;
    drop(fetched);

    let folder = shelf.bench.settings().with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"));
    let mut read = Vec::new();
    for settings in [folder, settings] {
        let worker = shelf.bench.start_with(&settings);
        worker.ready().await;
        read.push(bytes_read(&worker));
    }
    let more = read[1] - read[0];
    println!("{more} bytes more than with a folder of models, whose licence is not read: it has {large}");
    assert!((large..large + large / 2).contains(&more), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_when_no_worker_reads_with_it() {
    let Some(shelf) = Shelf::new("a_version_goes_when_no_worker_reads_with_it").await else { return };
    let first = shelf.pushed(&models());
    let second = shelf.pushed(&changed_models(shelf.bench.folder.path(), "1.1.0"));
    let worker = shelf.bench.start_with(&shelf.settings("cache", &[&first]));
    worker.ready().await;
    let mut first_worker = Some(worker);
    let file = shelf.cached("cache", &first, "model.onnx");
    let place = file.ancestors().nth(2).expect("the version's place");

    let settings = shelf.settings("cache", &[&second]);
    for is_read_with in [true, false] {
        unused_for_long(place);
        let worker = shelf.bench.start_with(&settings);
        worker.ready().await;
        assert_eq!(file.exists(), is_read_with);
        assert!(shelf.cached("cache", &second, "model.onnx").exists());
        if is_read_with {
            // As a power cut: nobody tidies up.
            first_worker.take().expect("once").kill();
        }
    }
    // It is fetched again where it is asked for again.
    let worker = shelf.bench.start_with(&shelf.settings("cache", &[&first]));
    worker.ready().await;
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_while_versions_go_leaves_whole_ones_or_none() {
    let test = "who_is_killed_while_versions_go_leaves_whole_ones_or_none";
    let Some(shelf) = Shelf::new(test).await else { return };
    let pin = shelf.pushed(&models());
    let settings = shelf.settings("cache", &[&pin]);
    let list = || settings.command(&["models"]);
    assert!(list().output().expect("the binary runs").status.success());
    let cache = shelf.cached("cache", &pin, "x").ancestors().nth(3).expect("the cache").to_owned();
    let old: Vec<PathBuf> = (0..40).map(|n| cache.join(format!("{n:064x}"))).collect();
    let make = |place: &Path| {
        std::fs::create_dir_all(place.join("one-node")).expect("a folder");
        for file in 0..50 {
            std::fs::write(place.join("one-node").join(format!("{file}")), "a part").expect("written");
        }
        File::create(place.join(".used")).expect("a mark");
        unused_for_long(place);
    };
    let files = |place: &Path| std::fs::read_dir(place.join("one-node")).map_or(0, Iterator::count);
    let make_missing = || old.iter().filter(|place| !place.exists()).for_each(|place| make(place));
    make_missing();
    let started = Instant::now();
    assert!(list().output().expect("the binary runs").status.success());
    let took = started.elapsed();
    assert!(old.iter().all(|place| !place.exists()), "a start makes room");

    let mut broken_off = 0;
    for kill in 0..16_u32 {
        make_missing();
        let mut child = list().stdout(std::process::Stdio::null()).spawn().expect("the binary runs");
        std::thread::sleep(took * (kill + 1) / 16);
        child.kill().expect("killed");
        child.wait().expect("ended");
        let left: Vec<usize> = old.iter().filter(|place| place.exists()).map(|place| files(place)).collect();
        assert!(left.iter().all(|files| *files == 50), "whole or gone: {left:?}");
        broken_off += usize::from((1..old.len()).contains(&left.len()));
    }
    println!("{broken_off} of 16 were killed between the first and the last");
    for entry in std::fs::read_dir(&cache).expect("the cache").flatten() {
        if entry.file_name().to_string_lossy().starts_with(".making-") {
            let yesterday = SystemTime::now() - Duration::from_hours(25);
            File::open(entry.path()).and_then(|aside| aside.set_modified(yesterday)).expect("a folder");
        }
    }
    assert!(list().output().expect("the binary runs").status.success());
    let left: Vec<_> =
        std::fs::read_dir(&cache).expect("the cache").flatten().map(|at| at.file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(shelf.cached("cache", &pin, "model.onnx").exists());
}
