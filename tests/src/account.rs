//! Announcements whose right ends are known, and the account of every one of them at the end of a storm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use nightread_domain::{ErrorCode, Lane};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::bench::Bench;
use crate::ear;
use crate::images::{grey, logit, result_name};
use crate::worker::{Worker, WorkerSettings};

/// What each announced thing is, and so how it must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Good(u8),
    Undecodable,
    Missing,
}

/// The side of the images of a storm, in pixels, unless it is about large ones.
pub const SIDE: u32 = 64;

/// Lane, message id and body.
pub type Announced = (Lane, String, Bytes);

/// The code with which each garbage message must die, by message id.
type Garbage = BTreeMap<String, ErrorCode>;

/// What is announced, and what must become of it.
#[derive(Clone, Debug)]
pub struct Work {
    kinds: BTreeMap<String, Kind>,
    garbage: Garbage,
    /// Every blob twice, in two forms and two lanes, and the garbage; shuffled.
    pub messages: Vec<Announced>,
}

/// The account. Sound when [`Account::problems`] is empty.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub announced: usize,
    pub kills: usize,
    pub broker_restarts: usize,
    /// What else befell brokers and machines, in the order in which it came.
    pub weather: Vec<String>,
    pub requests: u64,
    pub faulted: u64,
    pub read: usize,
    pub undecodable: usize,
    pub missing: usize,
    pub garbage: usize,
    pub dead_letters: usize,
    /// A dead letter published, and its original not yet acknowledged, when the worker was killed.
    pub dead_twice: usize,
    /// Events of results; the same one may be told again.
    pub events: usize,
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
            ("announcements that ended as they must", self.ended()),
            ("good blobs with their one result", self.read),
            ("undecodable blobs with their failed-document", self.undecodable),
            ("missing blobs with their failed-document", self.missing),
            ("garbage messages dead-lettered with their code", self.garbage),
            ("dead letters", self.dead_letters),
            ("  of them told twice", self.dead_twice),
            ("events of results", self.events),
            ("seconds", self.elapsed.as_secs() as usize),
            ("problems", self.problems.len()),
        ];
        for (what, count) in rows {
            writeln!(f, "{count:>8}  {what}")?;
        }
        for event in &self.weather {
            writeln!(f, "{:>8}  {event}", "")?;
        }
        for problem in &self.problems {
            writeln!(f, "  PROBLEM {problem}")?;
        }
        Ok(())
    }
}

impl Account {
    /// An account of these announcements, none of which has ended yet.
    pub fn of(work: &Work) -> Self {
        Self { announced: work.messages.len(), ..Self::default() }
    }

    /// Announcements that are read, failed for their own reason, or dead for their own reason.
    pub fn ended(&self) -> usize {
        2 * (self.read + self.undecodable + self.missing) + self.garbage
    }

    /// Notes something that befell, once.
    pub fn befell(&mut self, what: impl Into<String>) {
        self.weather.push(what.into());
    }

    /// Waits until everything is worked off, and ends the workers as a scale-in does. What a drain gave back is finished by
    /// one last worker; then nothing may be left anywhere.
    pub async fn calm(
        &mut self,
        bench: &Bench,
        settings: &WorkerSettings,
        workers: Vec<Worker>,
        patience: Duration,
    ) {
        let references: Vec<_> = workers.iter().collect();
        bench.settled(&references, patience).await;
        self.end(workers).await;
        let last = bench.start_with(settings);
        last.ready().await;
        bench.settled(&[&last], patience).await;
        self.end(vec![last]).await;
        let left = bench.waiting(&bench.observer().await).await;
        if left > 0 {
            self.problems.push(format!("{left} messages are left in lanes and delays"));
        }
    }

    async fn end(&mut self, workers: Vec<Worker>) {
        for mut worker in workers {
            worker.terminate();
            if !worker.ended().await.success() {
                self.problems.push("a worker did not exit with 0".to_owned());
            }
        }
    }

    /// Holds every announcement against its right end.
    pub async fn close(&mut self, bench: &Bench, work: &Work) {
        (self.requests, self.faulted) = bench.proxy.counts();
        let heard = ear::heard(&bench.observer().await).await;
        self.events = heard.len();
        let told = heard.iter().map(ear::told).collect();
        self.check_results(bench, &work.kinds, &told).await;
        self.check_dead(bench, &work.garbage).await;
        if self.ended() != self.announced {
            self.problems.push(format!("{} were announced, and {} ended", self.announced, self.ended()));
        }
    }

