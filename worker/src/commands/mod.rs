//! One file a subcommand: it reads arguments and settings, makes the runtime, has a service do the work, prints what that gave
//! and chooses the exit status: 0 all is well, 1 something failed, 2 wrong use.

mod announce;
mod assemble;
mod backlog;
mod bench;
mod check;
mod dead;
mod deliver;
mod dicom;
mod failure;
mod group_ica;
mod manual;
mod models;
mod prepare;
mod process;
mod reference;
mod relay;
mod results;
mod run;
mod simulate;
mod simulate_scan;
mod topology;
mod webhook;

use std::process::ExitCode;

use nightread_dicom::codec_child;

pub use self::failure::refuse;
use crate::cli::{Cli, Command};
use crate::console::print;
use crate::telemetry::logs;

/// Runs what was typed.
pub fn run(cli: Cli) -> ExitCode {
    logs::ask(cli.verbosity());
    let ended = match cli.command {
        Command::Process(args) => process::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Dead(args) => dead::run(&args),
        Command::Announce(args) => announce::run(&args),
        Command::Assemble(args) => assemble::run(&args),
        Command::Relay(args) => relay::run(&args),
        Command::Deliver(args) => deliver::run(&args),
        Command::Webhook(args) => webhook::run(&args),
        Command::Backlog(args) => backlog::run(&args),
        Command::Results(args) => results::run(&args),
        Command::Dicom(args) => dicom::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Prepare(args) => prepare::run(&args),
        Command::GroupIca(args) => group_ica::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::SimulateScan(args) => simulate_scan::run(&args),
        Command::Completions { shell } => manual::complete(shell),
        Command::Man { out } => manual::write(&out),
        Command::CodecChild => codec_child::serve().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Contract => print(&crate::contract::text()).map(|()| ExitCode::SUCCESS),
        Command::Reference { out } => reference::run(&out),
    };
    ended.unwrap_or_else(|error| ExitCode::from(failure::status(&error)))
}
