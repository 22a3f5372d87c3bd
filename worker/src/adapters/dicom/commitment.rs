//! Storage commitment as its user (PS3.4, annex J): asks an archive to keep what it stored, and waits for what it says.

use std::time::Duration;

use nightread_archive::Object;
use nightread_archive::commitment::{COMMITMENT_CLASS, CommitmentReport, request, transaction};
use nightread_domain::delivery::CommitmentOutcome;
use nightread_domain::{ErrorCode, JobError};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

use super::command;
use super::line::{IMPLICIT, Line};
use super::options::{CommitmentOptions, failed};
use super::peer::Open;

/// Requests for the same objects, each under a UID of its own, where an archive takes none that it has seen.
const MOST_ROUNDS: u32 = 16;
const SUCCESS: u16 = 0x0000;
/// The UID of the request is in use.
const DUPLICATE: u16 = 0x0131;
/// For the end of an association that nothing depends on.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// The UID of the last request.
    pub transaction: String,
    /// Of each object, in their order.
    pub outcomes: Vec<Result<(), JobError>>,
}

impl Commitment {
    /// Whether the archive commits itself to every object.
    pub fn outcome(&self) -> CommitmentOutcome {
        let is_whole = self.outcomes.iter().all(Result::is_ok);
        if is_whole { CommitmentOutcome::Committed } else { CommitmentOutcome::CommitmentFailed }
    }
}

/// Who waits, and under which UID was asked last.
struct Asking<'a> {
    line: &'a Line,
    options: &'a CommitmentOptions,
    objects: &'a [Object],
    transaction: String,
    hears: Receiver<CommitmentReport>,
    waits: mpsc::Sender<CommitmentReport>,
}

/// Asks for all of `objects` at once, and waits for the report, by this association or by one that the archive opens.
pub(super) async fn commit(line: &Line, options: &CommitmentOptions, objects: &[Object]) -> Commitment {
    let (waits, hears) = mpsc::channel(MOST_ROUNDS as usize);
    let transaction = transaction(&line.peer, objects, 0);
    let mut asking = Asking { line, options, objects, transaction, hears, waits };
    let told = timeout(options.patience, asking.told()).await;
    let told = told.unwrap_or_else(|_| Err(late("the archive said nothing in time")));
    let outcomes = match told {
        Ok(report) => objects.iter().map(|object| outcome(&report, &object.sop_instance)).collect(),
        Err(error) => vec![Err(error); objects.len()],
    };
    Commitment { transaction: asking.transaction, outcomes }
}

impl Asking<'_> {
    async fn told(&mut self) -> Result<CommitmentReport, JobError> {
        if let Some(known) = self.options.reports.expect(&self.transaction, self.waits.clone()) {
            return Ok(known);
        }
        let opened = self.line.open(&[(COMMITMENT_CLASS, IMPLICIT)], self.options.patience).await;
        let mut open = opened.map_err(|error| after_storing(&error))?;
        let context = open.context(COMMITMENT_CLASS, IMPLICIT).ok_or_else(unsupported)?;
        if let Some(known) = self.ask(&mut open, context).await? {
            return Ok(known);
        }
        let report = self.heard(&mut open).await?;
        // The report is here: how the association ends changes nothing.
        if !matches!(timeout(END_PATIENCE, open.end()).await, Ok(Ok(()))) {
            tracing::debug!("the association of a storage commitment was not released");
        }
        Ok(report)
    }

    /// Asks until the archive takes a request; a report that came before, where one did.
    async fn ask(&mut self, open: &mut Open, context: u8) -> Result<Option<CommitmentReport>, JobError> {
        for (round, message) in (0..MOST_ROUNDS).zip(1_u16..) {
            self.transaction = transaction(&self.line.peer, self.objects, round);
            if let Some(known) = self.options.reports.expect(&self.transaction, self.waits.clone()) {
                return Ok(Some(known));
            }
            let data = request(&self.transaction, self.objects);
            let data = data.map_err(|error| failed(ErrorCode::Internal, error.to_string()))?;
            self.line
                .command(open, context, command::action(message))
                .await
                .map_err(|error| after_storing(&error))?;
            self.line.data(open, context, &data).await.map_err(|error| after_storing(&error))?;
            match self.answer(open, message).await? {
                SUCCESS => return Ok(None),
                DUPLICATE => {}
                status => return Err(of_status(status)),
            }
        }
        Err(of_reason(DUPLICATE, "the request"))
    }

    /// The status of the request, before which its report may come.
    async fn answer(&self, open: &mut Open, message: u16) -> Result<u16, JobError> {
        loop {
            let heard =
                open.message().await.map_err(|trouble| after_storing(&self.line.trouble(&trouble)))?;
            let heard = heard.ok_or_else(|| away("the archive ended the association without an answer"))?;
            match heard.command.answer() {
                Some(answer) if answer.message == message => return Ok(answer.status),
                _ => self.take(open, &heard).await?,
            }
        }
    }

    /// The report, from wherever it comes.
    async fn heard(&mut self, open: &mut Open) -> Result<CommitmentReport, JobError> {
        let mut is_open = true;
        loop {
            let message = tokio::select! {
                biased;
                report = self.hears.recv() => {
                    return report.ok_or_else(|| failed(ErrorCode::Internal, "nobody can report any more"));
                }
                message = open.message(), if is_open => message,
            };
            match message {
                Ok(Some(message)) => self.take(open, &message).await?,
                // The report may come by an association of the archive's own.
                Ok(None) | Err(_) if self.options.reports.are_listened_for() => is_open = false,
                Ok(None) | Err(_) => {
                    return Err(late(
                        "the archive ended the association without a report, and [deliver] commitment_listen lets it bring none by \
                         another",
                    ));
                }
            }
        }
    }

    async fn take(&self, open: &mut Open, message: &super::peer::Message) -> Result<(), JobError> {
        let heard = self.options.reports.hear(open, message).await;
        heard.map_err(|error| away("the archive broke the association").with_source(error))
    }
}

