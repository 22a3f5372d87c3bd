//! Many announcements through workers that are killed, a broker that is stopped, and a storage that fails; and the
//! account of every message at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::account::{Account, Announced, SIDE, Work};
use crate::bench::Bench;
use crate::parts::Ending;
use crate::proxy::Faults;
use crate::rabbit::Rabbit;
use crate::worker::Worker;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Distinct blobs; each is announced twice.
    pub blobs: usize,
    pub workers: usize,
    pub kills: usize,
    pub broker_restarts: usize,
    /// Share of storage requests that meet a fault.
    pub faults: f64,
    /// The longest a worker lives between two kills.
    pub longest_life: Duration,
    /// How long the queues may take to empty once the chaos is over.
    pub patience: Duration,
}

/// Runs the plan on parts of its own; `None` (said by name) when one is missing.
pub async fn run(test: &str, plan: Plan) -> Option<Account> {
    let (rabbit, _azurite, bench) = Bench::alone(test).await?;
    Some(Chaos { plan, bench, rabbit, chance: StdRng::seed_from_u64(plan.seed) }.run().await)
}

struct Chaos {
    plan: Plan,
    bench: Bench,
    rabbit: Rabbit,
    chance: StdRng,
}

impl Chaos {
    async fn run(mut self) -> Account {
        let started = Instant::now();
        let work = Work::upload(&self.bench, self.plan.blobs, SIDE, &mut self.chance).await;
        let mut account = Account::of(&work);
        self.bench.proxy.set_faults(Faults::mixed(self.plan.faults));
        let workers = self.storm(&work.messages, &mut account).await;
        self.bench.proxy.set_faults(Faults::default());
        account.calm(&self.bench, &self.bench.settings(), workers, self.plan.patience).await;
        account.close(&self.bench, &work).await;
        account.elapsed = started.elapsed();
        account
    }

    /// Announces in portions, and between them kills workers and stops the broker.
    async fn storm(&mut self, messages: &[Announced], account: &mut Account) -> Vec<Worker> {
        let mut workers: Vec<_> = (0..self.plan.workers).map(|_| self.bench.start()).collect();
        let portion = messages.len().div_ceil(self.plan.kills + 1);
        let restarts: BTreeSet<_> = (1..=self.plan.broker_restarts)
            .map(|n| n * self.plan.kills / (self.plan.broker_restarts + 1))
            .collect();
        for (round, portion) in messages.chunks(portion).enumerate() {
            let publishing = futures::stream::iter(portion)
                .for_each_concurrent(16, |(lane, id, body)| self.bench.publish(*lane, id, body.clone()));
            publishing.await;
            if account.kills < self.plan.kills {
                let longest = self.plan.longest_life.as_millis() as u64;
                let life = Duration::from_millis(self.chance.random_range(longest / 10..longest));
                tokio::time::sleep(life).await;
                let victim = self.chance.random_range(0..workers.len());
                workers.swap_remove(victim).kill();
                workers.push(self.bench.start());
                account.kills += 1;
            }
            if restarts.contains(&round) && account.broker_restarts < self.plan.broker_restarts {
                let how = if round % 2 == 0 { Ending::Kill } else { Ending::Term };
                self.rabbit.pause(how);
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.rabbit.resume().await;
                account.broker_restarts += 1;
            }
        }
        workers
    }
}
