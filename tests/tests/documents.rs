//! The command blocks of the README, the how-to guides and the tutorials, run as they are printed, on real parts and in a home of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::archive::{Way, WebArchive};
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::commands::{Workplace, blocks, command, output, pages, success};
use nightread_tests::orthanc::Orthanc;
use nightread_tests::parts::{root, skipped};
use nightread_tests::queues::{Queue, Queues};
use nightread_tests::rabbit::Rabbit;
use nightread_tests::worker::{Worker, WorkerSettings};
use serde_json::Value;

/// Settings for a service in the cloud, complete.
const DEPLOY: &str = "worker/docs/how-to/deploy.md";

/// Settings for one on folders.
const SERVICE: &str = "worker/docs/tutorials/service.md";

/// Whose commands are run: those that speak of a service that is there.
fn guides() -> Vec<String> {
    [vec!["README.md".to_owned()], pages("worker/docs/how-to")].concat()
}

/// Whose commands make all that they use.
fn tutorials() -> Vec<String> {
    pages("worker/docs/tutorials")
}

/// Blocks that say of themselves why no test runs them. Not to grow unseen.
const UNTRIED: [(&str, &str); 20] = [
    ("worker/docs/how-to/backlog.md", "it publishes to Azure Monitor"),
    ("worker/docs/how-to/bf16.md", "it takes a processor with AMX"),
    (
        "worker/docs/how-to/bring-a-network.md",
        "the network and the script are yours; worker/tests/networks.rs holds the command",
    ),
    (
        "worker/docs/how-to/bring-a-network.md",
        "it takes 400 files with their truth; models/tests/test_quantise_networks.py holds the command",
    ),
    (
        "worker/docs/how-to/confounds.md",
        "the sample has no table of confounds; worker/tests/scan/numerics.rs holds it",
    ),
    ("worker/docs/how-to/ct-series.md", "needs series of yours; worker/tests/ct.rs holds each"),
    ("worker/docs/how-to/gate-a-rollout.md", "it needs a container with two versions of a model"),
    (
        "worker/docs/how-to/install.md",
        "it needs root; `make package-test` installs the archive into a bare root",
    ),
    (
        "worker/docs/how-to/install.md",
        "it needs root; `make package-test` installs the archive into a bare root",
    ),
    ("worker/docs/how-to/kubernetes.md", "it needs a cluster"),
    (
        "worker/docs/how-to/lost-events.md",
        "it needs Event Grid's container; tests/tests/announce.rs holds it",
    ),
    (
        "worker/docs/how-to/model-registry.md",
        "it needs a container of models; tests/tests/registry.rs holds it",
    ),
    ("worker/docs/how-to/monitor.md", "it builds the binary anew; `make test-traces` holds what is sent"),
    ("worker/docs/how-to/series.md", "needs a queue of instances; tests/tests/assemble.rs holds it"),
    ("worker/docs/how-to/series.md", "needs sets that `assemble` wrote; tests/tests/series.rs holds it"),
    ("worker/docs/how-to/upgrade-rabbitmq.md", "it upgrades a node of a cluster"),
    (
        "worker/docs/how-to/upgrade-rabbitmq.md",
        "two clusters are needed, and the plug-in rabbitmq_shovel on the new one",
    ),
    ("worker/docs/how-to/upgrade-rabbitmq.md", "three brokers are needed"),
    ("worker/docs/how-to/upgrade.md", "it enables a plug-in on a node of the broker"),
    (
        "worker/docs/tutorials/own-model.md",
        "it brings PyTorch, several GB; `make test-models` holds the scripts",
    ),
];

/// Lines that could run here and would take too long, or run this very test.
const DEAR: [(&str, &str); 5] = [
    ("make demo", "builds; run by hand and before a release"),
    ("make test", "is what runs this"),
    ("make demo-cloud", "builds; it starts the parts that the tests start"),
    (
        "nightread bench --config /etc/nightread/worker.toml",
        "measures for minutes; `worker/tests/bench.rs` runs it small",
    ),
    ("nightread bench --config /etc/nightread/worker.toml --bulk 500", "the same"),
];

fn is_dear(line: &str) -> bool {
    DEAR.iter().any(|(dear, _)| *dear == line)
}

/// The settings file that a page prints first.
fn printed(page: &str) -> String {
    blocks(page, "toml").swap_remove(0).lines.join("\n")
}

