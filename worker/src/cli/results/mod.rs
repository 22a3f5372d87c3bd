//! What can be typed after `nightread results`.

use clap::{Args, Subcommand};

pub use self::compare::{CompareArgs, ComparisonFormat, JoinedBy};
pub use self::filter::{FilterArgs, StatusName};
pub use self::report::ReportArgs;
pub use self::table::{TableArgs, TableFormat};

mod compare;
mod filter;
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
