//! `nightread dead`: what was given up, why, and what becomes of it.

mod list;
mod redact;
mod show;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use nightread_domain::{ErrorCode, JobError};
use serde_json::json;

use crate::adapters::amqp::{DeadLetter, DeadLetters, Handling, Publisher, RabbitOptions, Swept, topology};
use crate::app::{broker_of, runtime};
use crate::cli::Format;
use crate::cli::dead::{Chosen, DeadArgs, DeadCommand};
use crate::console::{FAILED, WRONG_USE, print, say};

pub(crate) fn run(args: &DeadArgs) -> Result<ExitCode> {
    let common = match &args.command {
        DeadCommand::List(args) => &args.common,
        DeadCommand::Show(args) => &args.common,
        DeadCommand::Redrive(args) => &args.common,
        DeadCommand::Discard(args) => &args.common,
    };
    let Some((_, options)) = broker_of(common)? else { return Ok(ExitCode::from(WRONG_USE)) };
    let runtime = runtime::one_thread()?;
    runtime.block_on(async {
        match &args.command {
            DeadCommand::List(args) => list::run(args, &options).await,
            DeadCommand::Show(args) => show::run(args, &options).await,
            DeadCommand::Redrive(args) => {
                let verdict = if args.dry_run { None } else { Some(Handling::Redrive) };
                take(&args.chosen, args.limit, verdict, args.format, &options).await
            }
            DeadCommand::Discard(args) => {
                let verdict = args.yes.then_some(Handling::Discard);
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
    verdict: Option<Handling>,
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
                return Handling::Stop;
            }
            if !chosen.has(letter) {
                return Handling::Keep;
            }
            met += 1;
            *by_code.entry(letter.code).or_default() += 1;
            unmet.retain(|id| !letter.is_called(id));
            verdict.unwrap_or(Handling::Keep)
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
    verdict: Option<Handling>,
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
                Some(Handling::Redrive) => format!("{} sent back into their lanes", swept.redriven),
                Some(Handling::Discard) => format!("{} discarded", swept.discarded),
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
async fn look(options: &RabbitOptions, judge: impl FnMut(&DeadLetter) -> Handling) -> Result<(), JobError> {
    let letters = open(options).await?;
    let ended = letters.sweep(None, &mut Swept::default(), judge).await;
    letters.close().await;
    ended
}
