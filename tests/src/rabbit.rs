//! A private RabbitMQ node, and a virtual host of its own for every test.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, message::Delivery};
use nightread::adapters::amqp::{RabbitOptions, topology};
use tempfile::TempDir;

pub use crate::node::Tls;
use crate::node::{VIRTUAL_HOSTS, configure, node_environment};
use crate::parts::{Ending, Part, free_port, root, skipped};
use crate::wait;

/// Where Debian's packages put the programs.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// Lines of a node's log that a test that failed shows.
const LAST_WORDS: usize = 40;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which RabbitMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The one that is installed on this machine: 3.10 where that is Debian 12.
    Installed,
    /// The one that `tests/setup-rabbitmq-4` unpacked.
    Four,
}

impl Release {
    /// What `NIGHTREAD_TEST_RABBITMQ` asks for: `4`, or nothing.
    pub fn asked_for() -> Self {
        match std::env::var("NIGHTREAD_TEST_RABBITMQ").as_deref() {
            Ok("4") => Self::Four,
            _ => Self::Installed,
        }
    }

    pub fn is_there(self) -> bool {
        match self {
            Self::Installed => Path::new(PROGRAMS).join("rabbitmq-server").exists(),
            Self::Four => root().join(".cache/rabbitmq-4/complete").exists(),
        }
    }

    /// Says by name that a test did not run. RabbitMQ 4 cannot be had everywhere, and need not be.
    pub fn skipped(self, test: &str) {
        match self {
            Self::Installed => skipped(test, "RabbitMQ"),
            Self::Four => {
                eprintln!("SKIPPED: {test} on RabbitMQ 4: `tests/setup-rabbitmq-4` cannot have it here");
            }
        }
    }

    /// How to run one of its programs with `folder` at hand.
    pub(crate) fn command(self, folder: &Path, program: &str) -> Vec<String> {
        let program = format!("{PROGRAMS}/{program}");
        match self {
            Self::Installed => vec![program],
            Self::Four => {
                let enter = root().join("tests/in-rabbitmq-4").display().to_string();
                vec![enter, folder.display().to_string(), program]
            }
        }
    }
}

/// A broker for tests: ours, or the one that `NIGHTREAD_TEST_AMQP_URL` names, without a virtual host. It must have
/// the virtual hosts t0 to t39, which are emptied.
#[derive(Debug)]
pub struct Rabbit {
    node: Option<Node>,
    given: Option<String>,
    next_host: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    // Dropped in this order: the node before the name server it is registered with.
    server: Option<Part>,
    _names: Part,
    folder: TempDir,
    release: Release,
    port: u16,
    tls_port: Option<u16>,
    /// Plain and TLS.
    management_ports: Option<(u16, u16)>,
    environment: Vec<(&'static str, String)>,
}

impl Rabbit {
    /// One for this test binary; `None` (said by name) when there is nothing to start.
    pub async fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: tokio::sync::OnceCell<Option<Rabbit>> = tokio::sync::OnceCell::const_new();
        let shared = SHARED
            .get_or_init(|| async {
                if let Ok(url) = std::env::var("NIGHTREAD_TEST_AMQP_URL") {
                    empty(&url).await;
                    return Some(Self { node: None, given: Some(url), next_host: AtomicUsize::new(0) });
                }
                Self::start(None).await
            })
            .await
            .as_ref();
        if shared.is_none() {
            Release::asked_for().skipped(test);
        }
        shared
    }

