//! What is told of a job that ended.

use std::sync::Arc;
use std::time::Duration;

use nightread_domain::ports::Standing;
use nightread_domain::result::{ErrorFacts, ResultDocument};
use nightread_domain::{BlobRef, ErrorCode, Job, Lane};

/// How a job ended, for the table, the metrics and the result event.
#[derive(Clone, Debug)]
pub struct JobReport {
    pub job: Job,
    pub lane: Lane,
    pub outcome: Outcome,
    /// The model that reads it; empty where none was chosen.
    pub model: String,
    /// The document that stands: written by this job, or there already.
    pub document: Option<Arc<ResultDocument>>,
    pub path: Option<BlobRef>,
    /// Why the study was not read, where it was not.
    pub error: Option<ErrorFacts>,
    pub elapsed: Duration,
    /// Whether `document` was made by this job, and not found.
    pub fresh: bool,
}

impl JobReport {
    /// Of a job that ended without a document: no study, until more is known of it.
    pub fn of(job: &Job, lane: Lane, elapsed: Duration) -> Self {
        Self {
            job: job.clone(),
            lane,
            outcome: Outcome::NoStudy,
            model: String::new(),
            document: None,
            path: None,
            error: None,
            elapsed,
            fresh: false,
        }
    }

    /// The document that stands, whoever wrote it. A delivery may be in two hands: the one that stored may have lost its session
    /// and never tell, and the other is the last that knows of it. The same holds for a document of a newer version: its writer
    /// may have had no other delivery than this one, where a blob was replaced and is not announced again. What is told twice has
    /// the same id.
    pub fn standing(&self) -> Option<Standing<'_>> {
        match self.outcome {
            Outcome::NoStudy | Outcome::PartOfSeries | Outcome::Unfinished(_) | Outcome::GivenUp(_) => None,
            Outcome::Read | Outcome::Failed(_) | Outcome::AlreadyDone | Outcome::Superseded => {
                Some(Standing {
                    job: &self.job,
                    document: self.document.as_deref()?,
                    path: self.path.as_ref()?,
                })
            }
        }
    }
}

/// The label of a finished job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Read,
    Failed(ErrorCode),
    AlreadyDone,
    /// A newer version of the source was read meanwhile.
    Superseded,
    /// The blob stands for a folder.
    NoStudy,
    /// The blob is one slice of a series, which is read as a whole.
    PartOfSeries,
    /// Not finished: comes again.
    Unfinished(ErrorCode),
    /// Ends without a document, as a dead letter: nothing says where one would go, or it cannot be written.
    GivenUp(ErrorCode),
}

impl Outcome {
    /// The labels of those that have an error's code.
    pub const WITH_CODE: [&str; 3] = ["failed", "unfinished", "given_up"];
    /// All labels.
    pub const LABELS: [&str; 8] = [
        "read",
        "already_done",
        "superseded",
        "no_study",
        "part_of_series",
        "failed",
        "unfinished",
        "given_up",
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Failed(_) => "failed",
            Self::AlreadyDone => "already_done",
            Self::Superseded => "superseded",
            Self::NoStudy => "no_study",
            Self::PartOfSeries => "part_of_series",
            Self::Unfinished(_) => "unfinished",
            Self::GivenUp(_) => "given_up",
        }
    }

    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Failed(code) | Self::Unfinished(code) | Self::GivenUp(code) => Some(code),
            Self::Read | Self::AlreadyDone | Self::Superseded | Self::NoStudy | Self::PartOfSeries => None,
        }
    }
}
