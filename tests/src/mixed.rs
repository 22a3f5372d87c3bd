//! Workers of an earlier version beside those of this one, on one queue, killed at random: no document of this form may give way
//! to one of theirs.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::{FORMER_QUEUES, FormerQueue, topology};
use nightread_domain::result::SCHEMA;
use nightread_domain::{ErrorCode, Lane};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::bench::Bench;
use crate::images::grey;
use crate::worker::Worker;

/// Runs another program in the place of the one that is tested: its own words are `sh`, the program, the tested one.
const INSTEAD: &str = r#"other=$1; shift 2; exec "$other" "$@""#;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Mixture {
    pub blobs: usize,
    pub announced: usize,
    pub kills: usize,
    /// Blobs whose result is of this form at the end, and of the form before.
    pub ours: usize,
    pub theirs: usize,
    /// Dead letters because an earlier worker met a document that it does not know, each time.
    pub left_to_us: usize,
    pub elapsed: Duration,
    pub problems: Vec<String>,
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} announcements of {} blobs, {} workers killed; at the end {} documents of this form and {} of the form before; \
             {} dead letters result_newer_schema; {:.0} s; {} problems",
            self.announced,
            self.blobs,
            self.kills,
            self.ours,
            self.theirs,
            self.left_to_us,
            self.elapsed.as_secs_f64(),
            self.problems.len()
        )?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))
    }
}

/// Announces every blob `times` times, by force, to two workers of `earlier` (a program) and two of this version.
pub async fn run(test: &str, earlier: &str, blobs: usize, times: usize, kills: usize) -> Option<Mixture> {
    let (_rabbit, _azurite, bench) = Bench::alone(test).await?;
    former_queues(&bench).await;
    let started = Instant::now();
    let mut chance = StdRng::seed_from_u64(1);
    for number in 0..blobs {
        bench.upload(&format!("{number}.png"), grey((number % 251) as u8, 64, number)).await;
    }
    // An earlier worker that meets a document of this form tries again, for longer each time, until its attempts are used up.
    let ours = bench.settings().with("NIGHTREAD_LIMITS_ATTEMPTS", "2");
    let theirs = ours.clone().through(&["sh", "-c", INSTEAD, "sh", earlier]);
    let settings = [&ours, &theirs];
    let mut workers: Vec<(usize, Worker)> =
        [0, 1, 0, 1].into_iter().map(|kind| (kind, bench.start_with(settings[kind]))).collect();
    let mut mixture = Mixture { blobs, ..Mixture::default() };
    // Blobs whose document was of this form at some time.
    let mut had = BTreeSet::new();
    let every = (blobs * times).div_ceil(kills + 1);
    for turn in 0..times {
        for number in 0..blobs {
            let body = json!({"blob": format!("{}/{number}.png", bench.incoming), "force": true});
            bench.publish(Lane::Ingest, &format!("{turn}-{number}"), body.to_string()).await;
            mixture.announced += 1;
            if mixture.announced.is_multiple_of(every) && mixture.kills < kills {
                tokio::time::sleep(Duration::from_millis(chance.random_range(200..2_000))).await;
                let victim = chance.random_range(0..workers.len());
                let (kind, worker) = workers.swap_remove(victim);
                worker.kill();
                workers.push((kind, bench.start_with(settings[kind])));
                mixture.kills += 1;
                look(&bench, &mut had, &mut mixture).await;
            }
        }
    }
    let all: Vec<_> = workers.iter().map(|(_, worker)| worker).collect();
    bench.settled(&all, Duration::from_hours(1)).await;
    look(&bench, &mut had, &mut mixture).await;
    for number in 0..blobs {
        match bench.result(&format!("{number}.png")).await {
            Some(document) if document["schema"] == SCHEMA => mixture.ours += 1,
            Some(_) => mixture.theirs += 1,
            None => mixture.problems.push(format!("{number}.png has no result")),
        }
    }
    for letter in bench.dead().await {
        match letter.code {
            ErrorCode::ResultNewerSchema => mixture.left_to_us += 1,
            other => mixture.problems.push(format!("a dead letter {other}")),
        }
    }
    mixture.elapsed = started.elapsed();
    Some(mixture)
}

/// As the earlier version declared them: its workers take from them, and are of no use without.
async fn former_queues(bench: &Bench) {
    let observer = bench.observer().await;
    let channel = observer.channel();
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for FormerQueue { queue, exchange, .. } in FORMER_QUEUES {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, quorum.clone()).await.expect("declared");
        if exchange != topology::JOBS {
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let fanout = ExchangeKind::Fanout;
            let declared = channel.exchange_declare(exchange.into(), fanout, durable, FieldTable::default());
            declared.await.expect("declared");
        }
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(queue.into(), exchange.into(), "former".into(), bind, none);
        bound.await.expect("bound");
    }
}

/// Looks at every document: one that was of this form once must stay so.
async fn look(bench: &Bench, had: &mut BTreeSet<usize>, mixture: &mut Mixture) {
    for number in 0..mixture.blobs {
        let document = bench.result(&format!("{number}.png")).await;
        let is_ours = document.as_ref().is_some_and(|document| document["schema"] == SCHEMA);
        if is_ours {
            had.insert(number);
        } else if had.contains(&number) {
            mixture.problems.push(format!("{number}.png had a document of this form and lost it"));
        }
    }
}
