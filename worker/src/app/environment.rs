//! The environment the program runs in, settled before any thread exists.
//!
//! - ONNX Runtime reads its opt-out of reporting home from the environment while it is loaded, and writes and sends unless
//!   it finds it.
//! - Backtraces are off. The standard library takes one lock while it captures or prints a backtrace, and takes it again to
//!   tell that memory ran out: a thread that gets no memory in between waits for itself for ever, and the worker keeps its
//!   messages instead of ending. A panic still tells its words and its place.
//!
//! A process cannot change its own environment soundly, so this one starts itself anew: same process id, arguments and open
//! files, with the variables as they are wanted. Whatever starts the program may set them and so save that millisecond.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, io, process};

use nightread_engine::{TELEMETRY_OFF, telemetry_is_off};

use crate::app;
use crate::cli::Cli;

/// Holds the id of a process that has started itself anew already: an environment that does not reach it would make it do
/// so for ever.
const STARTED_ANEW: &str = "NIGHTREAD_STARTED_ANEW";

/// What has panics print backtraces, and what has errors of libraries capture them.
const BACKTRACES: [&str; 2] = ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];
const NO_BACKTRACES: &str = "0";

/// A variable and the value it shall have, or none.
type Change = (&'static str, Option<&'static str>);

/// Returns when the environment is as it is wanted, and else starts this program anew in that environment. Call it before
/// any thread exists.
///
/// Errors: the program cannot be started anew.
pub fn settle(cli: &Cli) -> io::Result<()> {
    let changes: Vec<_> = telemetry(cli).into_iter().chain(backtraces()).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let names = changes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let this_process = OsString::from(process::id().to_string());
    if env::var_os(STARTED_ANEW).is_some_and(|id| id == this_process) {
        return Err(io::Error::other(format!("the environment of this program does not take {names}")));
    }
    let mut arguments = env::args_os();
    let mut anew = Command::new(env::current_exe()?);
    if let Some(called) = arguments.next() {
        anew.arg0(called);
    }
    anew.args(arguments).env(STARTED_ANEW, this_process);
    for (name, value) in changes {
        match value {
            Some(value) => anew.env(name, value),
            None => anew.env_remove(name),
        };
    }
    let refused = anew.exec();
    Err(io::Error::new(refused.kind(), format!("cannot start anew with {names} settled: {refused}")))
}

/// Whether ONNX Runtime may report is a setting of those commands that load it.
fn telemetry(cli: &Cli) -> Option<Change> {
    let wanted = cli.opens_models_by().is_some_and(|common| {
        let (_, settings, _) = app::settings(common, &[]);
        settings.is_some_and(|settings| settings.engine.runtime_telemetry)
    });
    let (name, off) = TELEMETRY_OFF;
    (telemetry_is_off() == wanted).then_some((name, (!wanted).then_some(off)))
}

/// Only what is set needs an answer: without a variable there are no backtraces.
fn backtraces() -> impl Iterator<Item = Change> {
    let asked = |name: &str| env::var_os(name).is_some_and(|value| value != OsStr::new(NO_BACKTRACES));
    BACKTRACES.into_iter().filter(move |name| asked(name)).map(|name| (name, Some(NO_BACKTRACES)))
}
