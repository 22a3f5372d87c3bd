//! Three RabbitMQ nodes that are one cluster, each in a network of its own, so that any of them can be cut off.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nightread::adapters::amqp::{RabbitOptions, topology};
use tempfile::TempDir;

use crate::node::{NODE_LIMITS, node_environment};
use crate::parts::{Ending, Part, skipped};
use crate::rabbit::{Release, connection};
use crate::wait;

pub const NODES: usize = 3;

/// Three networks and a bridge between them. They live as long as these processes, so that nothing of them is left however
/// we end. Each has a name server for Erlang, because Erlang would start one that outlives everybody.
const NETWORK: &str = r#"folder=$1 subnet=$2
ip link set lo up
ip link add hub type bridge
ip link set hub up
for n in 1 2 3; do
    unshare --net sh -c "ip link set lo up; echo \$\$ >'$folder/network$n'; exec epmd" &
    until [ -s "$folder/network$n" ]; do sleep 0.05; done
    ip link add node$n type veth peer name eth0 netns "$(cat "$folder/network$n")"
    ip link set node$n master hub up
    nsenter --target "$(cat "$folder/network$n")" --net sh -euc "
        ip address add $subnet.1$n/24 dev eth0
        ip link set eth0 up"
done
echo $$ >"$folder/hub"
wait"#;

/// Nodes are noticed to be gone within this and a quarter more; RabbitMQ's own default is 60.
const NET_TICK_SECONDS: u32 = 8;

/// How long a node that was down may take until it serves: it waits for the others' tables first.
const RETURN_PATIENCE: Duration = Duration::from_mins(5);

/// What a minority does: RabbitMQ's `cluster_partition_handling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minority {
    /// Stops serving, as the project's own brokers do.
    Pauses,
    /// Goes on to accept clients.
    Stays,
}

/// The cluster. Dropped, it is killed and its networks are gone.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: the nodes before the networks they are in.
    servers: [Option<Part>; NODES],
    _networks: Part,
    folder: TempDir,
    release: Release,
    minority: Minority,
    /// The first three numbers of every address.
    subnet: String,
    /// Process ids whose networks are the nodes' and the bridge's.
    networks: [u32; NODES],
    hub: u32,
}

