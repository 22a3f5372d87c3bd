//! `nightread dead`: what was given up, why, and what becomes of it.

mod take;

use std::process::ExitCode;

use anyhow::Result;

use self::take::take;
use crate::adapters::amqp::{Handling, Pile};
use crate::app::{broker_of, runtime};
use crate::cli::Format;
use crate::cli::dead::{DeadArgs, DeadCommand};
use crate::console::{FAILED, WRONG_USE, answer, print, say};
use crate::services::dead::{Letters, redact};

pub(super) fn run(args: &DeadArgs) -> Result<ExitCode> {
    let common = match &args.command {
        DeadCommand::List(args) => &args.common,
        DeadCommand::Show(args) => &args.common,
        DeadCommand::Redrive(args) => &args.common,
        DeadCommand::Discard(args) => &args.common,
    };
    let (_, options) = broker_of(common)?;
    let pile = if args.deliveries { Pile::Deliveries } else { Pile::Jobs };
    runtime::one_thread()?.block_on(async {
        let letters = Letters::open(options, pile).await?;
        if letters.are_shared {
            say(
                "somebody else looks at the dead letters just now, or did until a moment ago: the letters they hold are not \
                 seen here; run this again when they are done",
            );
        }
        match &args.command {
            DeadCommand::List(args) => {
                let listing = letters.list(&args.codes, args.limit).await?;
                answer(args.format, || listing.as_table(), || &listing)?;
                Ok(ExitCode::SUCCESS)
            }
            DeadCommand::Show(args) => show(letters, &args.id, args.format).await,
            DeadCommand::Redrive(args) => {
                let verdict = if args.dry_run { None } else { Some(Handling::Redrive) };
                take(letters, &args.chosen, args.limit, verdict, args.format).await
            }
            DeadCommand::Discard(args) => {
                let verdict = args.yes.then_some(Handling::Discard);
                let ended = take(letters, &args.chosen, args.limit, verdict, args.format).await?;
                if args.yes {
                    return Ok(ended);
                }
                say("nothing was discarded: say --yes to throw these letters away for good");
                Ok(ExitCode::from(WRONG_USE))
            }
        }
    })
}

async fn show(letters: Letters, id: &str, format: Format) -> Result<ExitCode> {
    let Some(shown) = letters.show(id).await? else {
        say(&format!("no dead letter is called {}", redact::line(id)));
        return Ok(ExitCode::from(FAILED));
    };
    match format {
        Format::Json => print(&serde_json::to_string_pretty(&shown)?)?,
        Format::Table => print(&shown.as_text()?)?,
    }
    Ok(ExitCode::SUCCESS)
}
