//! What can go wrong with a job: a stable code, a class that decides what happens next, and the stage it happened in.

mod code;
mod machine;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use code::ErrorCode;

/// `text`, and each of a chain of causes that it does not say already.
pub fn with_causes(mut text: String, mut next: Option<&(dyn StdError + 'static)>) -> String {
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// What an error means for the job and for the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May pass by itself: retried in the process, then through a delay queue.
    Transient,
    /// Will fail the same way every time: a failed-document, or a dead letter for a bad message.
    Permanent,
    /// The worker itself cannot go on: deliveries are returned and the process exits non-zero.
    Fatal,
}

/// The step of the job in which an error was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Announce,
    Fetch,
    Decode,
    Preprocess,
    Infer,
    Report,
    Store,
    Settle,
    /// Sending results on, after they are stored.
    Deliver,
    Start,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Fetch => "fetch",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Infer => "infer",
            Self::Report => "report",
            Self::Store => "store",
            Self::Settle => "settle",
            Self::Deliver => "deliver",
            Self::Start => "start",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// One failure of one job. The message is for people, names no patient, and is written into the failed-document.
#[derive(Clone, Debug)]
pub struct JobError {
    pub stage: Stage,
    pub code: ErrorCode,
    pub class: ErrorClass,
    pub message: String,
    /// What the other side asked us to wait, when it said so.
    pub retry_after: Option<Duration>,
    /// Of a refusal: others of its container were let in just before, so that it is the blob's own.
    pub beside_answers: bool,
    source: Option<Arc<dyn StdError + Send + Sync + 'static>>,
}

impl JobError {
    /// An error of the code's usual class.
    pub fn new(stage: Stage, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            stage,
            code,
            class: code.class(),
            message: message.into(),
            retry_after: None,
            beside_answers: false,
            source: None,
        }
    }

    #[must_use]
    pub fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn at_stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// The message and every cause behind it that it does not say already.
    pub fn in_full(&self) -> String {
        with_causes(self.message.clone(), self.source())
    }

    pub fn is_transient(&self) -> bool {
        self.class == ErrorClass::Transient
    }

    /// Whether trying again in seconds may help: not where storage refuses, and not where the blob itself has to change.
    pub fn may_pass_soon(&self) -> bool {
        self.is_transient()
            && !self.code.is_refusal()
            && !matches!(self.code, ErrorCode::BlobChanged | ErrorCode::BlobBusy)
    }

    pub fn is_fatal(&self) -> bool {
        self.class == ErrorClass::Fatal
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} in {})", self.in_full(), self.code, self.stage)
    }
}

impl StdError for JobError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_once() {
        let innermost = std::io::Error::other("connection refused");
        let error =
            JobError::new(Stage::Start, ErrorCode::BrokerUnavailable, "no broker").with_source(innermost);
        assert_eq!(error.in_full(), "no broker: connection refused");
        assert_eq!(error.to_string(), "no broker: connection refused (broker_unavailable in start)");
        let said = JobError::new(Stage::Start, ErrorCode::Internal, "no: why").with_source("why");
        assert_eq!(said.in_full(), "no: why");
    }
}