    /// One with the management plug-in for this test binary, or the given one when `NIGHTREAD_TEST_MANAGEMENT_URL` (with
    /// user and password) tells where its plug-in is.
    pub async fn managed(test: &str) -> Option<&'static Self> {
        static MANAGED: tokio::sync::OnceCell<Option<Rabbit>> = tokio::sync::OnceCell::const_new();
        if std::env::var_os("NIGHTREAD_TEST_MANAGEMENT_URL").is_some() {
            return Self::shared(test).await;
        }
        let managed = MANAGED.get_or_init(|| Self::start_managed(None)).await.as_ref();
        if managed.is_none() {
            Release::asked_for().skipped(test);
        }
        managed
    }

    /// A node of our own: free ports, own name, own cookie, own name server, all data in a temporary folder.
    pub async fn start(tls: Option<Tls>) -> Option<Self> {
        Self::start_node(Release::asked_for(), tls, None, "").await
    }

    /// One of this release with these lines in its configuration.
    pub async fn start_of(release: Release, configuration: &str) -> Option<Self> {
        Self::start_node(release, None, None, configuration).await
    }

    /// The same with the management plug-in.
    pub async fn start_managed(tls: Option<Tls>) -> Option<Self> {
        Self::start_node(Release::asked_for(), tls, Some((free_port(), free_port())), "").await
    }

    async fn start_node(
        release: Release,
        tls: Option<Tls>,
        management_ports: Option<(u16, u16)>,
        configuration: &str,
    ) -> Option<Self> {
        if !release.is_there() {
            return None;
        }
        let folder =
            tempfile::Builder::new().prefix("nightread-rabbit-").tempdir().expect("a temporary folder");
        let (port, names_port, distribution_port) = (free_port(), free_port(), free_port());
        let tls_port = tls.as_ref().map(|_| free_port());
        configure(folder.path(), port, tls.as_ref().zip(tls_port), management_ports, configuration);
        let mut environment = node_environment(folder.path(), &format!("nightread{port}@localhost"), "");
        environment.extend([
            ("ERL_EPMD_PORT", names_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", distribution_port.to_string()),
        ]);
        let names =
            Part::start("epmd", &["epmd", "-port", &names_port.to_string()], &environment, folder.path());
        // Erlang would start a name server of its own, one that outlives everybody.
        wait::until("epmd to listen", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", names_port)).await.ok()
        })
        .await;
        let mut node = Node {
            server: None,
            _names: names,
            folder,
            release,
            port,
            tls_port,
            management_ports,
            environment,
        };
        node.resume().await;
        Some(Self { node: Some(node), given: None, next_host: AtomicUsize::new(0) })
    }

    /// The address of a virtual host that no other test has.
    pub fn fresh_url(&self) -> String {
        let host = self.next_host.fetch_add(1, Ordering::Relaxed);
        assert!(host < VIRTUAL_HOSTS, "more tests than virtual hosts: raise VIRTUAL_HOSTS");
        format!("{}/t{host}", self.url())
    }

    /// How to reach a virtual host of its own on which everything is declared.
    pub async fn declared(&self) -> RabbitOptions {
        let options = options(&self.fresh_url());
        topology::declare(&options).await.expect("declared");
        options
    }

    /// The address, without a virtual host.
    pub fn url(&self) -> String {
        match (&self.node, &self.given) {
            (Some(node), _) => format!("amqp://guest:guest@127.0.0.1:{}", node.port),
            (None, given) => given.clone().expect("a broker of our own or a given one"),
        }
    }

    /// The address of its TLS listener.
    pub fn tls_url(&self) -> Option<String> {
        let port = self.node.as_ref()?.tls_port?;
        Some(format!("amqps://guest:guest@localhost:{port}/t0"))
    }

    /// The management plug-in's address, with user and password; `None` when the node has none.
    pub fn management_url(&self) -> Option<String> {
        match &self.node {
            Some(node) => Some(format!("http://guest:guest@127.0.0.1:{}", node.management_ports?.0)),
            None => std::env::var("NIGHTREAD_TEST_MANAGEMENT_URL").ok(),
        }
    }

    /// The same over TLS.
    pub fn management_tls_url(&self) -> Option<String> {
        let node = self.node.as_ref()?;
        node.tls_port?;
        Some(format!("https://guest:guest@localhost:{}", node.management_ports?.1))
    }

    /// Which RabbitMQ this is; `None` for a given one.
    pub fn release(&self) -> Option<Release> {
        self.node.as_ref().map(|node| node.release)
    }

    /// The node's process, for its share of the processor.
    pub fn process(&self) -> Option<u32> {
        let folder = self.node.as_ref()?.folder.path();
        std::fs::read_to_string(folder.join("pid")).ok()?.trim().parse().ok()
    }

    /// Runs `rabbitmqctl` on a node of our own.
    pub async fn control(&self, arguments: &[&str]) {
        self.run("rabbitmqctl", arguments).await;
    }

    /// Turns a plug-in on, on a node of our own.
    pub async fn enable(&self, plugin: &str) {
        self.run("rabbitmq-plugins", &["enable", plugin]).await;
    }

    async fn run(&self, program: &str, arguments: &[&str]) {
        let node = self.node.as_ref().expect("only a node of our own is controlled");
        let words = node.release.command(node.folder.path(), program);
        let mut command = tokio::process::Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .envs(node.environment.iter().map(|(name, value)| (*name, value)));
        let output = command.output().await.expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends the node; its data stays.
    pub fn pause(&mut self, how: Ending) {
        if let Some(server) = self.node.as_mut().and_then(|node| node.server.take()) {
            server.end(how);
        }
    }

    /// Starts it again, on the same ports and data.
    pub async fn resume(&mut self) {
        self.node.as_mut().expect("only a node of our own can be started").resume().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What the server's own output does not say stands in its log.
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("logs/node.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the last of RabbitMQ's log:");
            for line in &lines[lines.len().saturating_sub(LAST_WORDS)..] {
                eprintln!("    {line}");
            }
        }
    }
}

