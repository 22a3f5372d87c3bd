//! The command blocks of README and OPERATIONS, run as they are printed, on real parts and in a home of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::commands::{Block, blocks, command};
use nightread_tests::parts::{free_port, root, skipped};
use nightread_tests::queues::{Queue, Queues};
use nightread_tests::rabbit::Rabbit;
use nightread_tests::server::get;
use nightread_tests::wait;
use nightread_tests::worker::{Worker, WorkerSettings, binary};
use serde_json::Value;
use tempfile::TempDir;

const DOCUMENTS: [&str; 2] = ["README.md", "worker/OPERATIONS.md"];

/// Blocks that say of themselves why no test runs them. Not to grow unseen.
const UNTRIED: [(&str, &str); 4] = [
    ("worker/OPERATIONS.md", "it enables a plug-in on a node of the broker"),
    ("worker/OPERATIONS.md", "it publishes to Azure Monitor"),
    ("worker/OPERATIONS.md", "it upgrades a node of a cluster"),
    ("worker/OPERATIONS.md", "three brokers are needed"),
];

/// Lines that could run here and would take too long, or run this very test.
const DEAR: [(&str, &str); 6] = [
    ("make demo", "builds; run by hand and before a release"),
    ("make test", "is what runs this"),
    ("make demo-cloud", "builds; it starts the parts that the tests start"),
    ("target/release/nightread bench", "measures for minutes; `worker/tests/bench.rs` runs it small"),
    ("nightread bench --config /etc/nightread/worker.toml", "the same"),
    ("nightread bench --config /etc/nightread/worker.toml --bulk 500", "the same"),
];

fn is_dear(line: &str) -> bool {
    DEAR.iter().any(|(dear, _)| *dear == line)
}

