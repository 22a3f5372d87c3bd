//! What can be typed after `nightread results report`.

use std::path::PathBuf;

use clap::Args;

use super::filter::FilterArgs;
use crate::cli::common::Common;

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
