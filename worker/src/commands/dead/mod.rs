//! `nightread dead`: what was given up, why, and what becomes of it.

mod list;
mod redact;
mod show;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use nightread_domain::{ErrorCode, JobError};
use serde_json::json;

use super::{FAILED, WRONG_USE, broker_of, print, say};
use crate::adapters::queue::rabbitmq::{
    DeadLetter, DeadLetters, Publisher, RabbitOptions, Swept, Verdict, topology,
};
use crate::cli::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead list                                  how many letters, by error code, and the oldest of them
  nightread dead show 3f9c0a417d52                     one letter: what was announced, and why it was given up
  nightread dead redrive --code attempts_exhausted     storage is well again: read these after all
  nightread dead discard --code message_unparseable --yes

A letter that is only looked at stays where it is. A redriven one is confirmed in its lane before it leaves the dead
letters, so a crash may double it (the second reading finds the first one's result) and never loses it. The broker user
needs to read nightread.jobs.dead and, to redrive, to write to the exchange nightread.

Exit status: 0 done, 1 the broker failed or nothing is called so, 2 wrong use.")]
pub struct DeadArgs {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// Count the dead letters by error code, and list the oldest
    List(ListArgs),
    /// Show one letter in full: no picture, no secret
    Show(ShowArgs),
    /// Send letters back into their lanes as new work
    Redrive(RedriveArgs),
    /// Throw letters away for good
    Discard(DiscardArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead list
  nightread dead list --code worker_died --limit 100
  nightread dead list --format json | jq '.codes[] | {code, count}'

All letters are counted; --limit bounds only how many are listed one by one. The ids go to show, redrive and discard.")]
struct ListArgs {
    /// Only letters of this error code (may be repeated)
    #[arg(long = "code", value_name = "CODE", value_parser = error_code)]
    codes: Vec<ErrorCode>,
    /// Letters listed one by one, the oldest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    common: Common,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead show 3f9c0a417d52
  nightread dead show 3f9c0a417d52 --format json | jq .body

Queries and passwords of URLs, signatures, keys and long encoded values are not shown.")]
struct ShowArgs {
    /// The letter's id as `dead list` tells it, or the message id of its sender
    id: String,
    #[command(flatten)]
    common: Common,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which letters are meant.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Chosen {
    /// Letters of this error code (may be repeated)
    #[arg(long = "code", value_name = "CODE", value_parser = error_code)]
    codes: Vec<ErrorCode>,
    /// The letter of this id, or with this message id (may be repeated)
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// Every letter that is there now
    #[arg(long, conflicts_with_all = ["codes", "ids"])]
    all: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead redrive --id 3f9c0a417d52
  nightread dead redrive --code attempts_exhausted --limit 1000
  nightread dead redrive --all --dry-run

Attempts begin at 0 again, and a failed-document is read again. Repeat it after an interruption: what was sent is gone
from the dead letters. Letters that die again while it runs are not sent twice.")]
struct RedriveArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Send at most so many, the oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only count what would be sent
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead discard --code message_unparseable          counts, and changes nothing
  nightread dead discard --code message_unparseable --yes    throws them away

A discarded announcement is gone; the blob stays. `nightread announce` announces it again.")]
struct DiscardArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Discard at most so many, the oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Really do it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn error_code(text: &str) -> Result<ErrorCode, String> {
    let known = ErrorCode::ALL.iter().copied().find(|code| code.as_str() == text);
    known.ok_or_else(|| "no such error code; `nightread dead list` names those that are there".to_owned())
}

pub(super) fn run(args: &DeadArgs) -> Result<ExitCode> {
    let common = match &args.command {
        DeadCommand::List(args) => &args.common,
        DeadCommand::Show(args) => &args.common,
        DeadCommand::Redrive(args) => &args.common,
        DeadCommand::Discard(args) => &args.common,
    };
    let Some((_, options)) = broker_of(common)? else { return Ok(ExitCode::from(WRONG_USE)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.command {
            DeadCommand::List(args) => list::run(args, &options).await,
            DeadCommand::Show(args) => show::run(args, &options).await,
            DeadCommand::Redrive(args) => {
                let verdict = if args.dry_run { None } else { Some(Verdict::Redrive) };
                take(&args.chosen, args.limit, verdict, args.format, &options).await
            }
            DeadCommand::Discard(args) => {
                let verdict = args.yes.then_some(Verdict::Discard);
                let ended = take(&args.chosen, args.limit, verdict, args.format, &options).await?;
                if args.yes {
                    return Ok(ended);
                }
                say("nothing was discarded: say --yes to throw these letters away for good");
                Ok(ExitCode::from(WRONG_USE))
            }
        }
    })
}

impl Chosen {
    fn has(&self, letter: &DeadLetter) -> bool {
        self.all
            || self.codes.contains(&letter.code)
            || (!self.ids.is_empty() && self.ids.iter().any(|id| letter.is_called(id)))
    }
}

/// Does `verdict` to the chosen letters; without one it only counts them.
async fn take(
    chosen: &Chosen,
    limit: Option<u32>,
    verdict: Option<Verdict>,
    format: Format,
    options: &RabbitOptions,
) -> Result<ExitCode> {
    let letters = open(options).await?;
    let publisher = Publisher::new(options.clone());
    let mut swept = Swept::default();
    let (mut met, mut by_code) = (0, BTreeMap::<ErrorCode, u32>::new());
    let mut unmet: Vec<&String> = chosen.ids.iter().collect();
    let ended = letters
        .sweep(Some(&publisher), &mut swept, |letter| {
            if limit.is_some_and(|limit| met >= limit) {
                return Verdict::Stop;
            }
            if !chosen.has(letter) {
                return Verdict::Keep;
            }
            met += 1;
            *by_code.entry(letter.code).or_default() += 1;
            unmet.retain(|id| !letter.is_called(id));
            verdict.unwrap_or(Verdict::Keep)
        })
        .await;
    letters.close().await;
    report(verdict, format, met, &by_code, swept)?;
    for id in &unmet {
        say(&format!("no dead letter is called {}", redact::line(id)));
    }
    match ended {
        Ok(()) if unmet.is_empty() => Ok(ExitCode::SUCCESS),
        Ok(()) => Ok(ExitCode::from(FAILED)),
        Err(error) => {
            say(&format!("nightread: {error}"));
            Ok(ExitCode::from(FAILED))
        }
    }
}

fn report(
    verdict: Option<Verdict>,
    format: Format,
    met: u32,
    by_code: &BTreeMap<ErrorCode, u32>,
    swept: Swept,
) -> Result<()> {
    let codes: BTreeMap<_, _> = by_code.iter().map(|(code, count)| (code.as_str(), count)).collect();
    match format {
        Format::Json => print(&serde_json::to_string_pretty(&json!({
            "queue": topology::DEAD_QUEUE,
            "chosen": met,
            "redriven": swept.redriven,
            "discarded": swept.discarded,
            "kept": swept.kept(),
            "codes": codes,
        }))?)?,
        Format::Table => {
            for (code, count) in codes {
                print(&format!("{count:>8}  {code}"))?;
            }
            print(&match verdict {
                Some(Verdict::Redrive) => format!("{} sent back into their lanes", swept.redriven),
                Some(Verdict::Discard) => format!("{} discarded", swept.discarded),
                _ => format!("{met} chosen, none touched"),
            })?;
        }
    }
    Ok(())
}

/// A letter's time of death, for people and programs.
fn moment(seconds: Option<u64>) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds?).ok()?).ok()?;
    at.format(&time::format_description::well_known::Rfc3339).ok()
}

/// The letters; says so when others hold some of them, for then this command does not see all.
async fn open(options: &RabbitOptions) -> Result<DeadLetters, JobError> {
    let letters = DeadLetters::open(options).await?;
    if letters.others().await? > 0 {
        say(
            "somebody else looks at the dead letters just now, or did until a moment ago: the letters they hold are not \
             seen here; run this again when they are done",
        );
    }
    Ok(letters)
}

/// Looks at every letter and keeps it.
async fn look(options: &RabbitOptions, judge: impl FnMut(&DeadLetter) -> Verdict) -> Result<(), JobError> {
    let letters = open(options).await?;
    let ended = letters.sweep(None, &mut Swept::default(), judge).await;
    letters.close().await;
    ended
}
