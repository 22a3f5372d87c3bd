//! What is said of a command that failed, and its exit status.

use std::process::ExitCode;

use crate::app::WrongUse;
use crate::console::{FAILED, WRONG_USE, in_full, say};

/// Says what went wrong, and gives the exit status.
pub(super) fn status(error: &anyhow::Error) -> u8 {
    if let Some(wrong) = error.downcast_ref::<WrongUse>() {
        say(&wrong.to_string());
        return WRONG_USE;
    }
    say(&format!("nightread: {}", in_full(error)));
    FAILED
}

/// Tells why nothing was run.
pub fn refuse(reason: &std::io::Error) -> ExitCode {
    say(&format!("nightread: {reason}"));
    ExitCode::from(FAILED)
}
