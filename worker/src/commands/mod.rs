//! One file per subcommand. Exit status: 0 all is well, 1 something failed, 2 wrong use.

mod check;
mod group_ica;
mod models;
mod process;
mod run;
mod simulate;
mod table;
mod topology;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

pub(crate) const FAILED: u8 = 1;
pub(crate) const WRONG_USE: u8 = 2;

/// Runs what was typed.
pub fn run(cli: Cli) -> ExitCode {
    let ended = match cli.command {
        Command::Process(args) => process::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Models(args) => models::run(&args),
        Command::GroupIca(args) => group_ica::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::CodecChild => {
            nightread_imaging::codec_child::serve(std::io::stdin().lock(), std::io::stdout().lock())
                .map(|()| ExitCode::SUCCESS)
                .map_err(anyhow::Error::from)
        }
    };
    ended.unwrap_or_else(|error| {
        say(&format!("nightread: {error:#}"));
        ExitCode::from(FAILED)
    })
}

/// One line on standard error.
#[allow(clippy::print_stderr)]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// One piece of output on standard output. A closed pipe (`| head`) is no failure.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let _closed_pipe = writeln!(std::io::stdout().lock(), "{text}");
}
