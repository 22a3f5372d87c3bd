//! Debian's Prometheus: its checker, and a private server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::parts::{Part, free_port, root, skipped};
use crate::wait;

/// The alerts that we ship.
pub fn rules() -> PathBuf {
    root().join("infra/prometheus/nightread.rules.yml")
}

/// Whether Prometheus is installed; said by name when not.
pub fn is_there(test: &str) -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        skipped(test, "Prometheus (promtool)");
    }
    found
}

/// Runs `promtool`; its output when it finds fault.
pub fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Result<String, String> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // A checker that ends early reads no more.
    let _ = writer.join().expect("the writer ends");
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// A server that scrapes some ports each second and judges by our alerts. Dropped, it is stopped.
#[derive(Debug)]
pub struct Prometheus {
    _part: Part,
    _folder: TempDir,
    port: u16,
}

impl Prometheus {
    pub fn start(targets: &[u16]) -> Self {
        let port = free_port();
        let folder = tempfile::Builder::new().prefix("nightread-prometheus-").tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("a UTF-8 path").to_owned();
        let targets: Vec<_> = targets.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - {{job_name: nightread, static_configs: [{{targets: [{}]}}]}}\n",
            rules().display(),
            targets.join(", ")
        );
        std::fs::write(path("prometheus.yml"), configuration).expect("a configuration");
        let command = [
            "prometheus",
            &format!("--config.file={}", path("prometheus.yml")),
            &format!("--storage.tsdb.path={}", path("data")),
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let part = Part::start("prometheus", &command, &[], folder.path());
        Self { _part: part, _folder: folder, port }
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        let answer = crate::server::get(&format!("http://127.0.0.1:{}{path}", self.port)).await?;
        // The body may come in a chunk.
        serde_json::from_str(answer.get(answer.find('{')?..=answer.rfind('}')?)?).ok()
    }

    /// Waits until an expression without characters that a URL must encode has so many samples.
    pub async fn has(&self, expression: &str, samples: usize) {
        wait::until(&format!("{expression} to have {samples} samples"), || async {
            let found = self.ask(&format!("/api/v1/query?query={expression}")).await?;
            (found["data"]["result"].as_array()?.len() >= samples).then_some(())
        })
        .await;
    }

    /// The alerts that fire now, with their labels.
    pub async fn firing(&self) -> Vec<Value> {
        let found = self.ask("/api/v1/alerts").await.unwrap_or_default();
        let alerts = found["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts
            .into_iter()
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| alert["labels"].clone())
            .collect()
    }
}