/// The archive accepts no request for storage commitment.
pub(super) fn unsupported() -> JobError {
    failed(
        ErrorCode::CommitmentUnsupported,
        "the archive accepts no presentation context for storage commitment",
    )
}

fn late(text: &str) -> JobError {
    failed(ErrorCode::CommitmentTimeout, text)
}

fn away(text: &str) -> JobError {
    failed(ErrorCode::CommitmentUnavailable, text)
}

/// A trouble of an archive that stored the same objects just before: it is away for this alone.
fn after_storing(error: &JobError) -> JobError {
    match error.code {
        ErrorCode::DeliveryUnsupported => unsupported(),
        ErrorCode::DeliveryTimeout => late(&error.message),
        _ => away(&error.in_full()),
    }
}

/// Of a status of N-ACTION other than success (PS3.7, 10.1.4.1.10).
fn of_status(status: u16) -> JobError {
    match status {
        // No such SOP class, not supported, no such action, an operation that it does not know.
        0x0118 | 0x0122 | 0x0123 | 0x0211 => failed(
            ErrorCode::CommitmentUnsupported,
            format!("the archive answered the request for storage commitment with status 0x{status:04X}"),
        ),
        _ => of_reason(status, "the request"),
    }
}

/// Of a reason why an object is not committed (PS3.3, C.14.1.1). `what` failed.
fn of_reason(reason: u16, what: &str) -> JobError {
    let (code, meaning) = match reason {
        0x0110 => (ErrorCode::CommitmentProcessingFailure, "processing failure"),
        0x0112 => (ErrorCode::CommitmentObjectMissing, "no such object instance"),
        0x0119 => (ErrorCode::CommitmentClassConflict, "class and instance conflict"),
        0x0122 => (ErrorCode::CommitmentClassUnsupported, "referenced SOP class not supported"),
        DUPLICATE => (ErrorCode::CommitmentDuplicate, "duplicate transaction UID"),
        0x0213 => (ErrorCode::CommitmentNoRoom, "resource limitation"),
        _ => (ErrorCode::CommitmentRefused, "a reason of its own"),
    };
    failed(code, format!("the archive does not commit itself: {what} failed with 0x{reason:04X}, {meaning}"))
}

fn outcome(report: &CommitmentReport, instance: &str) -> Result<(), JobError> {
    if let Some((_, reason)) = report.failed.iter().find(|(failed, _)| failed == instance) {
        return Err(of_reason(*reason, "the object"));
    }
    if report.committed.iter().any(|committed| committed == instance) {
        return Ok(());
    }
    let text = "the archive's report of the storage commitment does not name the object";
    Err(failed(ErrorCode::CommitmentIncomplete, text))
}
