//! `nightread results compare`: prints or writes it, and judges it by the limits.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use nightread_compare::{Comparison, html, markdown, page};

use crate::cli::results::{CompareArgs, ComparisonFormat};
use crate::console::page::text;
use crate::console::{FAILED, print, say};
use crate::services::results::compare::{self, Compared};
use crate::services::results::output::write_whole;

pub(super) async fn run(args: &CompareArgs) -> Result<ExitCode> {
    let Compared { comparison, unread } = compare::run(args).await?;
    for line in unread {
        say(&line);
    }
    let written = written(args, &comparison)?;
    match &args.out {
        Some(path) => {
            write_whole(path, format!("{written}\n").as_bytes())?;
            let Comparison { flips, decisions, compared, .. } = &comparison;
            print(&format!("{flips} of {decisions} decisions differ over {compared} studies"))?;
        }
        None => print(&written)?,
    }
    for check in comparison.checks.iter().filter(|check| !check.passed) {
        say(&format!(
            "past the limit: {}: {} of {}, at most {}",
            check.what, check.found, check.of, check.limit
        ));
    }
    Ok(if comparison.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn written(args: &CompareArgs, comparison: &Comparison) -> Result<String> {
    let written = match args.format.unwrap_or_else(|| usual_format(args.out.as_deref())) {
        ComparisonFormat::Text => text(&page(comparison)),
        ComparisonFormat::Markdown => markdown(&page(comparison)),
        ComparisonFormat::Json => serde_json::to_string_pretty(comparison)?,
        ComparisonFormat::Html => html(&page(comparison)),
    };
    Ok(written.trim_end().to_owned())
}

/// As the file's name ends.
fn usual_format(out: Option<&Path>) -> ComparisonFormat {
    match out.and_then(Path::extension).and_then(|end| end.to_str()) {
        Some("md") => ComparisonFormat::Markdown,
        Some("json") => ComparisonFormat::Json,
        Some("html" | "htm") => ComparisonFormat::Html,
        _ => ComparisonFormat::Text,
    }
}