impl Node {
    async fn resume(&mut self) {
        let command = self.release.command(self.folder.path(), "rabbitmq-server");
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        self.server = Some(Part::start("rabbitmq", &command, &self.environment, self.folder.path()));
        let url = format!("amqp://guest:guest@127.0.0.1:{}/t0", self.port);
        wait::until("RabbitMQ to let us in", || async { connection(&url).await.ok() }).await;
    }
}

/// A connection, within ten seconds. One to a node that is only just starting may be closed in the middle of its greeting, and
/// the client then waits for ever.
pub async fn connection(url: &str) -> Result<Connection, String> {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(late) => Err(late.to_string()),
    }
}

async fn empty(url: &str) {
    for host in 0..VIRTUAL_HOSTS {
        let url = format!("{url}/t{host}");
        let connection = connection(&url).await;
        let connection =
            connection.unwrap_or_else(|_| panic!("the given broker has no virtual host t{host}"));
        let channel = connection.create_channel().await.expect("a channel");
        for queue in topology::queues().into_iter().chain(["ear".to_owned(), "trap".to_owned()]) {
            let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
            deleted.expect("a queue that is gone");
        }
    }
}

/// Options of a worker at this address.
pub fn options(url: &str) -> RabbitOptions {
    RabbitOptions::new(url)
}

/// A view of the broker from outside the project's own code.
#[derive(Debug)]
pub struct Observer {
    connection: Connection,
    channel: Channel,
}

impl Observer {
    pub async fn connect(url: &str) -> Self {
        let connection = connection(url).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        Self { connection, channel }
    }

    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Messages ready in a queue.
    pub async fn depth(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let found = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        found.expect("the queue is there").message_count()
    }

    pub async fn wait_for_depth(&self, queue: &str, depth: u32) {
        let what = format!("{depth} messages in {queue}");
        wait::until(&what, || async { (self.depth(queue).await == depth).then_some(()) }).await;
    }

    /// Takes everything that is in a queue, until it stays empty for a moment.
    pub async fn drain(&self, queue: &str) -> Vec<Delivery> {
        let channel = self.connection.create_channel().await.expect("a channel");
        channel.basic_qos(1_000, BasicQosOptions::default()).await.expect("a prefetch");
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "drain".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a consumer");
        let mut taken = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_millis(500), consumer.next()).await {
                Ok(delivery) => {
                    let delivery = delivery.expect("a consumer").expect("a delivery");
                    delivery.ack(BasicAckOptions::default()).await.expect("an acknowledgement");
                    taken.push(delivery);
                }
                Err(_) if self.depth(queue).await == 0 => break,
                Err(_) => {}
            }
        }
        channel.close(200, "drained".into()).await.expect("a goodbye");
        taken
    }

    /// Holds everything that is in a queue, until the channel is closed.
    pub async fn look(&self, queue: &str) -> Channel {
        let channel = self.connection.create_channel().await.expect("a channel");
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "look".into(), options, FieldTable::default());
        drop(consumer.await.expect("a consumer"));
        channel
    }

    /// Takes the next message of a queue, waiting for it.
    pub async fn take(&self, queue: &str) -> Delivery {
        let delivery = wait::until(&format!("a message in {queue}"), || async {
            let got = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("a get");
            got.map(|got| got.delivery)
        })
        .await;
        delivery.ack(BasicAckOptions::default()).await.expect("an acknowledgement");
        delivery
    }
}
