//! Resting-state scans through the service: announced to a real broker, fetched from a real Azurite, answered there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use bytes::Bytes;
use nightread_domain::{BlobRef, BlobStore, Lane};
use nightread_fmri::simulate::{Networks, Options, simulate};
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::parts::root;
use nightread_tests::wait;
use nightread_tests::worker::WorkerSettings;
use nightread_volume::{FileSource, Limits, VolumeStream};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(5);
const MODEL: &str = "fmri-networks-demo";
/// Group maps of the shipped model.
const COUNT: usize = 26;
const VOLUMES: usize = 40;

/// The version under which a shipped model's results are stored.
fn version(model: &str) -> String {
    let manifest = std::fs::read_to_string(root().join("models").join(model).join("manifest.toml"));
    let manifest = manifest.expect("a manifest");
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).expect("a version");
    format!("{}-fp32", line.trim_end_matches('"'))
}

/// A scan on the grid of the shipped maps.
fn scan(seed: u64) -> Bytes {
    let maps = FileSource(root().join("models").join(MODEL).join("maps.nii.gz"));
    let networks = Networks::read(&maps, None, &Limits::default()).expect("the shipped maps");
    let options = Options { seed, volumes: VOLUMES, ..Options::default() };
    simulate(&networks, &options, Vec::new(), Some(1)).expect("a scan").into()
}

/// A worker with the shipped models, which routes each kind of study by what is there for it. Scans are spooled, and most
/// images too.
fn settings(bench: &Bench) -> WorkerSettings {
    bench
        .settings()
        .with("NIGHTREAD_LIMITS_MEMORY_BYTES", "10000")
        .with("NIGHTREAD_MODELS_DIR", &root().join("models").display().to_string())
        .with("NIGHTREAD_ENGINE_SESSIONS", "1")
        .with("NIGHTREAD_SCANS_WRITE_MAPS", "true")
        .with("NIGHTREAD_SCANS_WRITE_TIME_COURSES", "true")
}

