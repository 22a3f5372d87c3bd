//! Storage that lies: busy for a day, throttled, cut, half, spoilt, of another version, listings that repeat and skip, and
//! a minute of 403; and the account of every blob at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::announcing::{announce, summary};
use crate::bench::Bench;
use crate::images::{grey, logit};
use crate::proxy::Faults;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub blobs: usize,
    /// Share of storage requests that are lied to.
    pub share: f64,
    /// Of them those that are told to come again in a day.
    pub busy_for_a_day: f64,
    /// How long the whole account is refused in the middle.
    pub refusal: Duration,
    /// How long the queues may take to empty once storage is honest again.
    pub patience: Duration,
}

/// The account. Sound when [`Account::problems`] is empty.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub blobs: usize,
    /// Announcements while storage lied, repeats included, and what was left for the honest one.
    pub announced: u64,
    pub announced_later: u64,
    pub read: usize,
    pub replaced: usize,
    pub requests: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub refused: u64,
    pub elapsed: Duration,
    pub problems: Vec<String>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in [
            ("blobs", self.blobs as u64),
            ("  of them replaced while they were read", self.replaced as u64),
            ("announced from listings that lie", self.announced),
            ("announced from an honest listing, with --skip-done", self.announced_later),
            ("blobs with their one right result", self.read as u64),
            ("storage requests", self.requests),
            ("  refused with 403 in a row", self.refused),
        ] {
            writeln!(f, "{count:>8}  {what}")?;
        }
        for (fault, count) in &self.faults {
            writeln!(f, "{count:>8}    {fault}")?;
        }
        writeln!(f, "{:>8}  seconds", self.elapsed.as_secs())?;
        writeln!(f, "{:>8}  problems", self.problems.len())?;
        for problem in &self.problems {
            writeln!(f, "  PROBLEM {problem}")?;
        }
        Ok(())
    }
}

/// Runs the plan on the shared parts; `None` (said by name) when one is missing.
pub async fn run(test: &str, plan: Plan) -> Option<Account> {
    let bench = Bench::shared(test).await?;
    let started = Instant::now();
    let mut account = Account { blobs: plan.blobs, ..Account::default() };
    let name = |number: usize| format!("{:02}/{number}.png", number % 10);
    for number in 0..plan.blobs {
        bench.upload(&name(number), grey(number as u8, 64, number)).await;
    }
    let settings = bench.settings();
    let workers = [bench.start(), bench.start()];
    for worker in &workers {
        worker.ready().await;
    }
    let lies = Faults::lies(plan.share, plan.busy_for_a_day);
    bench.proxy.set_page((plan.blobs as u64 / 5).clamp(1, 500));
    bench.proxy.set_faults(lies);
    // Over and over, as a timer does: what one listing skips the next one finds.
    let told = summary(&announce(&settings, &[]));
    account.announced += told["announced"].as_u64().unwrap_or(0);
    for number in (0..plan.blobs).step_by(7) {
        bench.upload(&name(number), grey((number + 100) as u8, 64, number)).await;
        account.replaced += 1;
    }
    bench.proxy.set_faults(Faults::default());
    let (_, before) = bench.proxy.counts();
    bench.proxy.refuse(None, 403, "AuthorizationFailure", "");
    tokio::time::sleep(plan.refusal).await;
    bench.proxy.let_in();
    account.refused = bench.proxy.counts().1 - before;
    bench.proxy.set_faults(lies);
    let told = summary(&announce(&settings, &["--skip-done"]));
    account.announced += told["announced"].as_u64().unwrap_or(0);
    tokio::time::sleep(plan.refusal).await;
    bench.proxy.set_faults(Faults::default());
    let all: Vec<_> = workers.iter().collect();
    bench.settled(&all, plan.patience).await;
    let told = summary(&announce(&settings, &["--skip-done"]));
    account.announced_later = told["announced"].as_u64().unwrap_or(0);
    bench.settled(&all, plan.patience).await;
    (account.requests, _) = bench.proxy.counts();
    account.faults = bench.proxy.counts_by_fault();
    account.elapsed = started.elapsed();
    for number in 0..plan.blobs {
        let value = if number % 7 == 0 { number + 100 } else { number } as u8;
        let name = name(number);
        let Some(document) = bench.result(&name).await else {
            account.problems.push(format!("{name} has no result"));
            continue;
        };
        let read = document["findings"][0]["logit"].as_f64();
        if document["status"] != "ok" {
            account
                .problems
                .push(format!("{name} ended as {} {}", document["status"], document["error"]["code"]));
        } else if read.is_none_or(|read| (read - logit(value)).abs() > 1.0) {
            account.problems.push(format!("{name} reads {read:?}, not {}", logit(value)));
        } else {
            account.read += 1;
        }
    }
    for letter in bench.dead().await {
        account.problems.push(format!(
            "a dead letter: {} {}",
            letter.code,
            letter.reason.unwrap_or_default()
        ));
    }
    Some(account)
}