/// The settings file that OPERATIONS prints, and the secrets beside it.
fn printed() -> (String, Vec<(String, String)>) {
    let file = blocks("worker/OPERATIONS.md", "toml").swap_remove(0);
    let secrets = blocks("worker/OPERATIONS.md", "env").swap_remove(0);
    let pairs = secrets.lines.iter().map(|line| line.split_once('=').expect("a variable"));
    (file.lines.join("\n"), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A home, a folder to work in and everything that the blocks name.
struct Scratch {
    folder: TempDir,
    bench: Bench,
    queue: Queue,
    settings: WorkerSettings,
}

impl Scratch {
    async fn new(test: &str) -> Option<Self> {
        let (rabbit, azurite) = (Rabbit::managed(test).await?, Azurite::shared(test).await?);
        let queues = Queues::shared(test).await?;
        let sample = root().join(".cache/samples/RG1_UNCR.dcm");
        if !Worker::is_built(test) {
            return None;
        }
        if !sample.is_file() {
            skipped(test, "the samples (`make samples`)");
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
        let folder = tempfile::Builder::new().prefix("nightread-documents-").tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        for path in [
            "home",
            "bin",
            "lib",
            "etc",
            "work/target/release",
            "work/scans",
            "data/xrays",
            "data/bids/derivatives",
        ] {
            std::fs::create_dir_all(at(path)).expect("a folder");
        }
        for path in ["bin/nightread", "work/target/release/nightread"] {
            std::os::unix::fs::symlink(binary(), at(path)).expect("a link");
        }
        // Azurite has no identities: the way in comes from the environment.
        let (file, _) = printed();
        let lines: Vec<_> = file.lines().filter(|line| !line.starts_with("account_url")).collect();
        let file = lines.join("\n");
        for path in ["etc/worker.toml", "work/worker.toml"] {
            std::fs::write(at(path), &file).expect("written");
        }
        for path in ["data/xrays/a.dcm", "work/scan.dcm"] {
            std::fs::copy(&sample, at(path)).expect("copied");
        }
        let networks = root().join("models/fmri-networks-demo");
        std::fs::copy(networks.join("mask.nii.gz"), at("work/brain.nii.gz")).expect("copied");
        let maps = networks.join("maps.nii.gz").display().to_string();
        for (seed, path) in ["work/scans/1.nii.gz", "work/scans/2.nii.gz"].iter().enumerate() {
            let (seed, out) = ((seed + 1).to_string(), at(path).display().to_string());
            let simulated =
                settings.command(&["simulate-scan", "--networks", &maps, "--seed", &seed, "--out", &out]);
            success(path, &run(simulated).await);
        }
        for path in [
            "work/scan.nii.gz",
            "data/bids/sub-01_task-rest_bold.nii.gz",
            "data/bids/derivatives/sub-01_bold.nii.gz",
        ] {
            std::fs::copy(at("work/scans/1.nii.gz"), at(path)).expect("copied");
        }
        bench.upload("a.dcm", Bytes::from(std::fs::read(&sample).expect("a sample"))).await;
        Some(Self { folder, bench, queue, settings })
    }

    /// A line as this machine can run it: its own folders, ports and names in the place of those that are printed.
    fn here(&self, line: &str, port: u16, letter: &str) -> String {
        let at = |path: &str| self.folder.path().join(path).display().to_string();
        line.replace("/etc/nightread", &at("etc"))
            .replace("/var/lib/nightread", &at("lib"))
            .replace("/data", &at("data"))
            .replace("127.0.0.1:9419", &format!("127.0.0.1:{port}"))
            .replace("--model NAME", "--model cxr-pneumonia-demo")
            .replace("3f9c0a417d52", letter)
    }

    fn shell(&self, line: &str, port: u16) -> Command {
        let mut shell = Command::new("setpriv");
        // The last command of a shell takes its place, and with it the signal.
        shell.args(["--pdeathsig", "KILL", "--", "bash", "-euo", "pipefail", "-c", line]);
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env_clear().env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        shell.env("HOME", self.folder.path().join("home")).current_dir(self.folder.path().join("work"));
        shell.envs(self.settings.environment()).env("NIGHTREAD_HTTP_LISTEN", format!("127.0.0.1:{port}"));
        shell.env("NIGHTREAD_WEBHOOK_LISTEN", "127.0.0.1:0").env("ORT_DISABLE_TELEMETRY", "1");
        shell.stdin(Stdio::null());
        shell
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
        let listed = run(self.settings.command(&["dead", "list", "--format", "json"])).await;
        let listed: Value = serde_json::from_slice(&success("dead list", &listed).stdout).expect("JSON");
        listed["letters"][0]["id"].as_str().expect("an id").to_owned()
    }

    /// Runs a block, line by line. What serves is waited for, stopped, and has to end well.
    async fn run(&self, block: &Block) {
        let names_letter = block.lines.iter().any(|line| line.contains("dead show"));
        let letter = if names_letter { self.letters().await } else { String::new() };
        for line in block.lines.iter().map(|line| command(line)).filter(|line| !is_dear(line)) {
            let what = format!("{}: {line}", block.place);
            eprintln!("{what}");
            let port = free_port();
            let command = self.shell(&self.here(line, port, &letter), port);
            if serves(line) {
                served(&what, command, port).await;
            } else {
                success(&what, &run(command).await);
            }
        }
    }
}

fn serves(line: &str) -> bool {
    ["nightread run ", "nightread relay ", "nightread webhook ", "nightread backlog --every"]
        .iter()
        .any(|start| line.contains(start))
}

async fn run(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
    run.await.expect("it ends")
}

fn success<'a>(what: &str, output: &'a Output) -> &'a Output {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

async fn served(what: &str, mut command: Command, port: u16) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let process = child.id().to_string();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ends"));
    let (url, gone) = (format!("http://127.0.0.1:{port}/ready"), &output);
    wait::until(&format!("{what} to be ready"), || async {
        let ready = get(&url).await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
        (ready || gone.is_finished()).then_some(())
    })
    .await;
    // One that ended by itself is told by its status.
    let _ = Command::new("kill").args(["-TERM", &process]).stderr(Stdio::null()).status();
    success(what, &output.await.expect("it ends"));
}

#[test]
fn what_no_test_runs_is_marked_with_its_reason_and_does_not_grow() {
    let mut untried = Vec::new();
    let mut lines = BTreeSet::new();
    for document in DOCUMENTS {
        for block in blocks(document, "sh") {
            lines.extend(block.lines.iter().map(|line| command(line).to_owned()));
            untried.extend(block.untried.map(|reason| (document, reason)));
        }
    }
    let untried: Vec<_> = untried.iter().map(|(document, reason)| (*document, reason.as_str())).collect();
    assert_eq!(untried, UNTRIED);
    for (line, _) in DEAR {
        assert!(lines.contains(line), "{line} is printed no more");
    }
    assert!(lines.len() > 25, "{}", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_block_runs_as_it_is_printed() {
    let Some(scratch) = Scratch::new("every_command_block_runs_as_it_is_printed").await else { return };
    for document in DOCUMENTS {
        for block in blocks(document, "sh").iter().filter(|block| block.untried.is_none()) {
            scratch.run(block).await;
        }
    }
    assert!(scratch.queue.is_empty().await);
    let home: Vec<_> = std::fs::read_dir(scratch.folder.path().join("home")).expect("a home").collect();
    assert!(home.is_empty(), "nothing is left in the home: {home:?}");
}

#[test]
fn the_complete_settings_file_is_sound_as_printed_for_the_service_and_the_backlog() {
    if !Worker::is_built("the_complete_settings_file_is_sound_as_printed_for_the_service_and_the_backlog") {
        return;
    }
    let (file, secrets) = printed();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("worker.toml");
    std::fs::write(&path, file).expect("written");
    let answer = check(&path, &secrets);
    assert_eq!(answer["for"], serde_json::json!(["backlog", "run"]), "{answer:#}");
    let models: Vec<_> =
        answer["models"].as_array().expect("models").iter().map(|model| &model["name"]).collect();
    assert_eq!(models, ["cxr-pneumonia-demo", "fmri-networks-demo"]);
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
