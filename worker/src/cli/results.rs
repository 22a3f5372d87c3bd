//! What can be typed after `nightread results`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use nightread_domain::Status;
use time::OffsetDateTime;

use super::announce::since;
use super::common::Common;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread results table results                                what `nightread process --out results` has read
  nightread results table container:results --model padchest-26  from the storage of the settings
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

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread results table results --out results.parquet           a row for each finding or component
  nightread results table results --wide --out results.csv        a row for each study
  nightread results table container:results --out table/ --model padchest-26
                                                                  a data set of Parquet parts, brought up to date
  nightread results table results --format csv --status failed    on standard output
  nightread results table results --format label-studio --images s3://xrays/ --out tasks.json

The format follows from the name of FILE: .parquet, .csv, .jsonl, or a folder (its name ends with /, or it is there). All
columns: the reference page on tables. A value that is not defined is null.

A data set is brought up to date: only new and changed documents are read, and the rows of those that are gone are left
out. Whenever it is killed, the folder has the old rows or the new ones. It is always long.

label-studio and fiftyone write radiographs for those tools, with images at --images and the study's name.

Exit status: 0 every document is in the table, 1 some could not be read or storage failed, 2 wrong use.")]
pub struct TableArgs {
    /// A folder of results, container:NAME[/PREFIX], @LIST, -, or one document's file
    pub source: PathBuf,
    /// Where the table goes; a name that ends with / is a data set
    #[arg(long, value_name = "FILE|DIR/", required_unless_present = "format")]
    pub out: Option<PathBuf>,
    /// How it is written [default: by the name of --out]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<TableFormat>,
    /// A row for each finding or component (the default)
    #[arg(long, conflicts_with = "wide")]
    pub long: bool,
    /// A row for each document, with columns for each label
    #[arg(long)]
    pub wide: bool,
    /// For label-studio and fiftyone: what stands before the study's name in an image's address
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub images: String,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub common: Common,
}

/// How a table is written, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    Parquet,
    Csv,
    Jsonl,
    /// Tasks with predictions, for import into Label Studio
    LabelStudio,
    /// labels.json of a FiftyOneImageClassificationDataset
    Fiftyone,
}
