//! What can be typed after `nightread assemble`.

use clap::Args;

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread assemble --config /etc/nightread/worker.toml     until told to stop
  nightread assemble --once --format json                    what is there now, until each series is announced

Event Grid puts an event for each file into the Storage queue of NIGHTREAD_ASSEMBLE_QUEUE_URL, a queue beside the relay's. Files \
on a route with instances = true are sorted by the Series UID in their headers, whatever folder they lie in; a series to which \
nothing was added for [assemble] quiet_seconds, or that is complete by its own headers, is written down as a set and announced. \
Files that come later make a new version of the set, which is announced again. Everything else is announced as it is. Killed at any \
instant it loses nothing. Several may share a queue. SIGTERM finishes what is in flight.
Exit status: 0 stopped or done, 1 it could not go on, 2 wrong use.")]
pub struct AssembleArgs {
    #[command(flatten)]
    pub common: Common,
    /// End when the queue is empty and every series is announced
    #[arg(long)]
    pub once: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