impl Cluster {
    /// `None` (said by name) where there is no such RabbitMQ, or no right to make networks.
    pub async fn start(test: &str, minority: Minority) -> Option<Self> {
        let release = Release::asked_for();
        if !release.is_there() {
            release.skipped(test);
            return None;
        }
        if !may_make_networks() {
            skipped(test, "the right to make networks (root, iproute2)");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nightread-cluster-").tempdir().expect("a folder");
        let subnet = free_subnet();
        let text = folder.path().to_str().expect("a UTF-8 path");
        let command = ["unshare", "--net", "sh", "-euc", NETWORK, "networks", text, &subnet];
        let part = Part::start("networks", &command, &[], folder.path());
        let hub = number_in(&folder.path().join("hub")).await;
        let mut networks = [0; NODES];
        for (index, network) in networks.iter_mut().enumerate() {
            *network = number_in(&folder.path().join(format!("network{}", index + 1))).await;
        }
        // Our end goes with the bridge's.
        let ours = our_end(&subnet);
        ip(&["link", "add", &ours, "type", "veth", "peer", "name", "outside", "netns", &hub.to_string()]);
        ip(&["address", "add", &format!("{subnet}.1/24"), "dev", &ours]);
        ip(&["link", "set", &ours, "up"]);
        inside(hub, &["link", "set", "outside", "master", "hub", "up"]);
        let mut cluster = Self {
            servers: [const { None }; NODES],
            _networks: part,
            folder,
            release,
            minority,
            subnet,
            networks,
            hub,
        };
        // The others ask the first to take them in.
        cluster.resume(0).await;
        cluster.begin(1);
        cluster.begin(2);
        cluster.serves(1).await;
        cluster.serves(2).await;
        Some(cluster)
    }

    fn host(&self, node: usize) -> String {
        format!("{}.1{}", self.subnet, node + 1)
    }

    fn name(&self, node: usize) -> String {
        format!("nightread@{}", self.host(node))
    }

    /// The address of one node; clients of it notice after two `heartbeat` seconds that it is gone.
    pub fn url(&self, node: usize, heartbeat: u16) -> String {
        format!("amqp://guest:guest@{}:5672/%2f?heartbeat={heartbeat}", self.host(node))
    }

    /// Hosts of all nodes, as a worker is told them.
    pub fn hosts(&self) -> Vec<String> {
        (0..NODES).map(|node| self.host(node)).collect()
    }

    /// How to reach any of them.
    pub fn options(&self, heartbeat: u16) -> RabbitOptions {
        let more_hosts = self.hosts().split_off(1);
        RabbitOptions { more_hosts, ..RabbitOptions::new(self.url(0, heartbeat)) }
    }

    /// The same, with everything declared, and a copy of each queue on every node.
    pub async fn declared(&self, heartbeat: u16) -> RabbitOptions {
        let options = self.options(heartbeat);
        topology::declare(&options).await.expect("declared");
        options
    }

    fn folder(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node{}", node + 1))
    }

    fn environment(&self, node: usize) -> Vec<(&'static str, String)> {
        let tick = format!("-kernel net_ticktime {NET_TICK_SECONDS}");
        let mut environment = node_environment(&self.folder(node), &self.name(node), &tick);
        environment.push(("RABBITMQ_USE_LONGNAME", "true".to_owned()));
        environment
    }

    fn configure(&self, node: usize) {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.folder(node);
        std::fs::create_dir_all(&folder).expect("a folder");
        let handling = match self.minority {
            Minority::Pauses => "pause_minority",
            Minority::Stays => "ignore",
        };
        let mut conf = format!(
            "listeners.tcp.1 = 0.0.0.0:5672\n\
             loopback_users = none\n\
             cluster_partition_handling = {handling}\n\
             {NODE_LIMITS}"
        );
        if node > 0 {
            let more = format!(
                "cluster_formation.peer_discovery_backend = classic_config\n\
                 cluster_formation.classic_config.nodes.1 = {}\n\
                 cluster_formation.classic_config.nodes.2 = {}\n",
                self.name(0),
                self.name(node)
            );
            conf.push_str(&more);
        }
        std::fs::write(folder.join("rabbitmq.conf"), conf).expect("a configuration");
        std::fs::write(folder.join("enabled_plugins"), "[].\n").expect("a plugin list");
        let cookie = folder.join(".erlang.cookie");
        std::fs::write(&cookie, "nightread").expect("a cookie");
        std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400)).expect("a secret cookie");
    }

    /// How to run one of RabbitMQ's programs where a node is.
    fn command(&self, node: usize, program: &str) -> Vec<String> {
        let enter = ["nsenter", "--target", &self.networks[node].to_string(), "--net"].map(str::to_owned);
        enter.into_iter().chain(self.release.command(self.folder.path(), program)).collect()
    }

    /// Starts a node and waits for nothing.
    pub fn begin(&mut self, node: usize) {
        if !self.folder(node).exists() {
            self.configure(node);
        }
        let command = self.command(node, "rabbitmq-server");
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let name = format!("rabbitmq{}", node + 1);
        self.servers[node] = Some(Part::start(&name, &command, &self.environment(node), self.folder.path()));
    }

    /// Waits until a node lets clients in.
    pub async fn serves(&self, node: usize) {
        let url = self.url(node, 20);
        wait::until_within(RETURN_PATIENCE, &format!("node {} to let us in", node + 1), || async {
            connection(&url).await.ok()
        })
        .await;
    }

    /// Waits until a node that was cut off lets clients in; restarts it, as an operator would, when it does not by itself:
    /// Erlang's name service may hang when a partition ends (seen on 3.10 with Erlang 25). What was done, in words.
    pub async fn returns(&mut self, node: usize) -> &'static str {
        let url = self.url(node, 20);
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if connection(&url).await.is_ok() {
                return "it came back by itself";
            }
        }
        self.pause(node, Ending::Kill);
        self.resume(node).await;
        "it did not come back by itself and was restarted"
    }

    /// Starts a node again, on its data.
    pub async fn resume(&mut self, node: usize) {
        self.begin(node);
        self.serves(node).await;
    }

    /// Ends a node; its data stays.
    pub fn pause(&mut self, node: usize, how: Ending) {
        if let Some(server) = self.servers[node].take() {
            server.end(how);
        }
    }

    /// Runs one of RabbitMQ's commands at a node, and gives what it prints.
    pub async fn control(&self, node: usize, program: &str, arguments: &[&str]) -> String {
        let words = self.command(node, program);
        let mut command = tokio::process::Command::new(&words[0]);
        command.args(&words[1..]).args(arguments).envs(self.environment(node));
        let output = command.output().await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}{error}");
        said
    }

    /// The node that leads a queue, as a sound node sees it.
    pub async fn leader(&self, asked: usize, queue: &str) -> usize {
        let told = self.control(asked, "rabbitmqctl", &["-q", "list_queues", "name", "leader"]).await;
        let leads = |node: &usize| {
            let wanted = format!("{queue}\t{}", self.name(*node));
            told.lines().any(|line| line.trim() == wanted)
        };
        (0..NODES).find(leads).unwrap_or_else(|| panic!("nobody leads {queue}: {told}"))
    }

    /// Cuts a node off from the others and from its clients. Nobody is told: packets vanish.
    pub fn isolate(&self, node: usize) {
        inside(self.hub, &["link", "set", &format!("node{}", node + 1), "down"]);
    }

    /// Ends [`Self::isolate`].
    pub fn rejoin(&self, node: usize) {
        inside(self.hub, &["link", "set", &format!("node{}", node + 1), "up"]);
    }

    /// Cuts a node off from the other nodes, while its clients still reach it.
    pub fn cut(&self, node: usize) {
        self.route("add", node);
    }

    /// Ends [`Self::cut`].
    pub fn mend(&self, node: usize) {
        self.route("delete", node);
    }

    fn route(&self, what: &str, node: usize) {
        for other in (0..NODES).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                inside(self.networks[from], &["route", what, "blackhole", &format!("{}/32", self.host(to))]);
            }
        }
    }
}

/// One of the networks that are for such tests alone (RFC 2544), which no other test here has.
fn free_subnet() -> String {
    loop {
        let subnet = format!("198.18.{}", rand::random_range(1..255));
        if !Path::new("/sys/class/net").join(our_end(&subnet)).exists() {
            return subnet;
        }
    }
}

fn our_end(subnet: &str) -> String {
    format!("nr{}", subnet.replace('.', ""))
}

fn may_make_networks() -> bool {
    // Tried, not asked: a container's root often may not.
    let words = ["--net", "sh", "-c", "ip link set lo up && ip link add hub type bridge"];
    Command::new("unshare").args(words).output().is_ok_and(|output| output.status.success())
}

/// What a process wrote into a file, once it has.
async fn number_in(file: &Path) -> u32 {
    wait::until(&format!("{}", file.display()), || async {
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    })
    .await
}

fn ip(arguments: &[&str]) {
    said(Command::new("ip").args(arguments), arguments);
}

/// `ip` in the network of a process.
fn inside(process: u32, arguments: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &process.to_string(), "--net", "ip"]).args(arguments);
    said(&mut command, arguments);
}

fn said(command: &mut Command, arguments: &[&str]) {
    let output = command.output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
