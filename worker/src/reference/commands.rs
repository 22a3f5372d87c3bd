//! The page of commands, from what the command line says of itself.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::{MADE, row};
use crate::cli::Cli;

pub(super) fn page() -> String {
    let mut text = format!(
        "# Commands\n\n{MADE}\n\n`nightread --help` and `nightread COMMAND --help` say the same; packages bring manual pages (`man nightread-process`). \
         Every command takes `--verbose` (`-v`: what is done; `-vv`: details) and `--quiet` (`-q`: failures only). Those that take settings take \
         `--config FILE` (or `NIGHTREAD_CONFIG`) and `--models DIR`.\n"
    );
    let mut cli = Cli::command();
    cli.build();
    describe(&cli, &mut text);
    text
}

fn describe(command: &Command, text: &mut String) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = sub.get_bin_name().unwrap_or_default();
        let _infallible = write!(text, "\n## {name}\n\n{}.\n", plain(sub.get_about()));
        if sub.has_subcommands() {
            describe(sub, text);
            continue;
        }
        let usage = sub.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let _infallible = write!(text, "\n```text\n{usage}\n```\n");
        let own: Vec<&Arg> = sub.get_arguments().filter(|argument| is_own(argument)).collect();
        if !own.is_empty() {
            text.push_str("\n| argument | default | meaning |\n|---|---|---|\n");
        }
        for argument in own {
            row(text, &[&format!("`{}`", shape(argument)), &default(argument), &meaning(argument)]);
        }
        let after = plain(sub.get_after_help());
        if !after.is_empty() {
            let _infallible = write!(text, "\n```text\n{after}\n```\n");
        }
    }
}

/// What is not told once for all commands.
fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set()
        && !["help", "version", "verbose", "quiet", "config", "models"].contains(&argument.get_id().as_str())
}

/// As it is typed: `--out DIR`, `PATH`.
fn shape(argument: &Arg) -> String {
    let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let value = argument.get_value_names().unwrap_or_default().join(" ");
    match argument.get_long() {
        Some(long) if takes => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn default(argument: &Arg) -> String {
    let values = argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
    let values: Vec<_> = values.filter(|_| !is_switch).map(|value| format!("`{value}`")).collect();
    values.join(" ")
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let help = plain(help).lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let possible = argument.get_possible_values();
    let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let names: Vec<_> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
    let choice =
        if takes && !names.is_empty() { format!("one of {}", names.join(", ")) } else { String::new() };
    let parts: Vec<_> = [help, choice].into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

fn plain(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
