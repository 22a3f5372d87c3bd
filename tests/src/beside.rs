//! How long an arriving X-ray waits while the same worker reads one CT after another. Printed, and judged by people.

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

/// Times from announcement to result event of `arrivals` X-rays, alone and beside CTs of 512 x 512 x `slices` voxels, in turns,
/// so that whatever else the machine does meets both.
pub async fn beside(arrivals: usize, slices: usize) {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        return eprintln!("RabbitMQ or Azurite is missing");
    };
    let bench = Bench::over("beside", &rabbit, &azurite).await;
    let routes = bench.folder.path().join("worker.toml");
    let text = [("radiograph", RADIOGRAPHS), ("segmentation", VOLUMES)]
        .map(|(task, model)| format!("[[routes]]\ntask = \"{task}\"\nmodel = \"{model}\"\n"));
    std::fs::write(&routes, text.concat()).expect("written");
    let settings = bench
        .settings()
        .with("NIGHTREAD_MODELS_DIR", root().join("models").to_str().expect("a UTF-8 path"))
        .with("NIGHTREAD_CONFIG", routes.to_str().expect("a UTF-8 path"));
    bench.upload("ct.nii.gz", volume(slices)).await;
    let mut results = Results::listen(&bench.options.url).await;
    let worker = bench.start_with(&settings);
    worker.ready().await;
    let mut times = [Vec::new(), Vec::new()];
    let mut read = 0;
    for turn in 0..4 {
        let loaded = turn % 2 == 1;
        if loaded {
            let name = format!("{}/ct.nii.gz", bench.incoming);
            announce_all(&bench.options, Lane::Volumes, std::iter::repeat_n(name, 1_000), true).await;
            in_the_middle(&worker).await;
        }
        let before = volumes_read(&worker).await;
        for number in 0..arrivals / 2 {
            let image = noise(1024, (turn * arrivals + number) as u64);
            times[usize::from(loaded)].push(results.of(&bench, &format!("{turn}/{number}.png"), image).await);
        }
        if loaded {
            read += volumes_read(&worker).await - before;
            bench.observer().await.drain(&topology::lane_queue(Lane::Volumes)).await;
            bench.settled(&[&worker], Duration::from_mins(10)).await;
        }
    }
    let [alone, beside] = times.map(quantiles);
    println!("alone: median {} ms, p95 {} ms", alone.0.as_millis(), alone.1.as_millis());
    println!("beside {read} CTs: median {} ms, p95 {} ms", beside.0.as_millis(), beside.1.as_millis());
    let ratio = beside.1.as_secs_f64() / alone.1.as_secs_f64();
    println!("p95 beside a CT is {ratio:.2} times the p95 alone, over {arrivals} X-rays each");
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
