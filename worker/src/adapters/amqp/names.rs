//! What exchanges, queues and keys are called.

use nightread_domain::Lane;
use nightread_domain::retry::Delay;

pub const JOBS: &str = "nightread";
pub const DEAD: &str = "nightread.dead";
pub const DELAY: &str = "nightread.delay";
pub const QUARANTINE: &str = "nightread.quarantine";
pub const RESULTS: &str = "nightread.results";
pub const DEAD_QUEUE: &str = "nightread.jobs.dead";
/// What may kill workers; taken one at a time, so that the broker's delivery count is the number of starts.
pub const QUARANTINE_QUEUE: &str = "nightread.jobs.quarantine";

/// What is put off until somebody brings it back: work of the lane `bulk` that a night did not get done.
pub const PARKED: &str = "nightread.jobs.parked";
/// The key under which it lies there; `parked.<lane>` goes there too.
pub const PARKED_KEY: &str = "parked";

/// Results that are to be sent to archives.
pub const DELIVERIES: &str = "nightread.deliveries";
/// Those that were given up: an exchange, and the queue behind it.
pub const DELIVERIES_DEAD: &str = "nightread.deliveries.dead";
/// The key under which they are published; `delivery.<target>` goes there too.
pub const DELIVERY_KEY: &str = "delivery";

/// What workers and `nightread backlog` tell of the work. One reader at a time gets all of it, and gives it back.
pub const REPORTS: &str = "nightread.reports";

/// The header by which the delay exchange routes.
pub(super) const DELAY_HEADER: &str = "delay";

/// The key that scans bore before volumes had a lane, and the lane that reads them now.
pub const FORMER_KEY: &str = "job.fmri";
pub const FORMER_LANE: Lane = Lane::Volumes;
pub(super) const FORMER_BINDING: &str = "job.fmri.#";

/// A queue of an earlier version, which nothing new goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerQueue {
    pub queue: &'static str,
    /// How the earlier version led messages into it.
    pub exchange: &'static str,
    pub key: &'static str,
    /// The queue that is read instead.
    pub heir: &'static str,
    /// The exchange into which messages that lie there are to be moved.
    pub way: &'static str,
}

pub const FORMER_QUEUES: [FormerQueue; 2] = [
    FormerQueue {
        queue: "nightread.jobs.fmri",
        exchange: JOBS,
        key: FORMER_BINDING,
        heir: "nightread.jobs.volumes",
        way: JOBS,
    },
    FormerQueue {
        queue: "nightread.jobs.suspect",
        exchange: "nightread.suspect",
        key: "",
        heir: QUARANTINE_QUEUE,
        way: QUARANTINE,
    },
];

/// The queue in which messages wait so long.
pub fn delay_queue(delay: Delay) -> String {
    format!("nightread.jobs.delay.{}", delay.as_str())
}

pub fn lane_queue(lane: Lane) -> String {
    format!("nightread.jobs.{}", lane.as_str())
}
