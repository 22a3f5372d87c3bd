//! What can be typed after `nightread results table`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::filter::FilterArgs;
use crate::cli::common::Common;

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
