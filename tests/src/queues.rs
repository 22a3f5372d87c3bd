//! A private Azurite queue service, and `nightread relay` as a process.

use std::process::{Child, Output, Stdio};

use nightread::adapters::queue::storage_queue::StorageQueue;
use nightread::adapters::storage::azure::Account;
use tempfile::TempDir;

use crate::azurite;
use crate::parts::{Part, free_port, fresh_name, skipped};
use crate::wait;
use crate::worker::WorkerSettings;

/// Azurite's queue service; one for a test binary.
#[derive(Debug)]
pub struct Queues {
    _part: Part,
    _folder: TempDir,
    port: u16,
}

/// One test's queue and its poison queue.
#[derive(Debug)]
pub struct Queue {
    pub main: StorageQueue,
    pub poison: StorageQueue,
    pub name: String,
    pub connection_string: String,
}

impl Queues {
    /// `None` (said by name) when there is nothing to start.
    pub async fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: tokio::sync::OnceCell<Option<Queues>> = tokio::sync::OnceCell::const_new();
        let shared = SHARED.get_or_init(Self::start).await.as_ref();
        if shared.is_none() {
            skipped(test, "Azurite");
        }
        shared
    }

    async fn start() -> Option<Self> {
        let program = azurite::program()?.parent()?.parent()?.join("queue/main.js");
        let port = free_port();
        let folder =
            tempfile::Builder::new().prefix("nightread-queues-").tempdir().expect("a temporary folder");
        let location = folder.path().join("data");
        let command = [
            "node",
            program.to_str().expect("a UTF-8 path"),
            "--queueHost",
            "127.0.0.1",
            "--queuePort",
            &port.to_string(),
            "--location",
            location.to_str().expect("a UTF-8 path"),
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
        ];
        let part = Part::start("azurite-queue", &command, &[], folder.path());
        wait::until("Azurite's queues to listen", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Some(Self { _part: part, _folder: folder, port })
    }

    /// A queue that no other test has, with its poison queue.
    pub async fn fresh(&self) -> Queue {
        let name = fresh_name("blob-created");
        let connection_string = azurite::queue_connection_string(self.port);
        let account = Account::queue_connection_string(&connection_string).expect("sound");
        let (main, poison) = StorageQueue::with_poison(account, Some(&name)).expect("a queue");
        main.create().await.expect("created");
        poison.create().await.expect("created");
        Queue { main, poison, name, connection_string }
    }
}

impl Queue {
    /// Settings of a relay from this queue.
    pub fn settings(&self, broker_url: &str) -> WorkerSettings {
        WorkerSettings::new(broker_url)
            .with("NIGHTREAD_RELAY_CONNECTION_STRING", &self.connection_string)
            .with("NIGHTREAD_RELAY_QUEUE", &self.name)
            .with("NIGHTREAD_RELAY_HIDDEN_SECONDS", "10")
    }

    pub async fn is_empty(&self) -> bool {
        self.main.depth().await.expect("a depth") == 0
    }
}

/// Runs `nightread relay --once --format json` to its end.
pub fn relay_once(settings: &WorkerSettings) -> Output {
    let mut command = settings.command(&["relay", "--once", "--format", "json"]);
    command.stdin(Stdio::null()).output().expect("the command runs")
}

/// Starts `nightread relay` beside the test.
pub fn relay(settings: &WorkerSettings) -> Child {
    serve(settings, "relay")
}

/// Starts a command that serves, with its health endpoints on a port of its own.
pub fn serve(settings: &WorkerSettings, command: &str) -> Child {
    let port = free_port();
    let settings = settings.clone().with("NIGHTREAD_HTTP_LISTEN", &format!("127.0.0.1:{port}"));
    let mut command = settings.command(&[command, "--format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")
}
