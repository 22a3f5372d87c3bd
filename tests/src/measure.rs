//! Figures of the service: what a job costs, how long an arriving image waits, what memory a backlog takes. They are
//! printed and judged by people: a loaded machine must not fail a test.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use nightread::adapters::amqp::{Publisher, RabbitOptions, topology};
use nightread_domain::message::Attributes;
use nightread_domain::{Lane, Message};
use serde_json::{Value, json};

use crate::arriving::{Results, quantiles};
use crate::azurite::Azurite;
use crate::bench::Bench;
use crate::images::{grey, noise};
use crate::parts::root;
use crate::rabbit::Rabbit;
use crate::wait;
use crate::worker::{Worker, WorkerSettings, binary, processor_seconds};

const HOUR: Duration = Duration::from_hours(1);

/// Publishes native announcements of `names` in `incoming`, many at once.
pub(crate) async fn announce_all(
    options: &RabbitOptions,
    lane: Lane,
    names: impl Iterator<Item = String>,
    force: bool,
) {
    let publisher = Publisher::new(options.clone());
    futures::stream::iter(names)
        .for_each_concurrent(200, |blob| {
            let body = json!({"blob": blob, "force": force}).to_string();
            let message = Message { body: body.into(), attributes: Attributes::for_lane(lane) };
            let publisher = &publisher;
            async move { publisher.announce(&message).await.expect("confirmed") }
        })
        .await;
}

/// One worker, tiny images in a folder, a model without a network: what the service itself costs.
pub async fn overhead(jobs: usize) {
    let Some(rabbit) = Rabbit::start(None).await else { return eprintln!("RabbitMQ is missing") };
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WorkerSettings::new(&options.url).folder(folder.path());
    for number in 0..jobs {
        let path = folder.path().join(format!("incoming/{number}.png"));
        std::fs::write(path, grey((number % 256) as u8, 64, number)).expect("written");
    }
    announce_all(&options, Lane::Ingest, (0..jobs).map(|number| format!("incoming/{number}.png")), false)
        .await;
    let broker = rabbit.process().unwrap_or(0);
    let worker = Worker::start(&settings, folder.path());
    worker.ready().await;
    let (broker_before, worker_before) = (processor_seconds(broker), worker.processor_seconds());
    let (done_before, started) = (worker.metric("nightread_jobs_total", "").await, Instant::now());
    wait::until_within(HOUR, "all jobs", || async {
        (worker.metric("nightread_jobs_total", "").await as usize >= jobs).then_some(())
    })
    .await;
    let seconds = started.elapsed().as_secs_f64();
    let done = jobs as f64 - done_before;
    let (broker_cpu, worker_cpu) =
        (processor_seconds(broker) - broker_before, worker.processor_seconds() - worker_before);
    println!("{done:.0} jobs in {seconds:.1} s: {:.0} jobs per second", done / seconds);
    println!(
        "worker {:.2} ms of processor a job, broker {:.2} ms",
        1e3 * worker_cpu / done,
        1e3 * broker_cpu / done
    );
    println!(
        "on two undisturbed cores that is {:.0} jobs per second",
        2.0 * done / (worker_cpu + broker_cpu)
    );
    println!("highest memory of the worker: {} MiB", worker.memory().1 >> 20);
}

/// Images per second of the service, over folders and over Azurite, beside those of `nightread process` on the same
/// images with the same model; the three in turn, medians of the rounds.
pub async fn throughput(images: usize, rounds: usize) {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        return eprintln!("RabbitMQ or Azurite is missing");
    };
    let models = root().join("models").display().to_string();
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let folder = tempfile::tempdir().expect("a folder");
        let options = rabbit.declared().await;
        let settings =
            WorkerSettings::new(&options.url).folder(folder.path()).with("NIGHTREAD_MODELS_DIR", &models);
        for number in 0..images {
            let path = folder.path().join(format!("incoming/{number}.png"));
            std::fs::write(path, noise(1024, number as u64)).expect("written");
        }
        rates[0].push(processed(folder.path(), &models, images));
        let names = (0..images).map(|number| format!("incoming/{number}.png"));
        announce_all(&options, Lane::Ingest, names, false).await;
        rates[1].push(served(&settings, folder.path(), images).await);

        let bench = Bench::over("throughput", &rabbit, &azurite).await;
        let settings = bench.settings().with("NIGHTREAD_MODELS_DIR", &models);
        for number in 0..images {
            bench.upload(&format!("{number}.png"), noise(1024, number as u64)).await;
        }
        let names = (0..images).map(|number| format!("{}/{number}.png", bench.incoming));
        announce_all(&bench.options, Lane::Ingest, names, false).await;
        rates[2].push(served(&settings, folder.path(), images).await);
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let [process, service, azure] = rates.each_mut().map(median);
    println!("{images} images of 1024 x 1024, medians of {rounds} rounds, images per second");
    println!("nightread process {process:.1}, service over a folder {service:.1}, over Azurite {azure:.1}");
    println!("service to process: {:.0} %", 1e2 * service / process);
}

