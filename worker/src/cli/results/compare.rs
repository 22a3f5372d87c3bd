//! What can be typed after `nightread results compare`.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nightread_compare::{JoinKey, Limit};

use crate::cli::common::Common;

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
