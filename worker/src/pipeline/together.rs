//! What becomes of a delivery whose study several models read: as each one's part ended.

use nightread_domain::result::ErrorFacts;
use nightread_domain::{Disposition, ErrorCode, Job, Lane};

use super::disposition;
use super::each::{Ended, How, unread};
use super::tools::Tools;
use crate::flow::report::{JobReport, Outcome};

/// What became of one delivery's study.
#[derive(Debug)]
pub struct Processed {
    pub disposition: Disposition,
    /// One for each model's part; one without a model where none was chosen.
    pub reports: Vec<JobReport>,
    /// Why the worker cannot go on, where it cannot.
    pub fatal: Option<ErrorFacts>,
}

impl Processed {
    pub const fn new(disposition: Disposition, reports: Vec<JobReport>) -> Self {
        Self { disposition, reports, fatal: None }
    }
}

/// Settles a delivery when every part of it is over: until then it comes again, and meets the results that are there.
pub(super) fn settled(job: &Job, lane: Lane, ended: Vec<Ended>, tools: &Tools) -> Processed {
    let mut processed = Processed::new(Disposition::Done, Vec::with_capacity(ended.len()));
    let count = ended.len();
    for Ended { model, how, elapsed } in ended {
        let report = JobReport { model, ..JobReport::of(job, lane, elapsed) };
        let of_this = match how {
            How::Concluded(mut concluded) => {
                let dead = concluded.dead.take();
                processed.reports.push(concluded.told(report));
                dead.map_or(Disposition::Done, |error| Disposition::DeadLetter { error })
            }
            // The series is announced as a whole; nothing is wrong with its slice.
            How::Failed(error) if error.code == ErrorCode::PartOfSeries => {
                processed.reports.push(JobReport { outcome: Outcome::PartOfSeries, ..report });
                Disposition::Done
            }
            How::Failed(error) => {
                let disposition = disposition::of_failure(job, error.clone(), tools);
                let ends = matches!(disposition, Disposition::DeadLetter { .. });
                let report = unread(&error, ends, report);
                if matches!(disposition, Disposition::Return) {
                    processed.fatal = processed.fatal.or_else(|| report.error.clone());
                }
                processed.reports.push(report);
                disposition
            }
            How::Panicked => {
                tracing::error!(model = report.model, "a reading panicked; its message goes into quarantine");
                Disposition::Quarantine { started: true }
            }
        };
        let of_this = named(of_this, processed.reports.last(), count);
        processed.disposition = joined(processed.disposition, of_this);
    }
    processed
}

/// A dead letter of one of several says which.
fn named(of_this: Disposition, report: Option<&JobReport>, count: usize) -> Disposition {
    match (of_this, report) {
        (Disposition::DeadLetter { mut error }, Some(report)) if count > 1 => {
            error.message = format!("{}: {}", report.model, error.message);
            Disposition::DeadLetter { error }
        }
        (of_this, _) => of_this,
    }
}

/// How much a part has to say in what becomes of the delivery of all.
const fn weight(disposition: &Disposition) -> u8 {
    match disposition {
        Disposition::Done | Disposition::Split(_) => 0,
        Disposition::DeadLetter { .. } => 1,
        Disposition::Postpone { .. } => 2,
        Disposition::RetryAfter { .. } => 3,
        Disposition::Quarantine { .. } => 4,
        Disposition::Return => 5,
    }
}

/// What becomes of a delivery two of whose parts ended so. What may pass comes first: a part that is to be a dead letter is tried again
/// with it, and is one when nothing else is open.
fn joined(one: Disposition, other: Disposition) -> Disposition {
    match (one, other) {
        (Disposition::DeadLetter { mut error }, Disposition::DeadLetter { error: more }) => {
            // The first one's code: a letter has one.
            error.message = format!("{}; {}: {}", error.message, more.code, more.message);
            Disposition::DeadLetter { error }
        }
        (Disposition::RetryAfter { delay, error }, Disposition::RetryAfter { delay: more, .. }) => {
            Disposition::RetryAfter { delay: delay.max(more), error }
        }
        (
            Disposition::Postpone { delay, error, refused_since },
            Disposition::Postpone { delay: more, refused_since: since, .. },
        ) => Disposition::Postpone { delay: delay.max(more), error, refused_since: refused_since.or(since) },
        (one, other) if weight(&other) > weight(&one) => other,
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nightread_domain::{JobError, Stage};
    use proptest::prelude::*;

    use super::*;

    fn error(message: &str) -> JobError {
        JobError::new(Stage::Infer, ErrorCode::StorageTimeout, message)
    }

    fn disposition(kind: u8) -> Disposition {
        let delay = Duration::from_secs(u64::from(kind) * 5);
        match kind {
            0 => Disposition::Done,
            1 | 6 => Disposition::DeadLetter { error: error(&kind.to_string()) },
            2 | 7 => Disposition::Postpone { delay, error: error("away"), refused_since: None },
            3 | 8 => Disposition::RetryAfter { delay, error: error("late") },
            4 => Disposition::Quarantine { started: true },
            _ => Disposition::Return,
        }
    }

    proptest! {
        #[test]
        fn nothing_is_settled_for_good_while_a_part_is_open(kinds in prop::collection::vec(0_u8..9, 1..6)) {
            let all = kinds.iter().map(|kind| disposition(*kind)).fold(Disposition::Done, joined);
            let most = kinds.iter().map(|kind| weight(&disposition(*kind))).max().unwrap_or(0);
            prop_assert_eq!(weight(&all), most);
            let longest = kinds.iter().filter(|kind| weight(&disposition(**kind)) == most).max();
            if let (Disposition::RetryAfter { delay, .. } | Disposition::Postpone { delay, .. }, Some(kind)) = (&all, longest) {
                prop_assert_eq!(delay.as_secs(), u64::from(*kind) * 5);
            }
            if let Disposition::DeadLetter { error } = &all {
                let told = kinds.iter().filter(|kind| **kind != 0).all(|kind| error.message.contains(&kind.to_string()));
                prop_assert!(told, "{:?}", error);
            }
        }
    }
}
