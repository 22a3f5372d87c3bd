//! The real worker, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::disk::Disk;
use crate::parts::{free_port, root, skipped};
use crate::wait;

/// What a worker is told beside the defaults of the tests.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    environment: Vec<(String, String)>,
    /// Programs that change something and then become the worker.
    through: Vec<String>,
    /// Words that let it onto a disk of its own.
    enter: Vec<String>,
}

impl WorkerSettings {
    /// A worker at this broker, with the one-node model in FP32.
    pub fn new(broker_url: &str) -> Self {
        let runtime = runtime().map(|path| path.display().to_string()).unwrap_or_default();
        let models = root().join("tests/fixtures/models").display().to_string();
        let cores = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        Self { environment: Vec::new(), through: Vec::new(), enter: Vec::new() }
            .with("NIGHTREAD_BROKER_URL", broker_url)
            .with("NIGHTREAD_MODELS_DIR", &models)
            .with("NIGHTREAD_MODELS_PRECISION", "fp32")
            .with("NIGHTREAD_MODELS_RUNTIME", &runtime)
            .with("NIGHTREAD_TESTING", "1")
            .with("NIGHTREAD_LIMITS_PROBE_SECONDS", "1")
            // Tests run beside each other.
            .with("NIGHTREAD_HTTP_LISTEN", "127.0.0.1:0")
            // Measuring how to split the cores would only delay what is tested.
            .with("NIGHTREAD_ENGINE_SESSIONS", &cores)
            .with("NIGHTREAD_ENGINE_INTRA_THREADS", "1")
            .with("NIGHTREAD_ENGINE_DECODE_THREADS", &cores)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn azure(self, connection_string: &str, containers: &str, results: &str) -> Self {
        self.with("NIGHTREAD_STORAGE_KIND", "azure")
            .with("NIGHTREAD_STORAGE_CONNECTION_STRING", connection_string)
            .with("NIGHTREAD_SOURCES_CONTAINERS", containers)
            .with("NIGHTREAD_RESULTS_CONTAINER", results)
    }

    /// Containers are folders under `folder`; they are made.
    #[must_use]
    pub fn folder(self, folder: &Path) -> Self {
        for container in ["incoming", "results"] {
            std::fs::create_dir_all(folder.join(container)).expect("a folder");
        }
        self.with("NIGHTREAD_STORAGE_KIND", "folder")
            .with("NIGHTREAD_STORAGE_FOLDER", folder.to_str().expect("a UTF-8 path"))
    }
}

impl WorkerSettings {
    /// The broker's address that the worker is told.
    pub fn broker_url(&self) -> &str {
        let found = self.environment.iter().find(|(name, _)| name == "NIGHTREAD_BROKER_URL");
        found.map_or("", |(_, url)| url)
    }

    /// Every variable that it is told.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// With no more file descriptors than these.
    #[must_use]
    pub fn descriptors(self, most: u32) -> Self {
        self.through(&["prlimit", &format!("--nofile={most}:{most}"), "--"])
    }

    /// Started by another program, which must become what its further arguments say.
    #[must_use]
    pub fn through(mut self, words: &[&str]) -> Self {
        self.through.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// On a disk that only those see who are let in.
    #[must_use]
    pub fn on_disk(mut self, disk: &Disk) -> Self {
        self.enter = disk.enter();
        self
    }

    /// Any command of the binary with these settings, killed by the kernel should the test be.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.enter.clone();
        let mut say = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        // After the namespaces: whoever gets new rights loses what was said of a parent's death.
        say(&["setpriv", "--pdeathsig", "KILL", "--"]);
        say(&self.through.iter().map(String::as_str).collect::<Vec<_>>());
        say(&[binary().to_str().expect("a UTF-8 path")]);
        say(arguments);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.env_remove("RUST_LOG").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(root());
        command
    }
}

/// A running `nightread run`. Dropped, it is killed; the kernel kills it should the test itself be killed.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Worker {
    /// Whether a worker can be run here; said by name when not.
    pub fn is_built(test: &str) -> bool {
        let missing = match (binary().is_file(), runtime()) {
            (false, _) => "the release binary (`make build`)",
            (_, None) => "ONNX Runtime (`make runtime`)",
            _ => return true,
        };
        skipped(test, missing);
        false
    }

    /// Starts it; its log goes to `folder`.
    pub fn start(settings: &WorkerSettings, folder: &Path) -> Self {
        Self::start_as(&["run"], settings, folder)
    }

