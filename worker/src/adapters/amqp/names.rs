//! What exchanges, queues and keys are called.

use nightread_domain::Lane;
use nightread_domain::retry::Delay;

pub const JOBS: &str = "nightread";
pub const DEAD: &str = "nightread.dead";
pub const DELAY: &str = "nightread.delay";
pub const SUSPECT: &str = "nightread.suspect";
pub const RESULTS: &str = "nightread.results";
pub const DEAD_QUEUE: &str = "nightread.jobs.dead";
/// What may kill workers; taken one at a time, so that the broker's delivery count is the number of starts.
pub const SUSPECT_QUEUE: &str = "nightread.jobs.suspect";

/// What workers and `nightread backlog` tell of the work. One reader at a time gets all of it, and gives it back.
pub const REPORTS: &str = "nightread.reports";

/// The header by which the delay exchange routes.
pub(super) const DELAY_HEADER: &str = "delay";

pub const FORMER_QUEUE: &str = "nightread.jobs.fmri";
pub const FORMER_KEY: &str = "job.fmri";
/// By which the earlier version bound its queue.
pub(super) const FORMER_BINDING: &str = "job.fmri.#";
/// Where what bears the key is read now.
pub const FORMER_LANE: Lane = Lane::Volumes;

/// The queue in which messages wait so long.
pub fn delay_queue(delay: Delay) -> String {
    format!("nightread.jobs.delay.{}", delay.as_str())
}

pub fn lane_queue(lane: Lane) -> String {
    format!("nightread.jobs.{}", lane.as_str())
}
