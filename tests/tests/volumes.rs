//! CT volumes through the service: whatever ends a worker in the middle of one, there is one result, and nobody is blamed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use nightread::adapters::amqp::topology;
use nightread_domain::{ErrorCode, Lane};
use nightread_tests::bench::Bench;
use nightread_tests::cgroup::Room;
use nightread_tests::images::grey;
use nightread_tests::parts::root;
use nightread_tests::volumes::nifti;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings};

/// A patch of the network takes microseconds, and begins at every voxel: seven hundred thousand here, which take seconds.
const SIDE: usize = 96;
/// Three and a half million patches.
const LONG: usize = 160;
const PATIENCE: Duration = Duration::from_mins(5);

/// A block of soft tissue in air, 3 mm.
fn volume(side: usize) -> Vec<u8> {
    let inside = side / 4..side / 2;
    nifti(
        [side; 3],
        [3.0; 3],
        |place| {
            if place.iter().all(|index| inside.contains(index)) { 100.0 } else { -1000.0 }
        },
    )
}

fn settings(bench: &Bench) -> WorkerSettings {
    let models = root().join("tests/fixtures/volume-models");
    bench.settings().with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"))
}

/// Waits until the worker has gone over so many patches.
async fn in_the_middle(worker: &Worker) {
    wait::until("some patches", || async {
        (worker.metric("nightread_patches_total", "").await >= 20.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_and_a_kill_in_the_middle_of_a_volume_leave_one_result_and_blame_nobody() {
    let test = "drains_and_a_kill_in_the_middle_of_a_volume_leave_one_result_and_blame_nobody";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("ct.nii.gz", volume(SIDE).into()).await;
    bench.announce(Lane::Volumes, "ct.nii.gz").await;
    let settings = settings(&bench).with("NIGHTREAD_WORKER_DRAIN_SECONDS", "1");
    for turn in 0..10 {
        let mut worker = bench.start_with(&settings);
        in_the_middle(&worker).await;
        worker.terminate();
        let ended = worker.ended().await;
        let log = worker.log();
        assert!(ended.success(), "drain {turn}: {ended:?}\n{log}");
        assert!(!log.contains("quarantine"), "drain {turn}: {log}");
        assert_eq!(bench.result_of("bands", "1.0.0-fp32", "ct.nii.gz").await, None, "drain {turn}");
    }
    let worker = bench.start_with(&settings);
    in_the_middle(&worker).await;
    worker.kill();

    let worker = bench.start_with(&settings);
    let document =
        wait::until_within(PATIENCE, "the result", || bench.result_of("bands", "1.0.0-fp32", "ct.nii.gz"))
            .await;
    assert_eq!(document["status"], "ok", "{document}");
    let side = (SIDE / 2 - SIDE / 4) as u64;
    assert_eq!(document["segments"][0]["voxels"], side.pow(3), "{document}");
    bench.settled(&[&worker], PATIENCE).await;
    assert_eq!(worker.metric("nightread_jobs_total", "outcome=\"read\"").await as u32, 1);
    assert_eq!(worker.metric("nightread_messages_total", "quarantined").await as u32, 0);
    let observer = bench.observer().await;
    assert_eq!(observer.depth(topology::QUARANTINE_QUEUE).await, 0);
    assert!(bench.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_would_outlast_its_delivery_or_the_memory_is_told_and_holds_nothing_up() {
    let test = "a_volume_that_would_outlast_its_delivery_or_the_memory_is_told_and_holds_nothing_up";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("long.nii.gz", volume(LONG).into()).await;
    bench.upload("small.nii.gz", volume(16).into()).await;
    bench.announce(Lane::Volumes, "long.nii.gz").await;
    // A delivery may take half of it, 5 s: the volume needs two times that on a quick machine.
    let worker = bench.start_with(&settings(&bench).with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", "10"));
    bench.announce(Lane::Volumes, "small.nii.gz").await;
    let found = wait::until_within(PATIENCE, "the small one", || {
        bench.result_of("bands", "1.0.0-fp32", "small.nii.gz")
    })
    .await;
    assert_eq!(found["status"], "ok", "{found}");
    bench.settled(&[&worker], PATIENCE).await;
    let dead = bench.dead().await;
    let codes: Vec<ErrorCode> = dead.iter().map(|letter| letter.code).collect();
    assert_eq!(codes, [ErrorCode::ExceedsLaneTime]);
    let none = bench.result_of("bands", "1.0.0-fp32", "long.nii.gz").await;
    assert_eq!(none, None, "a study that was not read has not failed");
    drop(worker);

    let little = settings(&bench).with("NIGHTREAD_LIMITS_VOLUME_BYTES", "20000000");
    let worker = bench.start_with(&little);
    bench.announce(Lane::Volumes, "long.nii.gz").await;
    let refused =
        wait::until_within(PATIENCE, "the refusal", || bench.result_of("bands", "1.0.0-fp32", "long.nii.gz"))
            .await;
    assert_eq!(refused["error"]["code"], "exceeds_memory", "{refused}");
    bench.settled(&[&worker], PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_kills_workers_for_want_of_memory_is_told_after_two_deaths_alone() {
    /// 211 MiB in whole numbers of 16 bits, and 422 on the network's grid.
    const LARGE: usize = 480;
    let test = "a_volume_that_kills_workers_for_want_of_memory_is_told_after_two_deaths_alone";
    let Some(bench) = Bench::shared(test).await else { return };
    bench.upload("large.nii.gz", volume(LARGE).into()).await;
    bench.upload("small.nii.gz", volume(16).into()).await;
    bench.announce(Lane::Volumes, "large.nii.gz").await;
    let room = Room::new(512 << 20, 800 << 20);
    let words = room.words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let settings = settings(&bench).with("NIGHTREAD_LIMITS_VOLUME_BYTES", "100000000000").through(&words);
    let mut deaths = 0;
    let survivor = loop {
        let mut worker = bench.start_with(&settings);
        tokio::select! {
            // Short of memory, a worker on a busy machine takes minutes to die.
            ended = worker.ended_within(PATIENCE) => assert!(!ended.success(), "death {deaths}: {ended:?}\n{}", worker.log()),
            () = wait::until_within(PATIENCE, "the dead letter", || async {
                (!bench.dead().await.is_empty()).then_some(())
            }) => break worker,
        }
        deaths += 1;
        assert!(deaths <= 4, "it still kills workers\n{}", worker.log());
    };
    assert_eq!(deaths, 4, "twice beside others, as far as anybody knows, and twice alone; {}", room.told());
    let dead = bench.dead().await;
    let codes: Vec<ErrorCode> = dead.iter().map(|letter| letter.code).collect();
    assert_eq!(codes, [ErrorCode::ExceedsMemory], "{dead:?}");
    bench.announce(Lane::Volumes, "small.nii.gz").await;
    let found = wait::until_within(PATIENCE, "the small one", || {
        bench.result_of("bands", "1.0.0-fp32", "small.nii.gz")
    })
    .await;
    assert_eq!(found["status"], "ok", "{found}");
    bench.settled(&[&survivor], PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn radiographs_are_read_while_a_volume_is() {
    let test = "radiographs_are_read_while_a_volume_is";
    let Some(bench) = Bench::shared(test).await else { return };
    let models = bench.folder.path().join("models");
    for (from, name) in [("models/one-node", "one-node"), ("volume-models/bands", "bands")] {
        let (from, to) = (root().join("tests/fixtures").join(from), models.join(name));
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("a file");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
    // A 3-D file is a volume only where a route says so.
    let routes = bench.folder.path().join("worker.toml");
    std::fs::write(
        &routes,
        "[[routes]]\ntask = \"radiograph\"\nmodel = \"one-node\"\n[[routes]]\ntask = \"segmentation\"\nmodel = \"bands\"\n",
    )
    .expect("written");
    let settings = bench
        .settings()
        .with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"))
        .with("NIGHTREAD_CONFIG", routes.to_str().expect("a UTF-8 path"));
    bench.upload("ct.nii.gz", volume(LONG).into()).await;
    bench.announce(Lane::Volumes, "ct.nii.gz").await;
    let worker = bench.start_with(&settings);
    in_the_middle(&worker).await;
    for number in 0..40 {
        let name = format!("{number}.png");
        bench.upload(&name, grey(number, 64, number.into())).await;
        bench.announce(Lane::Ingest, &name).await;
    }
    for number in 0..40 {
        let read = bench.wait_for_result(&format!("{number}.png")).await;
        assert_eq!(read["status"], "ok", "{read}");
    }
    assert_eq!(
        bench.result_of("bands", "1.0.0-fp32", "ct.nii.gz").await,
        None,
        "they did not wait for the volume"
    );
}

/// All networks of volumes share one thread: whatever waits for it in a worker's hand uses up the patience of the broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_one_volume_in_hand_beside_the_one_in_work() {
    let test = "a_worker_has_one_volume_in_hand_beside_the_one_in_work";
    let Some(bench) = Bench::shared(test).await else { return };
    for number in 0..5 {
        let name = format!("{number}.nii.gz");
        bench.upload(&name, volume(LONG).into()).await;
        bench.announce(Lane::Volumes, &name).await;
    }
    let worker = bench.start_with(&settings(&bench).with("NIGHTREAD_LIMITS_JOBS", "16"));
    in_the_middle(&worker).await;
    bench.observer().await.wait_for_depth(&topology::lane_queue(Lane::Volumes), 3).await;
}

/// Each is far from its limit, and together they are over that of a delivery.
#[tokio::test(flavor = "multi_thread")]
async fn networks_that_together_outlast_a_delivery_have_another_and_nobody_is_blamed() {
    const NETWORKS: usize = 8;
    let test = "networks_that_together_outlast_a_delivery_have_another_and_nobody_is_blamed";
    let Some(bench) = Bench::shared(test).await else { return };
    let models = bench.folder.path().join("models");
    let from = root().join("tests/fixtures/volume-models/bands");
    let names: Vec<String> = (0..NETWORKS).map(|number| format!("bands{number}")).collect();
    for name in &names {
        let to = models.join(name);
        std::fs::create_dir_all(&to).expect("a folder");
        for file in ["README.md", "model.onnx"] {
            std::fs::copy(from.join(file), to.join(file)).expect("copied");
        }
        let manifest = std::fs::read_to_string(from.join("manifest.toml")).expect("a manifest");
        let manifest = manifest.replace("name = \"bands\"", &format!("name = {name:?}"));
        std::fs::write(to.join("manifest.toml"), manifest).expect("written");
    }
    let file = bench.folder.path().join("worker.toml");
    std::fs::write(&file, format!("[[routes]]\ntask = \"segmentation\"\nmodels = {names:?}\n"))
        .expect("written");
    let settings = bench
        .settings()
        .with("NIGHTREAD_MODELS_DIR", models.to_str().expect("a UTF-8 path"))
        .with("NIGHTREAD_CONFIG", file.to_str().expect("a UTF-8 path"));
    bench.upload("ct.nii.gz", volume(SIDE).into()).await;
    bench.upload("measured.nii.gz", volume(SIDE).into()).await;

    let worker = bench.start_with(&settings);
    let one = serde_json::json!({"blob": format!("{}/measured.nii.gz", bench.incoming), "model": names[0]});
    bench.publish(Lane::Volumes, "measured", one.to_string()).await;
    let result = |name: &str, blob: &'static str| {
        let name = name.to_owned();
        let bench = &bench;
        async move {
            let found = || bench.result_of(&name, "1.0.0-fp32", blob);
            wait::until_within(PATIENCE, "a result", found).await
        }
    };
    let read = result(&names[0], "measured.nii.gz").await;
    let seconds = read["timing_ms"]["infer"].as_f64().expect("a time") / 1e3;
    drop(worker);

    // Three times as long as one network takes is a network's limit, and five times a delivery's.
    let patience = (6.0 * seconds).ceil().max(10.0);
    let worker =
        bench.start_with(&settings.with("NIGHTREAD_BROKER_CONSUMER_TIMEOUT_SECONDS", &patience.to_string()));
    bench.announce(Lane::Volumes, "ct.nii.gz").await;
    for name in &names {
        let read = result(name, "ct.nii.gz").await;
        assert_eq!(read["status"], "ok", "{name}: {read}");
    }
    bench.settled(&[&worker], PATIENCE).await;
    let messages = async |label: &str| worker.metric("nightread_messages_total", label).await as u32;
    assert!(messages("postponed").await >= 1, "{seconds} s each: one delivery does not suffice");
    assert_eq!((messages("retried").await, messages("dead_lettered").await), (0, 0));
    let read = worker.metric("nightread_jobs_total", "outcome=\"read\"").await as usize;
    assert_eq!(read, NETWORKS, "what is stored is not read again");
    assert!(bench.dead().await.is_empty());
}
