//! What can be typed after `nightread results`.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use nightread_compare::{JoinKey, Limit};
use nightread_domain::Status;
use time::OffsetDateTime;

use super::announce::since;
use super::common::Common;

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

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread results compare results/padchest-26/1.0.0-fp32 results/padchest-26/1.0.0-int8 --max-flips 1%
  nightread results compare container:results/padchest-26/1.0.0-fp32/ container:results/padchest-26/1.1.0-fp32/ --out compared.html
  nightread results compare before after --truth labels.csv --group patient --format json --out compared.json

A and B are each a folder of results, container:NAME[/PREFIX] in the storage of the settings, one document's file, or a list of
documents (@LIST, -). A is what stands, B what is to take its place: differences are B - A. Each side must have one document of a
study: narrow a side by a longer path, <results>/<model>/<version>-<precision>, or both by --model.

--truth takes comma-separated values with a heading: a column `study` with the studies' names as the comparison shows them, a column
of patients for --group, and a column for each label with 1, 0, or nothing where it is not known. Intervals hold 95 %, by a bootstrap
that draws whole patients, the same ones for A and B. What is undefined is null, or a dash.

Two limits hold by themselves: no study may be missing or failed on one side only (--max-unpaired), nor may a document be unreadable.

Exit status: 0 within the limits, 1 past a limit or nothing could be compared, 2 wrong use, also when no study or no label is on both
sides.")]
pub struct CompareArgs {
    /// The results that stand
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The results that are to take their place
    #[arg(value_name = "B")]
    pub b: PathBuf,

    /// Exit with 1 when more decisions than this differ, over all or of one label: a count, or a share like 1%
    #[arg(long, value_name = "N|SHARE%", help_heading = "Limits")]
    pub max_flips: Option<Limit>,
    /// Exit with 1 when more studies than this are missing or failed on one side only, or were read from other bytes; or when more
    /// documents than this are unreadable
    #[arg(long, value_name = "N|SHARE%", default_value = "0", help_heading = "Limits")]
    pub max_unpaired: Limit,

    /// Judge both sides by these labels (CSV)
    #[arg(long, value_name = "FILE", help_heading = "Truth")]
    pub truth: Option<PathBuf>,
    /// Column of the truth that names the study
    #[arg(long, value_name = "COLUMN", default_value = "study", requires = "truth", help_heading = "Truth")]
    pub study_column: String,
    /// Column of the truth that names the patient: images of one patient are not independent. Without it each study is drawn by
    /// itself
    #[arg(long, value_name = "COLUMN", requires = "truth", help_heading = "Truth")]
    pub group: Option<String>,
    /// Bootstrap draws
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = draws, requires = "truth", help_heading = "Truth")]
    pub draws: usize,
    /// The same seed gives the same intervals on every machine
    #[arg(long, value_name = "N", default_value_t = 0, requires = "truth", help_heading = "Truth")]
    pub seed: u64,

    /// What makes two documents those of one study [default: name, when neither side is a container]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub by: Option<JoinedBy>,
    /// Only results of this model (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Only studies whose names, without their container, begin so
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Name at most so many flips, and studies on one side only; all are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub named: usize,
    /// How it is written [default: as the file's name ends, else text]
    #[arg(long, value_enum)]
    pub format: Option<ComparisonFormat>,
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// What makes two documents those of one study, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JoinedBy {
    /// Container and name
    Study,
    /// The name alone
    Name,
}

impl From<JoinedBy> for JoinKey {
    fn from(by: JoinedBy) -> Self {
        match by {
            JoinedBy::Study => Self::Study,
            JoinedBy::Name => Self::Name,
        }
    }
}

/// How a comparison is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ComparisonFormat {
    Text,
    Markdown,
    Json,
    /// One page without scripts
    Html,
}

/// Fewer give no percentiles that mean anything.
fn draws(text: &str) -> Result<usize, String> {
    let draws = text.parse::<NonZero<u32>>().map_err(|error| error.to_string())?.get();
    if (100..=1_000_000).contains(&draws) {
        Ok(draws as usize)
    } else {
        Err("100 to 1,000,000 are expected".to_owned())
    }
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread results report results --out report.html
  nightread results report results --out report.html --images /            the radiographs too
  nightread results report results --out report.html --model-version 2.0.0 --against results --against-version 1.0.0
  nightread results report container:results --out report.html --images container:images

The report needs no network and no server, and asks for nothing from elsewhere. Up to 500 studies are one file; of more, pages \
of scans and images lie in a folder beside it, FILE without its ending and with _files: send both. A scan counts as half of its \
components.

Heatmaps and component maps are shown where they were stored beside the documents. A radiograph is shown where --images \
has it and its SHA-256 is that of the reading; it is in the report then, with whatever is burnt into it: mind who gets it.

Exit status: 0 the report holds every document, 1 some are not in it, 2 wrong use.")]
pub struct ReportArgs {
    /// A folder of results, container:NAME[/PREFIX], @LIST, -, or one document's file
    pub source: PathBuf,
    /// The page to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where the studies lie: the folder that their names are below, or container:NAME in the storage of the settings
    #[arg(long, value_name = "PLACE")]
    pub images: Option<PathBuf>,
    /// Other results of the same studies: a SOURCE, whose decisions on radiographs are held against these
    #[arg(long, value_name = "SOURCE")]
    pub against: Option<PathBuf>,
    /// Of the others, only this version of a model, without its precision
    #[arg(long, value_name = "VERSION", requires = "against")]
    pub against_version: Option<String>,
    /// Of the others, only this precision
    #[arg(long, value_name = "NAME", requires = "against")]
    pub against_precision: Option<String>,
    /// What stands at the head of each page [default: the source]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Radiographs, and scans, that are shown one by one: the first by name. All are counted
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub max_rows: usize,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub common: Common,
}
