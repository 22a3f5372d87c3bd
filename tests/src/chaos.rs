//! Many announcements through workers that are killed, a broker that is stopped, and a storage that fails; and the
//! account of every message at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use nightread_domain::{ErrorCode, Lane};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};

use crate::azurite::Azurite;
use crate::bench::Bench;
use crate::parts::{Ending, skipped};
use crate::pictures::{grey, logit, result_name};
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

/// What each announced thing is, and so how it must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Good(u8),
    Undecodable,
    Missing,
}

/// Lane, message id and body.
type Announced = (Lane, String, Bytes);

/// The code with which each garbage message must die, by message id.
type Garbage = BTreeMap<String, ErrorCode>;

/// The account. Sound when [`Account::problems`] is empty.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub announced: usize,
    pub kills: usize,
    pub broker_restarts: usize,
    pub requests: u64,
    pub faulted: u64,
    pub read: usize,
    pub undecodable: usize,
    pub missing: usize,
    pub garbage: usize,
    pub dead_letters: usize,
    /// A dead letter published, and its original not yet acknowledged, when the worker was killed.
    pub dead_twice: usize,
    pub elapsed: Duration,
    pub problems: Vec<String>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("announcements, garbage included", self.announced),
            ("workers killed (SIGKILL)", self.kills),
            ("broker stopped and started", self.broker_restarts),
            ("storage requests", self.requests as usize),
            ("  of them faulted", self.faulted as usize),
            ("good blobs with their one result", self.read),
            ("undecodable blobs with their failed-document", self.undecodable),
            ("missing blobs with their failed-document", self.missing),
            ("garbage messages dead-lettered with their code", self.garbage),
            ("dead letters", self.dead_letters),
            ("  of them told twice", self.dead_twice),
            ("seconds", self.elapsed.as_secs() as usize),
            ("problems", self.problems.len()),
        ];
        for (what, count) in rows {
            writeln!(f, "{count:>8}  {what}")?;
        }
        for problem in &self.problems {
            writeln!(f, "  PROBLEM {problem}")?;
        }
        Ok(())
    }
}

