//! What can be typed after `nightread results`.

use clap::{Args, Subcommand, ValueEnum};
use nightread_domain::Status;
use time::OffsetDateTime;

pub use self::compare::{CompareArgs, ComparisonFormat, JoinedBy};
pub use self::report::ReportArgs;
pub use self::table::{TableArgs, TableFormat};
use super::announce::since;

mod compare;
mod report;
mod table;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread results table results                                what `nightread process --out results` has read
  nightread results table container:results --model padchest-26  from the storage of the settings
  nightread results compare before after --max-flips 1%          what a new version decides otherwise
  nightread results report results --out report.html             a page to look at
  find results -name '*.json' -print0 | nightread results table -

SOURCE is a folder of results, container:NAME[/PREFIX] in the storage of the settings, one document's file, or a list of
documents: @LIST for a file, - for standard input, one name a line or each ended by a NUL.")]
pub struct ResultsArgs {
    #[command(subcommand)]
    pub command: ResultsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ResultsCommand {
    /// Write a table of what was read
    Table(TableArgs),
    /// Tell how two sets of results differ, and which of them is nearer to the truth
    Compare(CompareArgs),
    /// Write an HTML report on what was read: overview, images, brains, methods
    Report(ReportArgs),
}

/// Which documents are meant.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Only results of this model (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Only results of this version of a model, without its precision: 1.0.0 (may be repeated)
    #[arg(long, value_name = "VERSION")]
    pub model_version: Vec<String>,
    /// Only results of this precision: fp32 or int8
    #[arg(long, value_name = "NAME")]
    pub precision: Option<String>,
    /// Only studies that were read, or only those that failed
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<StatusName>,
    /// Only studies whose names, without their container, begin so
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Only what was read since: 72h, 30m, 7d, a date, or a time (RFC 3339)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub read_from: Option<OffsetDateTime>,
    /// Only what was read before: as --read-from
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub read_to: Option<OffsetDateTime>,
}

/// Whether a study was read, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusName {
    Ok,
    Failed,
}

impl From<StatusName> for Status {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Ok => Self::Ok,
            StatusName::Failed => Self::Failed,
        }
    }
}
