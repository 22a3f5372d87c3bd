//! A private Azurite queue service, and `nightread relay` as a process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use azure_core::base64;
use futures::StreamExt;
use nightread::adapters::amqp::topology;
use nightread::adapters::azure::queue::StorageQueue;
use nightread::adapters::storage::azure::Account;
use nightread_domain::Lane;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::azurite;
use crate::parts::{Part, free_port, fresh_name, skipped};
use crate::rabbit::{Observer, Rabbit};
use crate::wait;
use crate::worker::{Worker, WorkerSettings};

/// Azurite's queue service; one for a test binary.
#[derive(Debug)]
pub struct Queues {
    _part: Part,
    _folder: TempDir,
    port: u16,
}

impl Queues {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
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
    serve_at(free_port(), settings, command)
}

/// As [`serve`], with its health endpoints on this port.
pub fn serve_at(port: u16, settings: &WorkerSettings, command: &str) -> Child {
    let settings = settings.clone().with("NIGHTREAD_HTTP_LISTEN", &format!("127.0.0.1:{port}"));
    let mut command = settings.command(&[command, "--format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// The account of a relay that was killed again and again.
#[derive(Clone, Debug, Default)]
pub struct Relayed {
    pub events: usize,
    pub kills: usize,
    /// Messages that reached the broker; more than events are repeats.
    pub messages: usize,
    pub missing: Vec<String>,
    pub invented: Vec<String>,
    pub poison: u64,
}

/// Event Grid's event of a blob.
pub fn event(name: &str) -> Value {
    json!({"specversion": "1.0", "id": name, "source": "/s", "type": "Microsoft.Storage.BlobCreated",
        "data": {"url": format!("https://account.blob.core.windows.net/incoming/{name}")}})
}

/// Puts an event for each name into the queue.
pub async fn fill(queue: &Queue, names: &[String]) {
    futures::stream::iter(names)
        .for_each_concurrent(16, |name| async move {
            queue.main.put(&base64::encode(event(name).to_string())).await.expect("put");
        })
        .await;
}

/// A fresh queue, a relay's settings from it to a declared virtual host, and a view of that host; `None` (said by name)
/// when a part is missing.
pub async fn bench(test: &str) -> Option<(Queue, WorkerSettings, Observer)> {
    let (rabbit, queues) = (Rabbit::shared(test).await?, Queues::shared(test).await?);
    if !Worker::is_built(test) {
        return None;
    }
    let options = rabbit.declared().await;
    let queue = queues.fresh().await;
    let settings = queue.settings(&options.url);
    Some((queue, settings, Observer::connect(&options.url).await))
}

/// Fills a queue with events, kills relays (SIGKILL) at random instants of their work, and lets a last one finish.
/// `None` (said by name) when a part is missing.
pub async fn relay_with_kills(test: &str, events: usize, kills: usize, seed: u64) -> Option<Relayed> {
    let (queue, settings, observer) = bench(test).await?;
    let names: Vec<_> = (0..events).map(|number| format!("{number:06}.png")).collect();
    fill(&queue, &names).await;
    let lane = topology::lane_queue(Lane::Ingest);
    let mut random = StdRng::seed_from_u64(seed);
    let mut account = Relayed { events, ..Relayed::default() };
    while account.kills < kills && !queue.is_empty().await {
        let before = observer.depth(&lane).await;
        let mut child = relay(&settings);
        wait::until("it to relay something, or the end", || async {
            let moved = observer.depth(&lane).await > before;
            (moved || queue.is_empty().await).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..80))).await;
        child.kill().expect("killed");
        child.wait().expect("a child");
        account.kills += 1;
    }
    // What was in flight at a kill is hidden for a while, and comes again.
    let mut last = relay(&settings);
    wait::until("the queue to be empty", || async { queue.is_empty().await.then_some(()) }).await;
    let told = std::process::Command::new("kill").args(["-TERM", &last.id().to_string()]).status();
    assert!(told.expect("a signal").success());
    assert!(last.wait().expect("a child").success(), "SIGTERM ends it well");
    let mut came = BTreeSet::new();
    for delivery in observer.drain(&lane).await {
        let body: Value = serde_json::from_slice(&delivery.data).expect("an event is JSON");
        came.insert(body["id"].as_str().expect("an event has an id").to_owned());
        account.messages += 1;
    }
    let sent: BTreeSet<_> = names.into_iter().collect();
    account.missing = sent.difference(&came).cloned().collect();
    account.invented = came.difference(&sent).cloned().collect();
    account.poison = queue.poison.depth().await.expect("a depth");
    Some(account)
}

/// The long form, printed.
pub async fn storm(events: usize, kills: usize) {
    if let Some(account) = relay_with_kills("soak", events, kills, 1).await {
        println!(
            "relay killed {} times: {} messages for {} events, {} missing, {} invented, {} poison",
            account.kills,
            account.messages,
            account.events,
            account.missing.len(),
            account.invented.len(),
            account.poison
        );
        assert!(account.missing.is_empty() && account.invented.is_empty());
    }
}