    /// Starts another command that serves, with its arguments.
    pub fn start_as(words: &[&str], settings: &WorkerSettings, folder: &Path) -> Self {
        let port = free_port();
        let log = folder.join(format!("worker-{port}.log"));
        let output = std::fs::File::options().create(true).append(true).open(&log).expect("a log file");
        let child = settings
            .command(words)
            .env("NIGHTREAD_HTTP_LISTEN", format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output)
            .spawn()
            .expect("the worker starts");
        Self { child, port, log }
    }

    /// SIGKILL, as a power cut.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where its health endpoints are.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGTERM, as a scale-in.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Any signal, by its name.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.is_ok_and(|status| status.success()), "the worker is gone already");
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ended_within(wait::patience()).await
    }

    /// [`Worker::ended`] with its own patience.
    pub async fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        let mut result = None;
        wait::until_within(patience, "the worker to end", || {
            result = child.try_wait().expect("a child");
            std::future::ready(result)
        })
        .await
    }

    /// Waits for `/ready`; panics when the worker ends instead.
    pub async fn ready(&self) {
        let what = format!("the worker to be ready; its log is {}", self.log.display());
        wait::until(&what, || async {
            assert!(!self.is_gone(), "the worker ended before it was ready: {}", self.log());
            self.get("/ready").await.filter(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await;
    }

    /// What it waits for while it is not ready; `None` when it is ready, or does not answer.
    pub async fn waiting_for(&self) -> Option<String> {
        let answer = self.get("/ready").await?;
        if !answer.starts_with("HTTP/1.1 503") {
            return None;
        }
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).expect("JSON");
        assert_eq!(body["ready"], false);
        Some(body["waiting_for"].as_str().expect("a reason").to_owned())
    }

    /// Waits until it says that it waits for this, and gives all that it says.
    pub async fn says(&self, reason: &str) -> String {
        wait::until(&format!("/ready to say {reason}"), || async {
            self.waiting_for().await.filter(|waiting| waiting.contains(reason))
        })
        .await
    }

    /// Whether the process has ended; it stays a zombie until we ask for its status.
    pub fn is_gone(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    }

    /// `GET path` of its health server: status line, headers and body.
    pub async fn get(&self, path: &str) -> Option<String> {
        crate::server::get(&format!("http://127.0.0.1:{}{path}", self.port)).await
    }

    /// The sum of a metric over those of its rows that hold `label` (`outcome="read"`); all rows for "". A worker that has ended
    /// has none.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        // A worker that is only slow to answer has not got nothing.
        let text = wait::until("metrics, or the worker's end", || async {
            let text = self.get("/metrics").await;
            if self.is_gone() { Some(text.unwrap_or_default()) } else { text }
        })
        .await;
        let values = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']));
            rest.is_some_and(|rest| rest.contains(label))
        });
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Resident memory now and at its highest, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let bytes = |field: &str| memory_of(self.child.id(), field).unwrap_or(0);
        (bytes("VmRSS:"), bytes("VmHWM:"))
    }

    /// Processor seconds spent so far.
    pub fn processor_seconds(&self) -> f64 {
        processor_seconds(self.child.id())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(15).collect();
            eprintln!("the last of {}:", self.log.display());
            for line in tail.iter().rev() {
                eprintln!("  {line}");
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process, from /proc (100 ticks a second on every Linux).
pub fn processor_seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<_> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// The most memory that a process takes until it ends, in bytes.
pub fn peak_memory(process: u32) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut peak = 0;
        // A process that has ended has no memory, and its line is gone.
        while let Some(now) = memory_of(process, "VmHWM:") {
            peak = now;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        peak
    })
}

fn memory_of(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// `NIGHTREAD_TEST_BINARY`, or the one beside these tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("NIGHTREAD_TEST_BINARY") {
        return path.into();
    }
    let this = std::env::current_exe().expect("a path");
    let mut folder = this.parent();
    while let Some(path) = folder {
        let candidate = path.join("nightread");
        if candidate.is_file() {
            return candidate;
        }
        folder = path.parent().filter(|path| path.file_name().is_some_and(|name| name != "target"));
    }
    root().join("target/release/nightread")
}

/// ONNX Runtime's library where `make runtime` puts it, or where the environment says.
pub fn runtime() -> Option<PathBuf> {
    let named = std::env::var_os("NIGHTREAD_MODELS_RUNTIME").map(PathBuf::from);
    let entries =
        |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let begins = |path: &Path, with: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(with))
    };
    let folders = match named {
        Some(path) if path.is_dir() => vec![path],
        Some(library) => return Some(library),
        None => entries(&root().join(".cache/onnxruntime")).filter(|path| begins(path, "cpu-")).collect(),
    };
    folders.iter().flat_map(|folder| entries(folder)).find(|path| begins(path, "libonnxruntime.so"))
}
