//! What is about to happen to a machine, and who tells of it.

use std::fmt;

use async_trait::async_trait;
use nightread_domain::JobError;
use time::OffsetDateTime;

/// What is to become of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Freeze,
    Preempt,
    Reboot,
    Redeploy,
    Terminate,
}

impl EventKind {
    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Freeze, Self::Preempt, Self::Reboot, Self::Redeploy, Self::Terminate]
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Preempt => "preempt",
            Self::Reboot => "reboot",
            Self::Redeploy => "redeploy",
            Self::Terminate => "terminate",
        }
    }

    /// A freeze is a pause of some seconds: connections and memory outlive it.
    pub const fn ends_the_worker(self) -> bool {
        !matches!(self, Self::Freeze)
    }

    /// The machine, or another in its place, starts its services again.
    pub const fn comes_back(self) -> bool {
        matches!(self, Self::Reboot | Self::Redeploy)
    }
}

/// One event that was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub kind: EventKind,
    /// Names of the machines that it is about.
    pub resources: Vec<String>,
    /// It has begun, and needs no approval any more.
    pub started: bool,
    /// Not before this time, unless it is approved earlier.
    pub not_before: Option<OffsetDateTime>,
}

/// Who tells of events. The service itself, and scripts in tests.
#[async_trait]
pub trait EventSource: fmt::Debug + Send + Sync {
    /// The name of this machine, as events name it.
    async fn name(&self) -> Result<String, JobError>;
    /// What is announced for the whole placement group.
    async fn events(&self) -> Result<Vec<Event>, JobError>;
    /// Says that this event may begin now.
    async fn approve(&self, event_id: &str) -> Result<(), JobError>;
}
