//! What people read: lines, tables, exit status. 0 all is well, 1 something failed, 2 wrong use.

pub(crate) mod page;
pub(crate) mod table;

use std::io::{ErrorKind, Write};

use anyhow::Context;
use nightread_domain::error::with_causes;
use serde::Serialize;

use crate::cli::Format;

pub(crate) const FAILED: u8 = 1;

pub(crate) const WRONG_USE: u8 = 2;

/// An error and every cause behind it that it does not say already.
pub(crate) fn in_full(error: &anyhow::Error) -> String {
    with_causes(error.to_string(), error.source())
}

/// One line on standard error.
#[allow(clippy::print_stderr)]
pub(crate) fn say(line: &str) {
    let lines: Vec<_> = line.lines().map(table::shown).collect();
    eprintln!("{}", lines.join("\n"));
}

/// An answer in the form that was asked for.
pub(crate) fn answer<J: Serialize>(
    format: Format,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> J,
) -> anyhow::Result<()> {
    match format {
        Format::Table => print(&text()),
        Format::Json => print(&serde_json::to_string_pretty(&json())?),
    }
}

/// One piece of output on standard output. A closed pipe (`| head`) is no failure; a full disk is.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
