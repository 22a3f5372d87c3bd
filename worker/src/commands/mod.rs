//! One file per subcommand. Exit status: 0 all is well, 1 something failed, 2 wrong use.

pub mod announce;
pub mod backlog;
mod bench;
pub mod check;
pub mod dead;
mod group_ica;
mod manual;
mod models;
mod process;
pub mod relay;
mod run;
pub(crate) mod simulate;
mod simulate_scan;
mod table;
mod topology;
pub(crate) mod walk;
pub mod webhook;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::adapters::queue::rabbitmq::RabbitOptions;
use crate::app;
use crate::cli::{Cli, Command, Common};
use crate::settings::{Problems, Settings};
use crate::telemetry::logs;
use crate::{contract, reference};

pub(crate) const FAILED: u8 = 1;
pub(crate) const WRONG_USE: u8 = 2;

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

/// Settings that are sound and in which `require` misses nothing; `None` otherwise, and then every problem has been told.
pub(crate) fn sound_settings(
    common: &Common,
    require: impl FnOnce(&Settings, &mut Problems),
) -> Option<Settings> {
    let (_, settings, mut problems) = app::settings(common, &[]);
    if let Some(settings) = &settings {
        require(settings, &mut problems);
    }
    let sound = settings.filter(|_| problems.is_empty());
    if sound.is_none() {
        say(&problems.to_string());
    }
    sound
}

pub(crate) fn require_broker(settings: &Settings, problems: &mut Problems) {
    if settings.broker.is_none() {
        problems.add("[broker] url is missing (NIGHTREAD_BROKER_URL)");
    }
}

/// Settings and how to reach the broker; `None` when they are not sound, and then every problem has been told.
pub(crate) fn broker_of(common: &Common) -> anyhow::Result<Option<(Settings, RabbitOptions)>> {
    let Some(settings) = sound_settings(common, require_broker) else { return Ok(None) };
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    let options = app::rabbit(broker, &settings.limits)?;
    Ok(Some((settings, options)))
}

/// The first SIGTERM or SIGINT cancels the first of `stops`, the second the next.
pub(crate) fn stop_on_signals<const N: usize>(stops: [CancellationToken; N]) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for stop in stops {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop");
            stop.cancel();
        }
    });
    Ok(())
}

/// An error and every cause behind it that it does not say already.
pub(crate) fn in_full(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

/// One line on standard error.
#[allow(clippy::print_stderr)]
pub(crate) fn say(line: &str) {
    let lines: Vec<_> = line.lines().map(table::shown).collect();
    eprintln!("{}", lines.join("\n"));
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
