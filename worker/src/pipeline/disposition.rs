//! What becomes of a delivery whose job failed. None is blamed for a container that does not let us in; none waits for ever.

use std::time::Duration;

use nightread_domain::retry::Delay;
use nightread_domain::{Disposition, ErrorClass, ErrorCode, Job, JobError, Stage};

use super::tools::Tools;
use crate::flow::unix_now;

/// How long a study waits for what this machine has too little of, where that is no fault of the study: it loses no attempt.
pub(super) const fn waits_for_machine(code: ErrorCode) -> Option<Duration> {
    match code {
        ErrorCode::SpoolUnavailable => Some(Duration::from_mins(1)),
        ErrorCode::LaneTimeSpent => Some(Delay::Seconds30.length()),
        _ => None,
    }
}

/// Until a job has waited for so long it is tried again with the delay beside it.
const PATIENCE: [(Duration, Duration); 2] = [
    (Duration::from_mins(1), Delay::Seconds5.length()),
    (Duration::from_mins(10), Delay::Seconds30.length()),
];

/// Why the job need not even ask: its container does not answer, or no job can end. One whose time is over asks once
/// more, so that what is said of it is its own.
pub(super) fn closed(job: &Job, tools: &Tools) -> Option<JobError> {
    let outages = &tools.outages;
    if let Some((code, why)) = outages.paused() {
        return Some(waits(code, &why));
    }
    let (code, why) = outages.closed(job.study.container())?;
    (!is_overdue(job, tools)).then(|| waits(code, &why))
}

fn waits(code: ErrorCode, why: &str) -> JobError {
    JobError::new(Stage::Fetch, code, why).with_class(ErrorClass::Transient)
}

/// Whether a failure tells of storage, so that no attempt is counted.
fn is_away(error: &JobError, job: &Job, tools: &Tools) -> bool {
    error.code.is_outage() && !is_own_so_far(error, job, tools)
}

/// Whether a failure is the job's own, so that it may use up its attempts.
pub(super) fn is_own(error: &JobError, job: &Job, tools: &Tools) -> bool {
    !error.code.is_outage() || is_own_so_far(error, job, tools)
}

fn is_own_so_far(error: &JobError, job: &Job, tools: &Tools) -> bool {
    let container = container_of(error, job, tools);
    if tools.outages.paused().is_some() || tools.outages.closed(container).is_some() {
        return false;
    }
    !error.code.is_refusal() || error.beside_answers
}

/// What is stored is stored in the results; all else is of the source.
fn container_of<'a>(error: &JobError, job: &'a Job, tools: &'a Tools) -> &'a str {
    if error.stage == Stage::Store { &tools.results_container } else { job.study.container() }
}

/// Puts a job off. One whose own container refuses, while others are served, is given up when its time is over.
fn postponed(job: &Job, error: JobError, tools: &Tools) -> Disposition {
    let is_refused =
        error.code.is_refusal() && error.stage != Stage::Store && tools.outages.paused().is_none();
    if !is_refused {
        // Behind a pause nothing is taken anyhow, and jobs are at hand when it ends.
        let usual = if tools.outages.paused().is_some() {
            Delay::Seconds5.length()
        } else {
            Delay::Seconds30.length()
        };
        let delay = error.retry_after.unwrap_or(usual).max(Delay::Seconds5.length());
        return Disposition::Postpone { delay, error, refused_since: None };
    }
    refused(error, job.refused_since, tools.limits.refused)
}

/// What becomes of a message whose container does not let us in, the first time at `since` (seconds since 1970; none: now): it is
/// asked again, for `most` at the longest, and then is a dead letter, which can be redriven.
fn refused(error: JobError, since: Option<u64>, most: Duration) -> Disposition {
    given_time(error, since, most, "its container has not let us in")
}

/// What becomes of a message that waits, since `since`, for a fault that people have to mend: without an attempt, for `most` at the
/// longest; what has lasted so long is told before the error, as `what`.
pub(crate) fn given_time(error: JobError, since: Option<u64>, most: Duration, what: &str) -> Disposition {
    if has_waited(since, most) {
        let minutes = most.as_secs().div_ceil(60);
        let told = format!("{what} for {minutes} minutes: {}", error.message);
        let error = JobError::new(error.stage, error.code, told).with_class(ErrorClass::Permanent);
        return Disposition::DeadLetter { error };
    }
    let now = unix_now();
    let since = since.unwrap_or(now);
    let waited = Duration::from_secs(now.saturating_sub(since));
    let step = PATIENCE.iter().find(|(until, _)| waited < *until);
    let delay = step.map_or(Delay::Minutes5.length(), |(_, delay)| *delay);
    let error = error.with_class(ErrorClass::Transient);
    Disposition::Postpone { delay, error, refused_since: Some(since) }
}

/// What becomes of the delivery of a job that failed without a document.
pub(super) fn of_failure(job: &Job, error: JobError, tools: &Tools) -> Disposition {
    if let Some(usual) = waits_for_machine(error.code) {
        let delay = error.retry_after.unwrap_or(usual);
        return Disposition::Postpone { delay, error, refused_since: None };
    }
    match error.class {
        ErrorClass::Fatal => Disposition::Return,
        ErrorClass::Permanent => Disposition::DeadLetter { error },
        // While storage is away no job is to blame.
        ErrorClass::Transient if is_away(&error, job, tools) => postponed(job, error, tools),
        ErrorClass::Transient => {
            let usual = Delay::after(job.attempt).length();
            let delay = error.retry_after.unwrap_or(usual).max(Delay::Seconds5.length());
            Disposition::RetryAfter { delay, error }
        }
    }
}

/// A message that names what it must not, or nothing that exists here, gets no document: it must not create paths.
pub(super) fn is_documented(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::SourceNotAllowed
            | ErrorCode::UnknownModel
            | ErrorCode::NoRoute
            | ErrorCode::MessageUnparseable
            // Of this worker and its broker, not of the study.
            | ErrorCode::ExceedsLaneTime
            | ErrorCode::SetMissing
            | ErrorCode::SetInvalid
            | ErrorCode::PartOfSeries
            // There is a document, and it stays.
            | ErrorCode::ResultNewerSchema
    )
}

fn is_overdue(job: &Job, tools: &Tools) -> bool {
    has_waited(job.refused_since, tools.limits.refused)
}

fn has_waited(since: Option<u64>, most: Duration) -> bool {
    since.is_some_and(|since| unix_now().saturating_sub(since) >= most.as_secs())
}
