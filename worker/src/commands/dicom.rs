//! `nightread dicom`.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::runtime;
use crate::cli::dicom::{DicomArgs, DicomCommand};
use crate::console::{FAILED, answer, say};
use crate::services::dicom::{send, write};
use crate::telemetry::logs;

pub(super) fn run(args: &DicomArgs) -> Result<ExitCode> {
    let _telemetry = logs::start(logs::Reader::Person);
    let runtime = runtime::two_threads()?;
    match &args.command {
        DicomCommand::Write(args) => {
            let written = runtime.block_on(write::run(args))?;
            written.notes().iter().for_each(|note| say(note));
            answer(args.format, || written.as_text(), || written.as_json())?;
            Ok(ExitCode::SUCCESS)
        }
        DicomCommand::Send(args) => {
            let sent = runtime.block_on(send::run(args))?;
            sent.notes.iter().for_each(|note| say(note));
            answer(args.format, || sent.as_text(), || sent.as_json())?;
            Ok(if sent.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
        }
    }
}
