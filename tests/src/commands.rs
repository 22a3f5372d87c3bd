//! The commands that the documents print, taken from the Markdown itself, and a place to run them in.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use tempfile::TempDir;

use crate::parts::{free_port, root};
use crate::rabbit::Observer;
use crate::server::get;
use crate::wait;
use crate::worker::{WorkerSettings, binary};

/// What stands in a block, as its first line, when no test can run it. Readers see it too.
const UNTRIED: &str = "# Not run by the tests: ";

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The document and the line, for messages.
    pub place: String,
    /// Why no test runs it.
    pub untried: Option<String>,
    /// Without comments behind them.
    pub lines: Vec<String>,
}

/// Every block of this language in a document of the checkout.
pub fn blocks(document: &str, language: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join(document)).expect("the document");
    let (mut found, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    let mut other = false;
    // A block within a list is indented.
    for (number, line) in text.lines().map(str::trim_start).enumerate() {
        if let Some(fence) = line.strip_prefix("```") {
            match open.take() {
                Some(block) => found.push(block),
                None if other => other = false,
                None if fence == language => {
                    let place = format!("{document}:{}", number + 2);
                    open = Some(Block { place, untried: None, lines: Vec::new() });
                }
                None => other = true,
            }
        } else if let Some(block) = &mut open {
            if let Some(reason) = line.strip_prefix(UNTRIED) {
                block.untried = Some(reason.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                block.lines.push(line.to_owned());
            }
        }
    }
    assert!(open.is_none() && !other, "{document} closes its blocks");
    found
}

/// The pages of a folder of the documentation, in the order of their names.
pub fn pages(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let pages = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    let mut names: Vec<_> =
        pages.map(|page| format!("{folder}/{}", page.file_name().expect("a name").display())).collect();
    names.sort();
    names
}

/// A line of shell without the comment behind it.
pub fn command(line: &str) -> &str {
    line.split(" #").next().unwrap_or(line).trim()
}

/// A home, and a folder that looks like a checkout after `make demo`.
#[derive(Debug)]
pub struct Workplace {
    folder: TempDir,
    settings: WorkerSettings,
    /// The address of an archive with DICOMweb.
    archive: String,
}

impl Workplace {
    /// Its commands are told these settings, which go over what files say.
    pub fn new(settings: WorkerSettings) -> Self {
        let folder = tempfile::Builder::new().prefix("nightread-documents-").tempdir().expect("a folder");
        let place = Self { folder, settings, archive: String::new() };
        for path in ["home", "bin", "lib", "etc", "data", "work/target/release"] {
            std::fs::create_dir_all(place.at(path)).expect("a folder");
        }
        let (models, cache) = (root().join("models"), root().join(".cache"));
        let links = [
            ("bin/nightread", binary()),
            ("work/target/release/nightread", binary()),
            ("work/models", models),
            ("work/.cache", cache),
        ];
        for (path, target) in links {
            std::os::unix::fs::symlink(target, place.at(path)).expect("a link");
        }
        place
    }

    /// With an archive in the place of the one that documents name.
    #[must_use]
    pub fn with_archive(self, archive: String) -> Self {
        Self { archive, ..self }
    }

    /// `work` is where commands run; `etc`, `lib` and `data` stand for the system's folders.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn settings(&self) -> &WorkerSettings {
        &self.settings
    }

    /// Runs a block line by line, each after what the lines before it exported, but for what `leaves_out`; `letter` is the id of a dead letter. What serves is waited for, stopped, and has
    /// to end well.
    pub async fn run(&self, block: &Block, letter: &str, leaves_out: impl Fn(&str) -> bool) {
        let mut exported = String::new();
        for line in block.lines.iter().map(|line| command(line)).filter(|line| !leaves_out(line)) {
            let what = format!("{}: {line}", block.place);
            eprintln!("{what}");
            let port = free_port();
            let here = self.here(line, port, letter);
            let shell = self.shell(&format!("{exported}{here}"), port);
            if line.starts_with("export ") {
                exported = format!("{exported}{here}\n");
            }
            if serves(line) {
                self.serve(&what, shell, port, line.contains("nightread run ")).await;
            } else {
                success(&what, &output(shell).await);
            }
        }
    }

    /// Nothing that a command did may be left in the home, but for optimised graphs where caches lie.
    pub fn has_clean_home(&self) -> bool {
        let only = |folder: &str, allowed: &str| {
            let entries = std::fs::read_dir(self.at(folder)).into_iter().flatten().flatten();
            entries.into_iter().all(|entry| entry.file_name() == allowed)
        };
        only("home", ".cache") && only("home/.cache", "nightread")
    }

    /// A line as this machine can run it: its own folders, ports and names in the place of those that are printed.
    fn here(&self, line: &str, port: u16, letter: &str) -> String {
        let at = |path: &str| self.at(path).display().to_string();
        line.replace("/etc/nightread", &at("etc"))
            .replace("/var/lib/nightread", &at("lib"))
            .replace("/data", &at("data"))
            .replace("https://pacs.example/dicom-web", &self.archive)
            .replace("127.0.0.1:9419", &format!("127.0.0.1:{port}"))
            .replace("--model NAME", "--model cxr-pneumonia-demo")
            .replace("3f9c0a417d52", letter)
    }

    fn shell(&self, line: &str, port: u16) -> Command {
        let mut shell = Command::new("setpriv");
        // The last command of a shell takes its place, and with it the signal.
        shell.args(["--pdeathsig", "KILL", "--", "bash", "-euo", "pipefail", "-c", line]);
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env_clear().env("PATH", format!("{}:{path}", self.at("bin").display()));
        shell.env("HOME", self.at("home")).current_dir(self.at("work"));
        shell.envs(self.settings.environment()).env("NIGHTREAD_HTTP_LISTEN", format!("127.0.0.1:{port}"));
        shell.env("NIGHTREAD_WEBHOOK_LISTEN", "127.0.0.1:0").env("ORT_DISABLE_TELEMETRY", "1");
        shell.stdin(Stdio::null());
        shell
    }

    async fn serve(&self, what: &str, mut command: Command, port: u16, takes_work: bool) {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let process = child.id().to_string();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ends"));
        let (url, gone) = (format!("http://127.0.0.1:{port}/ready"), &output);
        wait::until(&format!("{what} to be ready"), || async {
            let ready = get(&url).await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
            (ready || gone.is_finished()).then_some(())
        })
        .await;
        if takes_work && !output.is_finished() {
            // What it has in flight is finished after the signal.
            let observer = Observer::connect(self.settings.broker_url()).await;
            for lane in Lane::ALL {
                observer.wait_for_depth(&topology::lane_queue(lane), 0).await;
            }
        }
        // One that ended by itself is told by its status.
        let _ = Command::new("kill").args(["-TERM", &process]).stderr(Stdio::null()).status();
        success(what, &output.await.expect("it ends"));
    }
}

fn serves(line: &str) -> bool {
    let served = [
        "nightread run ",
        "nightread relay ",
        "nightread webhook ",
        "nightread deliver ",
        "nightread backlog --every",
    ];
    served.iter().any(|start| line.contains(start))
}

/// Everything that a command printed until its end.
pub async fn output(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
    run.await.expect("it ends")
}

/// An output whose status is 0; panics with all of it otherwise.
pub fn success<'a>(what: &str, output: &'a Output) -> &'a Output {
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
