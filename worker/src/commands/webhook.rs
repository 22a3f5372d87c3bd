//! `nightread webhook`: events over HTTP, to RabbitMQ.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::app::{runtime, sound_settings};
use crate::cli::{Format, WebhookArgs};
use crate::console::print;
use crate::services::webhook;
use crate::telemetry::logs;

pub(super) fn run(args: &WebhookArgs) -> Result<ExitCode> {
    let settings = sound_settings(&args.common, webhook::require)?;
    let _telemetry = logs::start(logs::Reader::Collector);
    let published = webhook::run(&settings, runtime::two_threads()?)?;
    match args.format {
        Format::Json => print(&json!({ "published": published }).to_string())?,
        Format::Table => print(&format!("{published} messages published"))?,
    }
    Ok(ExitCode::SUCCESS)
}
