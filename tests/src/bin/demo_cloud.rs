//! The cloud on one machine: a private RabbitMQ and Azurite, Event Grid shaped announcements, two workers; then
//! results and metrics, and everything is stopped. `demo_cloud IMAGE...`

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nightread_domain::Lane;
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::images::{grey, noise};
use nightread_tests::parts::root;
use nightread_tests::rabbit::Rabbit;
use nightread_tests::wait;
use nightread_tests::worker::Worker;

const MODEL: &str = "cxr-pneumonia-demo";
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::main]
async fn main() -> ExitCode {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        eprintln!("RabbitMQ or Azurite is missing; tests/setup installs them");
        return ExitCode::FAILURE;
    };
    if !Worker::is_built("demo") {
        return ExitCode::FAILURE;
    }
    let bench = Bench::over("demo", &rabbit, &azurite).await;
    println!("RabbitMQ and Azurite run, privately, on free ports");
    let names = upload(&bench).await;
    println!("uploaded {} files, one of them no image", names.len());

    let models = root().join("models").display().to_string();
    let settings = bench
        .settings()
        .with("NIGHTREAD_MODELS_DIR", &models)
        .with("NIGHTREAD_ENGINE_SESSIONS", "1")
        .with("NIGHTREAD_ENGINE_INTRA_THREADS", "1");
    let workers = [bench.start_with(&settings), bench.start_with(&settings)];
    for worker in &workers {
        worker.ready().await;
    }
    println!("two workers are ready");
    for name in &names {
        bench.publish(Lane::Ingest, name, bench.event_grid(name)).await;
    }
    bench.publish(Lane::Ingest, "hostile", bench.event_grid("../secrets")).await;
    println!("announced them as Event Grid does, and one path that leads outside\n");

    let references: Vec<_> = workers.iter().collect();
    for name in &names {
        let what = format!("the result of {name}");
        let result = wait::until_within(PATIENCE, &what, || bench.result_of(MODEL, "1.0.1-fp32", name)).await;
        let said = match &result["error"] {
            serde_json::Value::Null => {
                let finding = &result["findings"][0];
                format!(
                    "{} {:.3}",
                    finding["label"].as_str().unwrap_or(""),
                    finding["probability"].as_f64().unwrap_or(0.0)
                )
            }
            error => format!("not read: {}", error["message"].as_str().unwrap_or("")),
        };
        let total = result["timing_ms"]["total"].as_f64().unwrap_or(0.0);
        println!("  {name:24} {said:60} {total:6.0} ms");
    }
    bench.settled(&references, PATIENCE).await;
    for letter in bench.dead().await {
        println!("\ndead letter: {}: {}", letter.code, letter.reason.unwrap_or_default());
    }
    for (number, worker) in workers.iter().enumerate() {
        println!("\nmetrics of worker {}:", number + 1);
        let metrics = worker.get("/metrics").await.unwrap_or_default();
        for line in metrics.lines().filter(|line| {
            line.starts_with("nightread_jobs_total") || line.starts_with("nightread_messages_total")
        }) {
            println!("  {line}");
        }
    }
    for mut worker in workers {
        worker.terminate();
        worker.ended().await;
    }
    println!("\nthe workers drained and ended; broker and storage go with this program");
    ExitCode::SUCCESS
}

/// The files given, or images made here; and one file that is no image.
async fn upload(bench: &Bench) -> Vec<String> {
    let mut names = Vec::new();
    for path in std::env::args().skip(1).map(PathBuf::from) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match std::fs::read(&path) {
            Ok(body) => bench.upload(&name, body.into()).await,
            Err(error) => {
                eprintln!("skipped {}: {error}", path.display());
                continue;
            }
        }
        names.push(name);
    }
    if names.is_empty() {
        bench.upload("grey.png", grey(128, 512, 0)).await;
        bench.upload("noise.png", noise(512, 1)).await;
        names.extend(["grey.png".to_owned(), "noise.png".to_owned()]);
    }
    bench.upload("letter.txt", "This is no image.".into()).await;
    names.push("letter.txt".to_owned());
    names
}
