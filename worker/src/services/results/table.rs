//! `nightread results table`: what was read, a line for each study.

use std::process::ExitCode;

use anyhow::Result;
use futures::TryStreamExt;

use super::documents::Documents;
use super::filter::Filter;
use crate::cli::results::TableArgs;
use crate::console::{FAILED, WRONG_USE, print, say};

/// Documents as JSON, one a line.
pub(crate) async fn run(args: &TableArgs) -> Result<ExitCode> {
    let Some(documents) = Documents::open(&args.source, &args.common, Filter::from(&args.filter))? else {
        return Ok(ExitCode::from(WRONG_USE));
    };
    let mut entries = documents.entries();
    let mut failed = false;
    while let Some(entry) = entries.try_next().await? {
        match entry.document {
            Ok(document) => print(&serde_json::to_string(&document)?)?,
            Err(why) => {
                say(&format!("{}: {why}", entry.path.name()));
                failed = true;
            }
        }
    }
    let counts = documents.counts();
    if counts.gone > 0 {
        say(&format!("{} documents were gone when their turn came", counts.gone));
    }
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}
