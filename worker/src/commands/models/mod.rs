//! `nightread models`: what could be used, and what is missing for the rest; tools for whoever brings a network.

mod gate;

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{self, WrongUse, runtime};
use crate::cli::Common;
use crate::cli::models::{CheckModelArgs, ModelsArgs, ModelsCommand, NewArgs, ParityArgs, PushArgs};
use crate::console::{FAILED, answer, say};
use crate::services::models::parity::Tolerance;
use crate::services::models::{check, list, new, parity, push};
use crate::settings::Settings;
use crate::telemetry::logs;

pub(super) fn run(args: &ModelsArgs) -> Result<ExitCode> {
    match &args.command {
        None => list(args),
        Some(ModelsCommand::New(args)) => begin(args),
        Some(ModelsCommand::Check(args)) => try_out(args),
        Some(ModelsCommand::Parity(args)) => compare(args),
        Some(ModelsCommand::Gate(args)) => gate::run(args),
        Some(ModelsCommand::Push(args)) => publish(args),
    }
}

/// What is wrong with settings that no model needs is not told here.
fn settings(common: &Common) -> Result<Settings> {
    let (_, settings, problems) = app::settings(common, &[]);
    Ok(settings.ok_or_else(|| WrongUse(problems.to_string()))?)
}

fn begin(args: &NewArgs) -> Result<ExitCode> {
    let settings = settings(&args.common)?;
    let begun = new::run(&args.name, &args.from, &settings.models_dir)?;
    begun.faults().iter().for_each(|fault| say(fault));
    answer(args.format, || begun.as_text(), || begun.as_json())?;
    Ok(ExitCode::SUCCESS)
}

fn try_out(args: &CheckModelArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let settings = settings(&args.common)?;
    let looked = check::run(&args.name, &settings)?;
    looked.problems().iter().for_each(|problem| say(problem));
    answer(args.format, || looked.as_text(), || looked.as_json())?;
    Ok(if looked.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn compare(args: &ParityArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let settings = settings(&args.common)?;
    let tolerance = Tolerance { share: args.tolerance, probability: args.probability };
    let compared = parity::run(&args.name, &args.reference, &args.python, &args.paths, tolerance, &settings)?;
    compared.problems().for_each(|problem| say(&problem));
    answer(args.format, || compared.as_text(), || compared.as_json())?;
    Ok(if compared.agrees() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn publish(args: &PushArgs) -> Result<ExitCode> {
    let settings = settings(&args.common)?;
    let published = push::run(&args.name, &args.to, &settings, &runtime::one_thread()?)?;
    answer(args.format, || published.as_text(), || published.as_json())?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ModelsArgs) -> Result<ExitCode> {
    let settings = settings(&args.common)?;
    let catalogue = app::catalogue(&settings, None)?;
    answer(args.format, || list::as_text(&catalogue), || list::as_json(&catalogue))?;
    for broken in catalogue.problems() {
        say(&broken.to_string());
    }
    Ok(if catalogue.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
