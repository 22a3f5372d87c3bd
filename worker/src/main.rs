//! The thin binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    nightread::commands::run(nightread::cli::Cli::parse())
}