/// The result of a scan, held against the schema.
async fn result(bench: &Bench, name: &str) -> Value {
    let (what, version) = (format!("the result of {name}"), version(MODEL));
    let document = wait::until_within(PATIENCE, &what, || bench.result_of(MODEL, &version, name)).await;
    let text = std::fs::read_to_string(root().join("worker/schemas/result.v2.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let problems: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}\n{document:#}");
    document
}

async fn artefact(bench: &Bench, document: &Value, name: &str) -> Bytes {
    let listed = document["artefacts"].as_array().expect("artefacts");
    let listed =
        listed.iter().find(|artefact| artefact["kind"] == name).expect("it is named in the document");
    let path = listed["path"].as_str().expect("a path");
    let blob = BlobRef::new(bench.results.as_str(), path).expect("a sound name");
    bench.direct.read(&blob, 1 << 28).await.expect("storage answers").expect("it is stored").0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_scan_ends_in_components_beside_images_that_are_read() {
    let test = "an_announced_scan_ends_in_components_beside_images_that_are_read";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("ward/scan.nii.gz", scan(1)).await;
    bench.upload("chest.png", grey(90, 512, 1)).await;
    let worker = bench.start_with(&settings(&bench));
    bench.announce(Lane::Volumes, "ward/scan.nii.gz").await;
    bench.publish(Lane::Ingest, "chest", bench.event_grid("chest.png")).await;

    let document = result(&bench, "ward/scan.nii.gz").await;
    assert_eq!(document["status"], "ok", "{document:#}");
    assert_eq!(document["components"].as_array().expect("components").len(), COUNT);
    let facts = &document["regression"];
    assert_eq!(
        (facts["volumes"].as_u64(), facts["dof"].as_u64()),
        (Some(40), Some((VOLUMES - COUNT) as u64))
    );
    let images = version("cxr-pneumonia-demo");
    let image = wait::until_within(PATIENCE, "the image's result", || {
        bench.result_of("cxr-pneumonia-demo", &images, "chest.png")
    })
    .await;
    assert_eq!(image["status"], "ok", "{image:#}");

    let maps = artefact(&bench, &document, "z_maps").await;
    let source = nightread_volume::BytesSource(&maps);
    let stream = VolumeStream::open(&source, &Limits::default()).expect("a NIfTI file");
    assert_eq!(stream.header().volumes, COUNT);
    assert_eq!(stream.finish().expect("whole"), 0);
    let courses = artefact(&bench, &document, "time_courses").await;
    assert_eq!(courses.split(|byte| *byte == b'\n').count(), VOLUMES + 2, "a header, a row a volume, an end");

    // By force it is read again, beside maps and time courses that are there already.
    let again = json!({"blob": format!("{}/ward/scan.nii.gz", bench.incoming), "force": true});
    bench.publish(Lane::Volumes, "again", again.to_string()).await;
    let newer = wait::until_within(PATIENCE, "a newer reading", || async {
        let now = result(&bench, "ward/scan.nii.gz").await;
        (now["read_at"] != document["read_at"]).then_some(now)
    })
    .await;
    assert_eq!(newer["components"], document["components"]);
    bench.settled(&[&worker], PATIENCE).await;
    assert_eq!(bench.dead().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_scans_end_as_failed_documents_and_good_ones_behind_them_are_read() {
    let test = "bad_scans_end_as_failed_documents_and_good_ones_behind_them_are_read";
    let Some(bench) = Bench::shared(test).await else { return };
    let good = scan(2);
    let mut checksum = good.to_vec();
    let crc = checksum.len() - 6;
    checksum[crc] ^= 0x55;
    let bad = [
        ("truncated.nii.gz", good.slice(..good.len() / 2), "truncated"),
        ("checksum.nii.gz", checksum.into(), "decode_failed"),
        ("three.nii", three_dimensional(), "not_four_dimensional"),
        ("short.nii.gz", short(), "too_few_volumes"),
    ];
    let worker = bench.start_with(&settings(&bench));
    for (name, body, _) in &bad {
        bench.upload(name, body.clone()).await;
        bench.announce(Lane::Volumes, name).await;
    }
    bench.upload("good.nii.gz", good).await;
    bench.announce(Lane::Volumes, "good.nii.gz").await;
    for (name, _, code) in &bad {
        let document = result(&bench, name).await;
        assert_eq!(
            (document["status"].as_str(), document["error"]["code"].as_str()),
            (Some("failed"), Some(*code))
        );
    }
    assert_eq!(result(&bench, "good.nii.gz").await["status"], "ok");
    bench.settled(&[&worker], PATIENCE).await;
    assert_eq!(bench.dead().await.len(), 0, "a failed-document is the whole answer");
    assert_eq!(worker.metric("nightread_jobs_total", "outcome=\"failed\"").await as usize, bad.len());
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_a_scan_was_inferred_leaves_one_result() {
    let test = "a_worker_killed_after_a_scan_was_inferred_leaves_one_result";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("scan.nii.gz", scan(3)).await;
    let mut doomed = bench.start_with(&settings(&bench).with("NIGHTREAD_WORKER_FAILPOINT", "after_infer"));
    bench.announce(Lane::Volumes, "scan.nii.gz").await;
    assert!(!doomed.ended().await.success());
    assert_eq!(bench.result_of(MODEL, &version(MODEL), "scan.nii.gz").await, None);
    let heir = bench.start_with(&settings(&bench));
    assert_eq!(result(&bench, "scan.nii.gz").await["status"], "ok");
    bench.settled(&[&heir], PATIENCE).await;
    assert_eq!(bench.dead().await.len(), 0);
}

fn written(volumes: Option<usize>) -> Bytes {
    use nightread_volume::{Description, Storage, VolumeWriter};
    let description = Description {
        grid: nightread_fmri::MNI_4MM,
        volumes,
        storage: Storage::I16 { slope: 1.0 },
        tr_seconds: Some(2.0),
        space: 4,
        text: String::new(),
    };
    let mut writer = VolumeWriter::new(Vec::new(), description, None).expect("a header");
    for t in 0..volumes.unwrap_or(1) {
        let values: Vec<f32> =
            (0..nightread_fmri::MNI_4MM.len()).map(|v| ((v * 31 + t * 977) % 1009) as f32).collect();
        writer.write_volume(&values).expect("a volume");
    }
    writer.finish().expect("an end").into()
}

fn three_dimensional() -> Bytes {
    written(None)
}

/// One volume fewer than can be regressed on the shipped maps.
fn short() -> Bytes {
    written(Some(COUNT + 1))
}

/// Measures a run of gigabytes, which no suite has the time for: `NIGHTREAD_LARGE_SCAN=run.nii.gz cargo test --release -p
/// nightread-tests --test scan -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a file of gigabytes, and as much memory and disk"]
async fn a_run_of_gigabytes_is_read_in_little_memory() {
    let test = "a_run_of_gigabytes_is_read_in_little_memory";
    let Some(path) = std::env::var_os("NIGHTREAD_LARGE_SCAN") else { return };
    let Some(bench) = Bench::shared(test).await else { return };
    let name = std::path::Path::new(&path).file_name().and_then(|name| name.to_str()).expect("a name");
    bench.upload(name, std::fs::read(&path).expect("the scan").into()).await;
    let settings = settings(&bench)
        .with("NIGHTREAD_LIMITS_MEMORY_BYTES", "134217728")
        .with("NIGHTREAD_SCANS_RESAMPLE", "true");
    let worker = bench.start_with(&settings);
    let started = std::time::Instant::now();
    bench.announce(Lane::Volumes, name).await;
    let (what, version) = ("the result", version(MODEL));
    let document =
        wait::until_within(Duration::from_hours(1), what, || bench.result_of(MODEL, &version, name)).await;
    let (now, most) = worker.memory();
    eprintln!(
        "{name}: {:.0} s, {} MiB at most, {} now",
        started.elapsed().as_secs_f64(),
        most >> 20,
        now >> 20
    );
    eprintln!("{:#}", document["timing_ms"]);
    assert_eq!(document["status"], "ok", "{document:#}");
    assert!(most < 3 << 29, "{most} bytes");
}
