//! Where deliveries come from, and how they are settled.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::sink::Notice;
use crate::error::{ErrorCode, JobError};
use crate::message::Message;

/// What is to become of a delivery.
#[derive(Debug)]
pub enum Disposition {
    /// Acknowledge: the result is stored, or there was nothing to do.
    Done,
    /// Give it back untouched, nothing counted (drain, pause, fatal error): it is not to blame.
    Return,
    /// Publish a copy with `attempt` + 1 to the delay of at least this length, confirm, then acknowledge.
    RetryAfter { delay: Duration, error: JobError },
    /// The same without counting an attempt: the outside world is away, the job is not to blame. `refused_since`: since when
    /// its container has not let us in, in seconds since 1970; it travels with the copy.
    Postpone { delay: Duration, error: JobError, refused_since: Option<u64> },
    /// Publish to the dead letters with the code, confirm, then acknowledge.
    DeadLetter { error: JobError },
    /// Publish to the quarantine, confirm, then acknowledge: it is to run alone. `started`: the worker failed over it, which
    /// counts as one more start.
    Quarantine { started: bool },
    /// Publish each of these as a message of its own, confirm, then acknowledge.
    Split(Vec<Message>),
}

impl Disposition {
    /// The labels of those that come of an error, and of those that do not.
    pub const WITH_CODE: [&str; 3] = ["retried", "postponed", "dead_lettered"];
    pub const WITHOUT_CODE: [&str; 4] = ["done", "returned", "quarantined", "split"];

    /// The label of this disposition in metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Return => "returned",
            Self::RetryAfter { .. } => "retried",
            Self::Postpone { .. } => "postponed",
            Self::DeadLetter { .. } => "dead_lettered",
            Self::Quarantine { .. } => "quarantined",
            Self::Split(_) => "split",
        }
    }

    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::RetryAfter { error, .. } | Self::Postpone { error, .. } | Self::DeadLetter { error } => {
                Some(error.code)
            }
            Self::Done | Self::Return | Self::Quarantine { .. } | Self::Split(_) => None,
        }
    }
}

/// The right to settle one delivery, once. Dropped unsettled, the delivery goes back to the queue.
#[async_trait]
pub trait Settlement: Debug + Send {
    /// To be told before the delivery is acknowledged, whatever becomes of it. A queue that nobody listens to need not.
    fn tell_first(&mut self, _notices: Vec<Notice>) {}

    /// Waits as long as the queue does not take what must be published first: the delivery stays in flight meanwhile. An
    /// error here is never a failure of the job: the message comes again and finds its result.
    async fn settle(self: Box<Self>, disposition: Disposition) -> Result<(), JobError>;
}

/// One message in flight.
#[derive(Debug)]
pub struct Delivery {
    pub message: Message,
    pub settlement: Box<dyn Settlement>,
}

/// A source of deliveries. Owns its session: reconnects by itself, and ends only when told to or when drained.
#[async_trait]
pub trait Intake: Debug + Send {
    /// The next delivery; `None` when there will be no more. Cancel-safe.
    async fn next(&mut self) -> Result<Option<Delivery>, JobError>;

    /// Stops handing out deliveries; those in flight can still be settled.
    async fn stop(&mut self);
}
