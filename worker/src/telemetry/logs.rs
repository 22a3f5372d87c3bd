//! Logs: JSON lines for services, short lines for people. Never patient identifiers, never blob names.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

/// Who reads the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody at a terminal: warnings and errors, on standard error.
    Person,
    /// A log collector: JSON, one object a line, on standard error.
    Collector,
}

/// Starts logging; `NIGHTREAD_LOG` (for example `info,nightread=debug`) overrides the level.
pub fn start(reader: Reader) {
    let default = match reader {
        Reader::Person => "warn,ort=error",
        Reader::Collector => "info,ort=warn,lapin=warn",
    };
    let filter = EnvFilter::try_from_env("NIGHTREAD_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    // A second start, as in tests that run several commands in one process, keeps the first.
    let _already_started = match reader {
        Reader::Person => lines.without_time().with_target(false).try_init(),
        Reader::Collector => lines.json().with_current_span(true).with_span_list(false).try_init(),
    };
}
