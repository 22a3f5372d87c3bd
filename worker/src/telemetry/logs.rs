//! Logs: JSON lines for services, short lines for people. Never patient identifiers, never blob names.
//!
//! `NIGHTREAD_LOG` raises what Nightread itself says. Libraries print requests, whole messages and signed URLs at their own
//! levels, so they are heard at `error` only, whatever is asked for.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The variable that says what is logged, as `tracing` has it.
pub const FILTER: &str = "NIGHTREAD_LOG";

/// Who reads the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody at a terminal: warnings and errors, on standard error.
    Person,
    /// A log collector: JSON, one object a line, on standard error.
    Collector,
}

impl Reader {
    /// A person where standard error is a terminal; a journal collects everything else.
    pub fn here() -> Self {
        if io::stderr().is_terminal() { Self::Person } else { Self::Collector }
    }
}

/// How much somebody wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    #[default]
    Usual,
    Verbose,
    Debug,
}

static VERBOSITY: OnceLock<Verbosity> = OnceLock::new();

/// Sets what was asked for on the command line; once, before logging starts.
pub fn ask(verbosity: Verbosity) {
    // A second command in one process, as in tests, keeps the first.
    let _already_set = VERBOSITY.set(verbosity);
}

pub fn verbosity() -> Verbosity {
    VERBOSITY.get().copied().unwrap_or_default()
}

/// Whether a line can hold nothing but what this program chose to say. ONNX Runtime knows models and tensors, no studies.
fn is_safe(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    library.starts_with("nightread") || library == "ort" || *line.level() == Level::ERROR
}

/// Keeps exporters going; drop it last.
#[derive(Debug, Default)]
#[must_use = "dropping this ends the export of traces"]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    _exporting: Option<super::traces::Exporting>,
}

/// Starts logging, and traces where they are built in and an endpoint is set; `NIGHTREAD_LOG` (for example
/// `info,nightread=debug`) overrides the level.
pub fn start(reader: Reader) -> Telemetry {
    let default = match reader {
        Reader::Person => match verbosity() {
            Verbosity::Quiet => "error,ort=off",
            Verbosity::Usual => "warn,ort=error",
            Verbosity::Verbose => "warn,ort=error,nightread=info",
            Verbosity::Debug => "warn,ort=error,nightread=debug",
        },
        Reader::Collector => match verbosity() {
            Verbosity::Quiet => "warn",
            Verbosity::Usual | Verbosity::Verbose => "info,ort=warn",
            Verbosity::Debug => "info,nightread=debug,ort=warn",
        },
    };
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(default));
    let filter = filter.and(filter_fn(is_safe));
    let coloured =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = fmt::layer().with_ansi(coloured).with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match reader {
        Reader::Person => lines.without_time().with_target(false).with_filter(filter).boxed(),
        Reader::Collector => {
            lines.json().with_current_span(true).with_span_list(false).with_filter(filter).boxed()
        }
    };
    let registry = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otlp")]
    match super::traces::start() {
        Ok(Some((tracer, exporting))) => {
            let exported =
                tracing_opentelemetry::layer().with_tracer(tracer).with_filter(super::traces::own());
            let _already_started = registry.with(exported).try_init();
            return Telemetry { _exporting: Some(exporting) };
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "traces cannot be exported"),
    }
    // A second start, as in tests that run several commands in one process, keeps the first.
    let _already_started = registry.try_init();
    Telemetry::default()
}