/// Runs the plan on parts of its own; `None` (said by name) when one is missing.
pub async fn run(test: &str, plan: Plan) -> Option<Account> {
    let (Some(rabbit), Some(azurite)) = (Rabbit::start(None).await, Azurite::start().await) else {
        skipped(test, "RabbitMQ or Azurite");
        return None;
    };
    if !Worker::is_built(test) {
        return None;
    }
    let bench = Bench::over(test, &rabbit, &azurite).await;
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
        let kinds = self.upload().await;
        let (mut messages, garbage) = self.messages(&kinds);
        messages.shuffle(&mut self.chance);
        let mut account = Account { announced: messages.len(), ..Account::default() };
        self.bench.proxy.set_faults(Faults::mixed(self.plan.faults));
        self.storm(messages, &mut account).await;
        self.bench.proxy.set_faults(Faults::default());
        self.calm(&mut account).await;
        (account.requests, account.faulted) = self.bench.proxy.counts();
        self.check_results(&kinds, &mut account).await;
        self.check_dead(&garbage, &mut account).await;
        account.elapsed = started.elapsed();
        account
    }

    /// 5 % undecodable, 2 % missing, the rest good.
    async fn upload(&mut self) -> BTreeMap<String, Kind> {
        let mut kinds = BTreeMap::new();
        for number in 0..self.plan.blobs {
            let name = format!("ward {}/{number}.png", number % 7);
            let kind = match number % 100 {
                0..5 => Kind::Undecodable,
                5..7 => Kind::Missing,
                _ => Kind::Good(self.chance.random()),
            };
            match kind {
                Kind::Good(value) => self.bench.upload(&name, grey(value, 64, number)).await,
                Kind::Undecodable => {
                    let mut noise = vec![0; 500];
                    self.chance.fill_bytes(&mut noise);
                    self.bench.upload(&name, noise.into()).await;
                }
                Kind::Missing => {}
            }
            kinds.insert(name, kind);
        }
        kinds
    }

    /// Every blob twice, in two forms and two lanes, and one message of garbage for each hundred.
    fn messages(&mut self, kinds: &BTreeMap<String, Kind>) -> (Vec<Announced>, Garbage) {
        let mut messages = Vec::new();
        for name in kinds.keys() {
            let native = serde_json::json!({"blob": format!("{}/{name}", self.bench.incoming)}).to_string();
            let grid = self.bench.event_grid(&name.replace(' ', "%20"));
            messages.push((Lane::Ingest, format!("native {name}"), native.into()));
            messages.push((Lane::Bulk, format!("grid {name}"), grid.into()));
        }
        let mut garbage = BTreeMap::new();
        for number in 0..self.plan.blobs.div_ceil(100) {
            let (body, code) = match number % 3 {
                0 => ("not JSON at all".to_owned(), ErrorCode::MessageUnparseable),
                1 => (r#"{"blob": "secrets/key"}"#.to_owned(), ErrorCode::SourceNotAllowed),
                _ => (format!(r#"{{"blob": "{}/../x"}}"#, self.bench.incoming), ErrorCode::SourceNotAllowed),
            };
            let id = format!("garbage {number}");
            messages.push((Lane::Ingest, id.clone(), body.into()));
            garbage.insert(id, code);
        }
        (messages, garbage)
    }

    /// Announces in portions, and between them kills workers and stops the broker.
    async fn storm(&mut self, messages: Vec<Announced>, account: &mut Account) {
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
        let references: Vec<_> = workers.iter().collect();
        self.bench.settled(&references, self.plan.patience).await;
        for worker in &mut workers {
            worker.terminate();
            if !worker.ended().await.success() {
                account.problems.push("a worker did not exit with 0".to_owned());
            }
        }
    }

    /// What a drain gave back is finished by one last worker; then nothing may be left anywhere.
    async fn calm(&mut self, account: &mut Account) {
        let mut last = self.bench.start();
        last.ready().await;
        self.bench.settled(&[&last], self.plan.patience).await;
        last.terminate();
        if !last.ended().await.success() {
            account.problems.push("the last worker did not exit with 0".to_owned());
        }
        let left = self.bench.waiting(&self.bench.observer().await).await;
        if left > 0 {
            account.problems.push(format!("{left} messages are left in lanes and delays"));
        }
    }

    async fn check_results(&self, kinds: &BTreeMap<String, Kind>, account: &mut Account) {
        let stored = self.bench.direct.list(&self.bench.results, "").expect("a listing");
        let stored: Vec<_> = stored.collect().await;
        let mut names: BTreeSet<_> =
            stored.into_iter().map(|item| item.expect("a sound item").blob.name().to_owned()).collect();
        for (name, kind) in kinds {
            names.remove(&result_name(&self.bench.incoming, name));
            let Some(document) = self.bench.result(name).await else {
                account.problems.push(format!("{name} has no result"));
                continue;
            };
            let code = document["error"]["code"].as_str();
            match kind {
                Kind::Good(value) if document["status"] == "ok" => {
                    let read = document["findings"][0]["logit"].as_f64().unwrap_or(f64::NAN);
                    if (read - logit(*value)).abs() > 1.0 {
                        account.problems.push(format!("{name} reads {read}, not {}", logit(*value)));
                    }
                    account.read += 1;
                }
                Kind::Undecodable if code == Some("not_an_image") => account.undecodable += 1,
                Kind::Missing if code == Some("blob_not_found") => account.missing += 1,
                _ => account.problems.push(format!("{name} ended as {} {code:?}", document["status"])),
            }
        }
        for name in names {
            account.problems.push(format!("nobody asked for the result {name}"));
        }
    }

    async fn check_dead(&self, garbage: &Garbage, account: &mut Account) {
        let mut expected = garbage.clone();
        let mut seen = BTreeSet::new();
        for letter in self.bench.dead().await {
            account.dead_letters += 1;
            let id = letter.message.attributes.message_id.clone().unwrap_or_default();
            if !seen.insert(id.clone()) {
                account.dead_twice += 1;
            } else if expected.remove(&id) == Some(letter.code) {
                account.garbage += 1;
            } else {
                let why = letter.reason.unwrap_or_default();
                account.problems.push(format!("{id} is dead: {} {why}", letter.code));
            }
        }
        for id in expected.keys() {
            account.problems.push(format!("{id} has no dead letter"));
        }
    }
}
