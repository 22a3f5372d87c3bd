//! `nightread dead redrive` and `discard`.

use std::process::ExitCode;

use anyhow::Result;

use crate::adapters::amqp::Handling;
use crate::cli::Format;
use crate::cli::dead::Chosen;
use crate::console::{FAILED, answer, say};
use crate::services::dead::{Letters, redact};

/// Does `verdict` to the chosen letters; without one it only counts them.
pub(super) async fn take(
    letters: Letters,
    chosen: &Chosen,
    limit: Option<u32>,
    verdict: Option<Handling>,
    format: Format,
) -> Result<ExitCode> {
    let taken = letters.take(chosen, limit, verdict).await;
    answer(format, || taken.as_text(), || taken.as_json())?;
    for id in &taken.unmet {
        say(&format!("no dead letter is called {}", redact::line(id)));
    }
    if let Err(error) = &taken.ended {
        say(&format!("nightread: {error}"));
    }
    let well = taken.ended.is_ok() && taken.unmet.is_empty();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
