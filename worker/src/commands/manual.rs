//! Completions for shells and manual pages, made from the command line's own description.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::{Shell, generate};

use crate::cli;
use crate::console::print;

pub(super) fn complete(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    generate(shell, &mut cli::command(), "nightread", &mut script);
    print(String::from_utf8(script).context("a completion script is no UTF-8")?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn write(out: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(out)
        .and_then(|()| clap_mangen::generate_to(cli::command(), out))
        .with_context(|| format!("manual pages cannot be written to {}", out.display()))?;
    Ok(ExitCode::SUCCESS)
}
