//! Keeps ONNX Runtime from reporting home.
//!
//! It reads its opt-out from the environment while it is loaded, and writes and sends unless it finds it. A process cannot
//! change its own environment soundly, so this one starts itself anew: same process id, arguments and open files, with the
//! variable as the settings want it. Whatever starts the program may set the variable and so save that millisecond.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, io, process};

use nightread_engine::{TELEMETRY_OFF, telemetry_is_off};

use crate::app;
use crate::cli::Cli;

/// Holds the id of a process that has started itself anew already: an environment that does not reach it would make it do
/// so for ever.
const STARTED_ANEW: &str = "NIGHTREAD_STARTED_ANEW";

/// Returns when the environment is as the settings want it, and else starts this program anew in that environment. Call it
/// before any thread exists.
///
/// Errors: the program cannot be started anew.
pub fn settle(cli: &Cli) -> io::Result<()> {
    let wanted = cli.opens_models_by().is_some_and(|common| {
        let (_, settings, _) = app::settings(common, &[]);
        settings.is_some_and(|settings| settings.engine.runtime_telemetry)
    });
    if telemetry_is_off() != wanted {
        return Ok(());
    }
    let (name, value) = TELEMETRY_OFF;
    let this_process = OsString::from(process::id().to_string());
    if env::var_os(STARTED_ANEW).is_some_and(|id| id == this_process) {
        return Err(io::Error::other(format!("the environment of this program does not take {name}")));
    }
    let mut arguments = env::args_os();
    let mut anew = Command::new(env::current_exe()?);
    if let Some(called) = arguments.next() {
        anew.arg0(called);
    }
    anew.args(arguments).env(STARTED_ANEW, this_process);
    if wanted {
        anew.env_remove(name)
    } else {
        anew.env(name, value)
    };
    let refused = anew.exec();
    Err(io::Error::new(refused.kind(), format!("cannot start anew with {name} settled: {refused}")))
}
