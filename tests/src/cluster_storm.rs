//! Three brokers in a storm: leaders killed, nodes cut off, two of three lost, restarts in turn, alarms, while workers are
//! killed too; and the account of every message at the end.

use std::time::{Duration, Instant};

use futures::StreamExt;
use nightread::adapters::amqp::topology;
use nightread_domain::Lane;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;

use crate::account::{Account, Announced, SIDE, Work};
use crate::azurite::Azurite;
use crate::bench::Bench;
use crate::cluster::{Cluster, Minority, NODES};
use crate::parts::{Ending, skipped};
use crate::worker::Worker;

/// What befalls the brokers.
#[derive(Clone, Copy, Debug)]
pub enum Weather {
    /// The node that leads the bulk lane is killed (SIGKILL), and started again after a while.
    LeaderKilled(Duration),
    /// One node reaches nobody and nobody reaches it, not even its clients.
    Isolated(Duration),
    /// One node reaches no other node; its clients still reach it.
    CutOff(Duration),
    /// Two nodes are killed (SIGKILL), among them the leader: nothing can be confirmed meanwhile.
    TwoLost(Duration),
    /// Every node in turn is drained, ended and started, as for an upgrade.
    RollingRestart,
    /// A node is short of memory: nobody can publish.
    MemoryAlarm(Duration),
    /// A node is short of disk.
    DiskAlarm(Duration),
}

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Distinct blobs; each is announced twice.
    pub blobs: usize,
    pub workers: usize,
    pub kills: usize,
    /// The longest between two kills.
    pub longest_life: Duration,
    /// Seconds; what is cut off is noticed after two of them.
    pub heartbeat: u16,
    pub weather: Vec<Weather>,
    pub patience: Duration,
}

/// Runs the plan on parts of its own; `None` (said by name) when one is missing.
pub async fn run(test: &str, plan: Plan) -> Option<Account> {
    if !Worker::is_built(test) {
        return None;
    }
    let Some(azurite) = Azurite::start().await else {
        skipped(test, "Azurite");
        return None;
    };
    let cluster = Cluster::start(test, Minority::Pauses).await?;
    let bench = Bench::with(test, cluster.declared(plan.heartbeat).await, &azurite).await;
    let chance = StdRng::seed_from_u64(plan.seed);
    Some(Storm { plan, bench, cluster, chance }.run().await)
}

struct Storm {
    plan: Plan,
    bench: Bench,
    cluster: Cluster,
    chance: StdRng,
}

impl Storm {
    async fn run(mut self) -> Account {
        let started = Instant::now();
        let work = Work::upload(&self.bench, self.plan.blobs, SIDE, &mut self.chance).await;
        let mut account = Account::of(&work);
        let workers = (0..self.plan.workers).map(|_| self.bench.start()).collect();
        let workers = Mutex::new(workers);
        let portion = work.messages.len().div_ceil(self.plan.weather.len());
        let Self { plan, bench, cluster, chance } = &mut self;
        let weather = async {
            let mut told = Vec::new();
            for (event, portion) in plan.weather.iter().zip(work.messages.chunks(portion)) {
                let began = Instant::now();
                let ((), what) = tokio::join!(publish(bench, plan, portion), befall(cluster, *event));
                told.push(format!("{what}; {} s in all", began.elapsed().as_secs()));
            }
            told
        };
        let (told, kills) = tokio::join!(weather, kill(plan, bench, chance, &workers));
        (account.weather, account.kills) = (told, kills);
        account.calm(bench, &bench.settings(), workers.into_inner(), plan.patience).await;
        account.close(bench, &work).await;
        account.elapsed = started.elapsed();
        account
    }
}

async fn publish(bench: &Bench, plan: &Plan, portion: &[Announced]) {
    futures::stream::iter(portion)
        .for_each_concurrent(16, |(lane, id, body)| {
            bench.publish_within(plan.patience, *lane, id, body.clone())
        })
        .await;
}

/// Kills workers while the weather lasts, and until as many are killed as the plan says.
async fn kill(plan: &Plan, bench: &Bench, chance: &mut StdRng, workers: &Mutex<Vec<Worker>>) -> usize {
    let longest = plan.longest_life.as_millis() as u64;
    for _ in 0..plan.kills {
        let life = Duration::from_millis(chance.random_range(longest / 10..longest));
        tokio::time::sleep(life).await;
        let mut workers = workers.lock().await;
        let victim = chance.random_range(0..workers.len());
        workers.swap_remove(victim).kill();
        workers.push(bench.start());
    }
    plan.kills
}

/// Lets one thing happen and pass; what it was, in words.
async fn befall(cluster: &mut Cluster, event: Weather) -> String {
    let lane = topology::lane_queue(Lane::Bulk);
    let leader = cluster.leader(0, &lane).await;
    let after = |nodes: usize| (leader + nodes) % NODES;
    match event {
        Weather::LeaderKilled(time) => {
            cluster.pause(leader, Ending::Kill);
            tokio::time::sleep(time).await;
            cluster.resume(leader).await;
            format!("the leader killed (SIGKILL) and back after {} s", time.as_secs())
        }
        Weather::Isolated(time) => {
            cluster.isolate(leader);
            tokio::time::sleep(time).await;
            cluster.rejoin(leader);
            let back = cluster.returns(leader).await;
            format!("the leader cut off from everybody for {} s; {back}", time.as_secs())
        }
        Weather::CutOff(time) => {
            cluster.cut(leader);
            tokio::time::sleep(time).await;
            cluster.mend(leader);
            let back = cluster.returns(leader).await;
            format!("the leader cut off from the other nodes for {} s; {back}", time.as_secs())
        }
        Weather::TwoLost(time) => {
            let lost = [leader, after(1)];
            for node in lost {
                cluster.pause(node, Ending::Kill);
            }
            tokio::time::sleep(time).await;
            for node in lost {
                cluster.begin(node);
            }
            for node in 0..NODES {
                cluster.serves(node).await;
            }
            format!("two of three killed (SIGKILL) and back after {} s", time.as_secs())
        }
        Weather::RollingRestart => {
            for node in (0..NODES).map(after) {
                cluster.control(node, "rabbitmq-upgrade", &["drain"]).await;
                cluster.pause(node, Ending::Term);
                cluster.resume(node).await;
                let again = ["await_online_quorum_plus_one", "-t", "300"];
                cluster.control(node, "rabbitmq-upgrade", &again).await;
            }
            "all three restarted in turn".to_owned()
        }
        Weather::MemoryAlarm(time) => {
            cluster.control(leader, "rabbitmqctl", &["set_vm_memory_high_watermark", "absolute", "1"]).await;
            tokio::time::sleep(time).await;
            cluster
                .control(leader, "rabbitmqctl", &["set_vm_memory_high_watermark", "absolute", "2GB"])
                .await;
            format!("a node short of memory for {} s", time.as_secs())
        }
        Weather::DiskAlarm(time) => {
            cluster.control(leader, "rabbitmqctl", &["set_disk_free_limit", "1000000GB"]).await;
            tokio::time::sleep(time).await;
            cluster.control(leader, "rabbitmqctl", &["set_disk_free_limit", "50MB"]).await;
            format!("a node short of disk for {} s", time.as_secs())
        }
    }
}