fn processed(folder: &Path, models: &str, images: usize) -> f64 {
    let output = std::process::Command::new(binary())
        .args(["process", "--format", "json", "--models", models, "--out"])
        .args([folder.join("out"), folder.join("incoming")])
        .current_dir(root())
        .output()
        .expect("nightread process runs");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    images as f64 / summary["summary"]["seconds"].as_f64().expect("seconds")
}

async fn served(settings: &WorkerSettings, folder: &Path, images: usize) -> f64 {
    let worker = Worker::start(settings, folder);
    worker.ready().await;
    let (before, started) = (worker.metric("nightread_jobs_total", "").await, Instant::now());
    wait::until_within(HOUR, "all images", || async {
        (worker.metric("nightread_jobs_total", "").await as usize >= images).then_some(())
    })
    .await;
    (images as f64 - before) / started.elapsed().as_secs_f64()
}

/// Time from announcement to result event of images that arrive one by one, alone and beside a relabelling.
pub async fn fairness(bulk: usize, arrivals: usize) {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        return eprintln!("RabbitMQ or Azurite is missing");
    };
    let bench = Bench::over("fairness", &rabbit, &azurite).await;
    for number in 0..100 {
        bench.upload(&format!("old/{number}.png"), noise(512, number)).await;
    }
    let mut results = Results::listen(&bench.options.url).await;
    let worker = bench.start();
    worker.ready().await;
    let idle = arrive(&bench, &mut results, "idle", arrivals).await;
    let names = (0..bulk).map(|number| format!("{}/old/{}.png", bench.incoming, number % 100));
    announce_all(&bench.options, Lane::Bulk, names, true).await;
    println!("{bulk} announcements wait in the bulk lane");
    let loaded = arrive(&bench, &mut results, "loaded", arrivals).await;
    let left = bench.observer().await.depth(&topology::lane_queue(Lane::Bulk)).await;
    println!("{left} of them are left at the end");
    let ratio = loaded.1.as_secs_f64() / idle.1.as_secs_f64();
    println!("p95 beside the relabelling is {ratio:.1} times the p95 of an idle worker");
}

async fn arrive(bench: &Bench, results: &mut Results, what: &str, arrivals: usize) -> (Duration, Duration) {
    let mut times = Vec::new();
    for number in 0..arrivals {
        times
            .push(results.of(bench, &format!("{what}/{number}.png"), noise(512, 1000 + number as u64)).await);
    }
    let (median, high) = quantiles(times);
    println!("{what}: median {} ms, p95 {} ms over {arrivals} images", median.as_millis(), high.as_millis());
    (median, high)
}

/// A long queue of large images: how much memory the worker takes.
pub async fn backpressure(announcements: usize, jobs: usize) {
    let Some(rabbit) = Rabbit::start(None).await else { return eprintln!("RabbitMQ is missing") };
    let options = rabbit.declared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WorkerSettings::new(&options.url).folder(folder.path());
    let bytes = large_images(folder.path(), 50);
    println!("50 images of {:.1} MB", bytes as f64 / 50e6);
    let names = (0..announcements).map(|number| format!("incoming/{}.png", number % 50));
    announce_all(&options, Lane::Bulk, names, true).await;
    let worker = Worker::start(&settings, folder.path());
    worker.ready().await;
    println!("{announcements} announcements wait; ready at {} MiB", worker.memory().0 >> 20);
    for portion in 1..=5 {
        wait::until_within(HOUR, "a portion of the jobs", || async {
            (worker.metric("nightread_jobs_total", "").await as usize >= jobs * portion / 5).then_some(())
        })
        .await;
        let (now, highest) = worker.memory();
        println!("after {} jobs: {} MiB now, {} MiB at most", jobs * portion / 5, now >> 20, highest >> 20);
    }
}

fn large_images(folder: &Path, count: u64) -> usize {
    let mut bytes = 0;
    for number in 0..count {
        let image = noise(2830, number);
        bytes += image.len();
        std::fs::write(folder.join(format!("incoming/{number}.png")), image).expect("written");
    }
    bytes
}

/// Storage away with a queue waiting: no dead letter, and everything read afterwards.
pub async fn outage(announcements: usize, away: Duration) {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        return eprintln!("RabbitMQ or Azurite is missing");
    };
    let bench = Bench::over("outage", &rabbit, &azurite).await;
    for number in 0..announcements {
        bench.upload(&format!("{number}.png"), grey((number % 256) as u8, 64, number)).await;
    }
    let worker = bench.start();
    worker.ready().await;
    bench.proxy.set_outage(true);
    let names = (0..announcements).map(|number| format!("{}/{number}.png", bench.incoming));
    announce_all(&bench.options, Lane::Bulk, names, false).await;
    tokio::time::sleep(away).await;
    println!("storage was away for {} s; {} dead letters", away.as_secs(), bench.dead().await.len());
    bench.proxy.set_outage(false);
    let started = Instant::now();
    bench.settled(&[&worker], HOUR).await;
    let mut read = 0;
    for number in 0..announcements {
        let result = bench.result(&format!("{number}.png")).await;
        read += usize::from(result.is_some_and(|result| result["status"] == "ok"));
    }
    println!("{read} of {announcements} are read {} s later", started.elapsed().as_secs());
    println!("{} dead letters", bench.dead().await.len());
}