/// The secrets beside the settings of a service in the cloud.
fn secrets() -> Vec<(String, String)> {
    let block = blocks(DEPLOY, "env").swap_remove(0);
    let pairs = block.lines.iter().map(|line| line.split_once('=').expect("a variable"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Whether the binary and the samples are there; said by name when not.
fn is_prepared(test: &str) -> bool {
    let samples = root().join(".cache/samples/RG1_UNCR.dcm").is_file();
    if !samples {
        skipped(test, "the samples (`make samples`)");
    }
    samples && Worker::is_built(test)
}

/// Broker, storage and a Storage queue of their own, and everything that the guides name.
struct Cloud {
    place: Workplace,
    bench: Bench,
    queue: Queue,
    _archive: Archive,
}

/// A real archive where there is one, else one that says that it stores.
enum Archive {
    Real(Orthanc),
    Scripted(WebArchive),
}

impl Archive {
    async fn new(test: &str) -> Self {
        match Orthanc::start(test).await {
            Some(orthanc) => Self::Real(orthanc),
            None => Self::Scripted(WebArchive::start(Way::Stores).await),
        }
    }

    fn web(&self) -> String {
        match self {
            Self::Real(orthanc) => orthanc.web(),
            Self::Scripted(archive) => archive.url(),
        }
    }
}

impl Cloud {
    async fn new(test: &str) -> Option<Self> {
        let (rabbit, azurite) = (Rabbit::managed(test).await?, Azurite::shared(test).await?);
        let queues = Queues::shared(test).await?;
        if !is_prepared(test) {
            return None;
        }
        let bench = Bench::over(test, rabbit, azurite).await;
        let queue = queues.fresh().await;
        let management = rabbit.management_url().expect("the plug-in");
        let models = root().join("models").display().to_string();
        let mut settings = bench.settings().with("NIGHTREAD_MODELS_DIR", &models);
        settings = settings.with("NIGHTREAD_BACKLOG_MANAGEMENT_URL", &management);
        for (name, value) in queue.settings("").environment().filter(|(name, _)| name.contains("_RELAY_")) {
            settings = settings.with(name, value);
        }
        let archive = Archive::new(test).await;
        let place = Workplace::new(settings).with_archive(archive.web());
        // Azurite has no identities: the way in comes from the environment.
        let file = printed(DEPLOY);
        let lines: Vec<_> = file.lines().filter(|line| !line.starts_with("account_url")).collect();
        for path in ["etc/worker.toml", "work/worker.toml"] {
            std::fs::write(place.at(path), lines.join("\n")).expect("written");
        }
        let sample = std::fs::read(root().join(".cache/samples/RG1_UNCR.dcm")).expect("a sample");
        for path in ["data/xrays", "data/bids/derivatives", "work/scans"] {
            std::fs::create_dir_all(place.at(path)).expect("a folder");
        }
        for path in ["data/xrays/a.dcm", "data/chest.dcm", "work/scan.dcm"] {
            std::fs::write(place.at(path), &sample).expect("written");
        }
        let mut unzip = Command::new("python3");
        unzip.args(["-m", "zipfile", "-e"]).arg(root().join("models/ct-organs-demo/sample.zip"));
        unzip.arg(place.at("data/ct"));
        success("the series", &output(unzip).await);
        std::fs::write(place.at("work/labels.csv"), "study,patient,Pneumonia\na.dcm,p1,1\n")
            .expect("written");
        let networks = root().join("models/fmri-networks-demo");
        std::fs::copy(networks.join("mask.nii.gz"), place.at("work/brain.nii.gz")).expect("copied");
        let maps = networks.join("maps.nii.gz").display().to_string();
        for (seed, path) in ["work/scans/1.nii.gz", "work/scans/2.nii.gz"].iter().enumerate() {
            let (seed, out) = ((seed + 1).to_string(), place.at(path).display().to_string());
            let arguments = ["simulate-scan", "--networks", &maps, "--seed", &seed, "--out", &out];
            success(path, &output(place.settings().command(&arguments)).await);
        }
        for path in ["data/bids/sub-01_task-rest_bold.nii.gz", "data/bids/derivatives/sub-01_bold.nii.gz"] {
            std::fs::copy(place.at("work/scans/1.nii.gz"), place.at(path)).expect("copied");
        }
        bench.upload("a.dcm", Bytes::from(sample)).await;
        Some(Self { place, bench, queue, _archive: archive })
    }

    /// A letter as a worker leaves it.
    async fn die(&self, id: &str, code: &str) {
        let mut headers = FieldTable::default();
        headers.insert("error-code".into(), AMQPValue::LongString(code.into()));
        headers.insert("error-message".into(), AMQPValue::LongString("why".into()));
        let properties =
            BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2).with_headers(headers);
        let (exchange, key) = (topology::DEAD.into(), topology::lane_key(Lane::Ingest));
        let observer = self.bench.observer().await;
        let body = format!(r#"{{"blob": "{}/a.dcm"}}"#, self.bench.incoming);
        let options = BasicPublishOptions::default();
        let sent = observer.channel().basic_publish(
            exchange,
            key.as_str().into(),
            options,
            body.as_bytes(),
            properties,
        );
        sent.await.expect("sent").await.expect("published");
    }

    /// Letters of both codes that the block names, and the id of one.
    async fn letters(&self) -> String {
        self.die("exhausted", "attempts_exhausted").await;
        self.die("bad", "message_unparseable").await;
        self.bench.observer().await.wait_for_depth(topology::DEAD_QUEUE, 2).await;
        let listed = output(self.place.settings().command(&["dead", "list", "--format", "json"])).await;
        let listed: Value = serde_json::from_slice(&success("dead list", &listed).stdout).expect("JSON");
        listed["letters"][0]["id"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn what_no_test_runs_is_marked_with_its_reason_and_does_not_grow() {
    let mut untried = Vec::new();
    let mut lines = BTreeSet::new();
    for document in [guides(), tutorials()].concat() {
        for block in blocks(&document, "sh") {
            lines.extend(block.lines.iter().map(|line| command(line).to_owned()));
            untried.extend(block.untried.map(|reason| (document.clone(), reason)));
        }
    }
    let untried: Vec<_> =
        untried.iter().map(|(document, reason)| (document.as_str(), reason.as_str())).collect();
    assert_eq!(untried, UNTRIED);
    for (line, _) in DEAR {
        assert!(lines.contains(line), "{line} is printed no more");
    }
    assert!(lines.len() > 60, "{}", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_block_of_readme_and_guides_runs_as_it_is_printed() {
    let test = "every_command_block_of_readme_and_guides_runs_as_it_is_printed";
    let Some(cloud) = Cloud::new(test).await else { return };
    for document in guides() {
        for block in blocks(&document, "sh").iter().filter(|block| block.untried.is_none()) {
            let names_letter = block.lines.iter().any(|line| line.contains("dead show"));
            let letter = if names_letter { cloud.letters().await } else { String::new() };
            cloud.place.run(block, &letter, is_dear).await;
        }
    }
    assert!(cloud.queue.is_empty().await);
    assert!(cloud.place.has_clean_home());
}

/// Each in a checkout and at a broker of its own, where nothing is declared or made beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_block_of_the_tutorials_runs_as_it_is_printed() {
    let test = "every_command_block_of_the_tutorials_runs_as_it_is_printed";
    let Some(rabbit) = Rabbit::managed(test).await else { return };
    if !is_prepared(test) {
        return;
    }
    for document in tutorials() {
        let models = root().join("models").display().to_string();
        let place =
            Workplace::new(WorkerSettings::new(&rabbit.fresh_url()).with("NIGHTREAD_MODELS_DIR", &models));
        if document == SERVICE {
            std::fs::write(place.at("work/service.toml"), printed(SERVICE)).expect("written");
        }
        for block in blocks(&document, "sh").iter().filter(|block| block.untried.is_none()) {
            place.run(block, "", is_dear).await;
        }
        assert!(place.has_clean_home(), "{document}");
    }
}

#[test]
fn the_complete_settings_file_is_sound_as_printed_for_the_service_and_the_backlog() {
    if !Worker::is_built("the_complete_settings_file_is_sound_as_printed_for_the_service_and_the_backlog") {
        return;
    }
    let (file, secrets) = (printed(DEPLOY), secrets());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("worker.toml");
    std::fs::write(&path, file).expect("written");
    let answer = check(&path, &secrets);
    assert_eq!(answer["for"], serde_json::json!(["backlog", "run"]), "{answer:#}");
    let models: Vec<_> =
        answer["models"].as_array().expect("models").iter().map(|model| &model["name"]).collect();
    assert_eq!(models, ["ct-organs-demo", "cxr-pneumonia-demo", "fmri-networks-demo"]);
    // Each secret is needed.
    assert!(!sound(&path, &secrets[..1], "backlog") && !sound(&path, &secrets[1..], "run"));
}

fn checked(path: &Path, secrets: &[(String, String)], more: &[&str]) -> Output {
    let models = root().join("models").display().to_string();
    let told =
        WorkerSettings::new("").with("NIGHTREAD_MODELS_DIR", &models).with("NIGHTREAD_MODELS_PRECISION", "");
    let mut command = told.command(&["check", "--offline", "--format", "json", "--config"]);
    command.arg(path).args(more).envs(secrets.iter().map(|(name, value)| (name, value)));
    command.output().expect("it runs")
}

fn check(path: &Path, secrets: &[(String, String)]) -> Value {
    serde_json::from_slice(&success("check", &checked(path, secrets, &[])).stdout).expect("JSON")
}

fn sound(path: &Path, secrets: &[(String, String)], purpose: &str) -> bool {
    checked(path, secrets, &["--for", purpose]).status.success()
}