    /// `told`: the documents whose events were heard.
    async fn check_results(
        &mut self,
        bench: &Bench,
        kinds: &BTreeMap<String, Kind>,
        told: &BTreeSet<(String, String)>,
    ) {
        let stored = bench.direct.list(&bench.results, "").expect("a listing");
        let stored: Vec<_> = stored.collect().await;
        let mut names: BTreeSet<_> =
            stored.into_iter().map(|item| item.expect("a sound item").blob.name().to_owned()).collect();
        for (name, kind) in kinds {
            names.remove(&result_name(&bench.incoming, name));
            let Some(document) = bench.result(name).await else {
                self.problems.push(format!("{name} has no result"));
                continue;
            };
            let place = format!("{}/{}", bench.results, result_name(&bench.incoming, name));
            let read_at = document["read_at"].as_str().unwrap_or_default().to_owned();
            if !told.contains(&(place, read_at)) {
                self.problems.push(format!("nobody was told of the result of {name}"));
            }
            let code = document["error"]["code"].as_str();
            match kind {
                Kind::Good(value) if document["status"] == "ok" => {
                    let read = document["findings"][0]["logit"].as_f64().unwrap_or(f64::NAN);
                    if (read - logit(*value)).abs() > 1.0 {
                        self.problems.push(format!("{name} reads {read}, not {}", logit(*value)));
                    }
                    self.read += 1;
                }
                Kind::Undecodable if code == Some("not_an_image") => self.undecodable += 1,
                Kind::Missing if code == Some("blob_not_found") => self.missing += 1,
                _ => self.problems.push(format!("{name} ended as {} {code:?}", document["status"])),
            }
        }
        for name in names {
            self.problems.push(format!("nobody asked for the result {name}"));
        }
    }

    async fn check_dead(&mut self, bench: &Bench, garbage: &Garbage) {
        let mut expected = garbage.clone();
        let mut seen = BTreeSet::new();
        for letter in bench.dead().await {
            self.dead_letters += 1;
            let id = letter.message.attributes.message_id.clone().unwrap_or_default();
            if !seen.insert(id.clone()) {
                self.dead_twice += 1;
            } else if expected.remove(&id) == Some(letter.code) {
                self.garbage += 1;
            } else {
                let why = letter.reason.unwrap_or_default();
                self.problems.push(format!("{id} is dead: {} {why}", letter.code));
            }
        }
        for id in expected.keys() {
            self.problems.push(format!("{id} has no dead letter"));
        }
    }
}

impl Work {
    /// 5 % undecodable, 2 % missing, the rest good; and one message of garbage for each hundred. From now on somebody listens to
    /// results.
    pub async fn upload(bench: &Bench, blobs: usize, side: u32, chance: &mut StdRng) -> Self {
        ear::listen(&bench.observer().await).await;
        let mut kinds = BTreeMap::new();
        for number in 0..blobs {
            let name = format!("ward {}/{number}.png", number % 7);
            let kind = match number % 100 {
                0..5 => Kind::Undecodable,
                5..7 => Kind::Missing,
                _ => Kind::Good(chance.random()),
            };
            match kind {
                Kind::Good(value) => bench.upload(&name, grey(value, side, number)).await,
                Kind::Undecodable => {
                    let mut noise = vec![0; 500];
                    chance.fill_bytes(&mut noise);
                    bench.upload(&name, noise.into()).await;
                }
                Kind::Missing => {}
            }
            kinds.insert(name, kind);
        }
        let (mut messages, garbage) = messages(bench, &kinds);
        messages.shuffle(chance);
        Self { kinds, garbage, messages }
    }
}

fn messages(bench: &Bench, kinds: &BTreeMap<String, Kind>) -> (Vec<Announced>, Garbage) {
    let mut messages = Vec::new();
    for name in kinds.keys() {
        let native = serde_json::json!({"blob": format!("{}/{name}", bench.incoming)}).to_string();
        let grid = bench.event_grid(&name.replace(' ', "%20"));
        messages.push((Lane::Ingest, format!("native {name}"), native.into()));
        messages.push((Lane::Bulk, format!("grid {name}"), grid.into()));
    }
    let mut garbage = BTreeMap::new();
    for number in 0..kinds.len().div_ceil(100) {
        let (body, code) = match number % 3 {
            0 => ("not JSON at all".to_owned(), ErrorCode::MessageUnparseable),
            1 => (r#"{"blob": "secrets/key"}"#.to_owned(), ErrorCode::SourceNotAllowed),
            _ => (format!(r#"{{"blob": "{}/../x"}}"#, bench.incoming), ErrorCode::SourceNotAllowed),
        };
        let id = format!("garbage {number}");
        messages.push((Lane::Ingest, id.clone(), body.into()));
        garbage.insert(id, code);
    }
    (messages, garbage)
}
