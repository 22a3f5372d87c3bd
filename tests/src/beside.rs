//! How long an arriving X-ray waits while the same worker reads a CT, and where its time goes. Printed, and judged by people.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;

use crate::arriving::{Results, quantiles};
use crate::azurite::Azurite;
use crate::bench::Bench;
use crate::images::noise;
use crate::measure::announce_all;
use crate::parts::root;
use crate::rabbit::Rabbit;
use crate::volumes::nifti;
use crate::worker::Worker;

const RADIOGRAPHS: &str = "cxr-pneumonia-demo";
const VOLUMES: &str = "ct-organs-demo";
/// As its manifest has it.
const SPACING: &str = "spacing_mm = [5.0, 5.0, 5.0]";
/// Of the model of radiographs.
const VERSION: &str = "1.0.1-fp32";

/// Times from announcement to result event of `arrivals` X-rays, alone and beside CTs of 512 x 512 x `slices` voxels, in turns,
/// so that whatever else the machine does meets both. `spacing_mm`: of the network's grid. At 5, the demonstration's own, a CT is
/// fetched every second or two from a storage that shares the cores; at 3 the network is at work nearly all the time. `cts`: so many
/// are announced each time, enough to last.
pub async fn beside(arrivals: usize, slices: usize, spacing_mm: f64, cts: usize) {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        return eprintln!("RabbitMQ or Azurite is missing");
    };
    let bench = Bench::over("beside", &rabbit, &azurite).await;
    let routes = bench.folder.path().join("worker.toml");
    let text = [("radiograph", RADIOGRAPHS), ("segmentation", VOLUMES)]
        .map(|(task, model)| format!("[[routes]]\ntask = \"{task}\"\nmodel = \"{model}\"\n"));
    std::fs::write(&routes, text.concat()).expect("written");
    let models = bench.folder.path().join("models");
    copy_of(RADIOGRAPHS, &models, "", "");
    let spacing = format!("spacing_mm = [{spacing_mm:.1}, {spacing_mm:.1}, {spacing_mm:.1}]");
    copy_of(VOLUMES, &models, SPACING, &spacing);
    let settings = bench
        .settings()
        .with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"))
        .with("NIGHTREAD_CONFIG", routes.to_str().expect("a UTF-8 path"));
    bench.upload("ct.nii.gz", volume(slices)).await;
    let mut results = Results::listen(&bench.options.url).await;
    let worker = bench.start_with(&settings);
    worker.ready().await;
    let mut times = [Vec::new(), Vec::new()];
    let mut stages: [Stages; 2] = Default::default();
    let mut read = 0;
    for turn in 0..4 {
        let loaded = turn % 2 == 1;
        if loaded {
            let name = format!("{}/ct.nii.gz", bench.incoming);
            announce_all(&bench.options, Lane::Volumes, std::iter::repeat_n(name, cts), true).await;
            in_the_middle(&worker).await;
        }
        let before = volumes_read(&worker).await;
        for number in 0..arrivals / 2 {
            let image = noise(1024, (turn * arrivals + number) as u64);
            times[usize::from(loaded)].push(results.of(&bench, &format!("{turn}/{number}.png"), image).await);
        }
        for number in 0..arrivals / 2 {
            stages[usize::from(loaded)].add(&bench, &format!("{turn}/{number}.png")).await;
        }
        if loaded {
            read += volumes_read(&worker).await - before;
            bench.observer().await.drain(&topology::lane_queue(Lane::Volumes)).await;
            bench.settled(&[&worker], Duration::from_mins(10)).await;
        }
    }
    let [alone, beside] = times.map(quantiles);
    for ((stage, alone), beside) in stages[0].0.iter().zip(stages[1].0.values()) {
        let [alone, beside] = [alone, beside].map(|times| quantiles(times.clone()));
        let [alone, beside] = [alone, beside].map(|(median, p95)| {
            format!("{:.1} and {:.1}", median.as_secs_f64() * 1e3, p95.as_secs_f64() * 1e3)
        });
        println!("{stage}: median and p95 alone {alone} ms, beside {beside} ms");
    }
    println!("alone: median {} ms, p95 {} ms", alone.0.as_millis(), alone.1.as_millis());
    println!("beside {read} CTs: median {} ms, p95 {} ms", beside.0.as_millis(), beside.1.as_millis());
    let ratio = beside.1.as_secs_f64() / alone.1.as_secs_f64();
    println!("p95 beside a CT is {ratio:.2} times the p95 alone, over {arrivals} X-rays each");
}

/// A model's folder with one line of its manifest replaced.
fn copy_of(model: &str, models: &Path, line: &str, by: &str) {
    let to = models.join(model);
    std::fs::create_dir_all(&to).expect("a folder");
    for entry in std::fs::read_dir(root().join("models").join(model)).expect("a folder") {
        let entry = entry.expect("a file");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
    let manifest = to.join("manifest.toml");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    assert!(text.contains(line), "{model} has no line {line}");
    std::fs::write(&manifest, text.replacen(line, by, 1)).expect("written");
}

/// Where the time of X-rays went, by their documents: times of each stage.
#[derive(Debug, Default)]
struct Stages(BTreeMap<String, Vec<Duration>>);

impl Stages {
    async fn add(&mut self, bench: &Bench, name: &str) {
        let document = bench.result_of(RADIOGRAPHS, VERSION, name).await.expect("a document");
        for (stage, spent) in document["timing_ms"].as_object().expect("times") {
            let spent = Duration::from_secs_f64(spent.as_f64().expect("a number") / 1e3);
            self.0.entry(stage.clone()).or_default().push(spent);
        }
    }
}

async fn in_the_middle(worker: &Worker) {
    let before = worker.metric("nightread_patches_total", "").await;
    crate::wait::until("a patch", || async {
        (worker.metric("nightread_patches_total", "").await > before).then_some(())
    })
    .await;
}

async fn volumes_read(worker: &Worker) -> u32 {
    worker.metric("nightread_jobs_total", "lane=\"volumes\"").await as u32
}

/// Soft tissue with rings of other densities, 0.8 x 0.8 x 1.5 mm.
fn volume(slices: usize) -> Bytes {
    const SIDE: usize = 512;
    let value = |[x, y, _]: [usize; 3]| {
        let [x, y] = [x, y].map(|index| index as f32 - SIDE as f32 / 2.0);
        let radius = x.hypot(y);
        if radius > 220.0 { -1000.0 } else { 40.0 + (radius / 9.0).sin() * 120.0 }
    };
    nifti([SIDE, SIDE, slices], [0.8, 0.8, 1.5], value).into()
}
