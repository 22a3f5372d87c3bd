//! The thin binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    nightread::commands::run(nightread::cli::Cli::from_command_line())
}
