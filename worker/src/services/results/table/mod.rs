//! `nightread results table`: what was read, as a table.

mod dataset;
mod exports;
mod file;
mod pieces;
mod told;

use std::path::Path;

use anyhow::Result;
use nightread_table::{Export, Format};

use self::told::Told;
use super::documents::{Counts, Documents};
use super::filter::Filter;
use crate::app::WrongUse;
use crate::cli::results::{TableArgs, TableFormat};

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Table(Format),
    DataSet,
    Export(Export),
}

/// What became of a table.
#[derive(Debug)]
pub(crate) struct Written {
    pub told: Told,
    pub counts: Counts,
}

/// Writes what `args` ask for.
///
/// # Errors
/// [`WrongUse`]; what storage and the file system say.
pub(crate) async fn run(args: &TableArgs) -> Result<Written> {
    let kind = kind(args).map_err(WrongUse)?;
    let documents = Documents::open(&args.source, &args.common, Filter::from(&args.filter))?;
    let out = args.out.as_deref();
    let told = match (kind, out) {
        (Kind::DataSet, Some(folder)) => dataset::update(&documents, folder).await?.map_err(WrongUse)?,
        (Kind::DataSet, None) => return Err(WrongUse("a data set needs --out DIR/".to_owned()).into()),
        (Kind::Table(format), out) if args.wide => {
            if documents.is_read_once() {
                let told = "--wide reads a list twice: give it as @LIST, not on standard input";
                return Err(WrongUse(told.to_owned()).into());
            }
            file::wide(&documents, format, out).await?
        }
        (Kind::Table(format), out) => file::long(&documents, format, out).await?,
        (Kind::Export(tool), out) => exports::write(&documents, tool, &args.images, out).await?,
    };
    Ok(Written { told, counts: documents.counts() })
}

fn kind(args: &TableArgs) -> Result<Kind, String> {
    let is_folder = args.out.as_deref().is_some_and(is_data_set);
    let kind = match (args.format, args.out.as_deref()) {
        (None | Some(TableFormat::Parquet), Some(_)) if is_folder => Kind::DataSet,
        (Some(_), Some(out)) if is_folder => {
            return Err(format!("{}: a folder is a data set of Parquet parts", out.display()));
        }
        (Some(TableFormat::Parquet), _) => Kind::Table(Format::Parquet),
        (Some(TableFormat::Csv), _) => Kind::Table(Format::Csv),
        (Some(TableFormat::Jsonl), _) => Kind::Table(Format::Jsonl),
        (Some(TableFormat::LabelStudio), _) => Kind::Export(Export::LabelStudio),
        (Some(TableFormat::Fiftyone), _) => Kind::Export(Export::FiftyOne),
        (None, Some(out)) => Kind::Table(by_name(out)?),
        (None, None) => return Err("--out or --format is missing".to_owned()),
    };
    match kind {
        Kind::DataSet | Kind::Export(_) if args.wide => {
            Err("--wide is for one file: data sets and exports have a form of their own".to_owned())
        }
        _ => Ok(kind),
    }
}

fn is_data_set(out: &Path) -> bool {
    out.as_os_str().as_encoded_bytes().ends_with(b"/") || out.is_dir()
}

/// The format that a file's name ends with.
///
/// # Errors
/// In words, when it is none of them.
pub(crate) fn by_name(out: &Path) -> Result<Format, String> {
    match out.extension().and_then(|end| end.to_str()).unwrap_or_default() {
        "parquet" => Ok(Format::Parquet),
        "csv" => Ok(Format::Csv),
        "jsonl" | "ndjson" => Ok(Format::Jsonl),
        _ => Err(format!(
            "{}: a name that ends with .parquet, .csv, .jsonl or / is expected, or --format",
            out.display()
        )),
    }
}
