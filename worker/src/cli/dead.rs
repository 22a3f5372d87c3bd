//! What can be typed after `nightread dead`.

use clap::{Args, Subcommand};
use nightread_domain::ErrorCode;

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead list                                  how many letters, by error code, and the oldest of them
  nightread dead show 3f9c0a417d52                     one letter: what was announced, and why it was given up
  nightread dead redrive --code attempts_exhausted     storage is well again: read these after all
  nightread dead discard --code message_unparseable --yes
  nightread dead list --deliveries                     results that reached no archive

A letter that is only looked at stays where it is. A redriven one is confirmed in its lane before it leaves the dead
letters, so a crash may double it (the second reading finds the first one's result) and never loses it. The broker user
needs to read nightread.jobs.dead (nightread.deliveries.dead with --deliveries) and, to redrive, to write to the exchange nightread.

Exit status: 0 done, 1 the broker failed or nothing is called so, 2 wrong use.")]
pub struct DeadArgs {
    /// Letters of `nightread deliver`: results that reached no archive
    #[arg(long, global = true)]
    pub deliveries: bool,
    #[command(subcommand)]
    pub command: DeadCommand,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// Count the dead letters by error code, and list the oldest
    List(ListArgs),
    /// Show one letter in full: no image, no secret
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
pub struct ListArgs {
    /// Only letters of this error code (may be repeated)
    #[arg(long = "code", value_name = "CODE", value_parser = error_code)]
    pub codes: Vec<ErrorCode>,
    /// Letters listed one by one, the oldest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead show 3f9c0a417d52
  nightread dead show 3f9c0a417d52 --format json | jq .body

Queries and passwords of URLs, signatures, keys and long encoded values are not shown.")]
pub struct ShowArgs {
    /// The letter's id as `dead list` tells it, or the message id of its sender
    pub id: String,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Which letters are meant.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct Chosen {
    /// Letters of this error code (may be repeated)
    #[arg(long = "code", value_name = "CODE", value_parser = error_code)]
    pub codes: Vec<ErrorCode>,
    /// The letter of this id, or with this message id (may be repeated)
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// Every letter that is there now
    #[arg(long, conflicts_with_all = ["codes", "ids"])]
    pub all: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead redrive --id 3f9c0a417d52
  nightread dead redrive --code attempts_exhausted --limit 1000
  nightread dead redrive --all --dry-run

Attempts begin at 0 again, and a failed-document is read again. Repeat it after an interruption: what was sent is gone
from the dead letters. Letters that die again while it runs are not sent twice.")]
pub struct RedriveArgs {
    #[command(flatten)]
    pub chosen: Chosen,
    /// Send at most so many, the oldest first
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Only count what would be sent
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dead discard --code message_unparseable          counts, and changes nothing
  nightread dead discard --code message_unparseable --yes    throws them away

A discarded announcement is gone; the blob stays. `nightread announce` announces it again.")]
pub struct DiscardArgs {
    #[command(flatten)]
    pub chosen: Chosen,
    /// Discard at most so many, the oldest first
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Really do it
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn error_code(text: &str) -> Result<ErrorCode, String> {
    let known = ErrorCode::ALL.iter().copied().find(|code| code.as_str() == text);
    known.ok_or_else(|| "no such error code; `nightread dead list` names those that are there".to_owned())
}
