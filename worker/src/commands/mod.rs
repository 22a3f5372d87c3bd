//! One file a subcommand, or a service behind it. Exit status: 0 all is well, 1 something failed, 2 wrong use.

mod group_ica;
mod manual;
mod models;
mod simulate_scan;
mod topology;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{Cli, Command};
use crate::console::{FAILED, in_full, print, say};
use crate::services::{announce, backlog, bench, check, dead, process, relay, simulate, webhook, worker};
use crate::telemetry::logs;
use crate::{contract, reference};

/// Runs what was typed.
pub fn run(cli: Cli) -> ExitCode {
    logs::ask(cli.verbosity());
    let ended = match cli.command {
        Command::Process(args) => process::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Run(args) => worker::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Dead(args) => dead::run(&args),
        Command::Announce(args) => announce::run(&args),
        Command::Relay(args) => relay::run(&args),
        Command::Webhook(args) => webhook::run(&args),
        Command::Backlog(args) => backlog::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Models(args) => models::run(&args),
        Command::GroupIca(args) => group_ica::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::SimulateScan(args) => simulate_scan::run(&args),
        Command::Completions { shell } => manual::complete(shell),
        Command::Man { out } => manual::write(&out),
        Command::CodecChild => {
            nightread_dicom::codec_child::serve().map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from)
        }
        Command::Contract => print(&contract::text()).map(|()| ExitCode::SUCCESS),
        Command::Reference { out } => write_reference(&out),
    };
    ended.unwrap_or_else(|error| {
        say(&format!("nightread: {}", in_full(&error)));
        ExitCode::from(FAILED)
    })
}

fn write_reference(out: &Path) -> anyhow::Result<ExitCode> {
    for (name, text) in reference::pages() {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells why nothing was run.
pub fn refuse(reason: &std::io::Error) -> ExitCode {
    say(&format!("nightread: {reason}"));
    ExitCode::from(FAILED)
}
