//! What can be typed after `nightread relay`.

use clap::Args;

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread relay --config /etc/nightread/worker.toml        until told to stop
  nightread relay --once --format json                       what is there now, then an account

Event Grid puts events into the Storage queue of NIGHTREAD_RELAY_QUEUE_URL; this command takes up to 32 at a time,
publishes each to its lane, waits for the broker's confirmation, and deletes it. Killed at any instant it may announce
twice and never loses. What cannot be decoded, or was taken too often, is put aside into the queue QUEUE-poison.
Several relays may share a queue. SIGTERM finishes what is in flight.
Exit status: 0 stopped or done, 1 it could not go on, 2 wrong use.")]
pub struct RelayArgs {
    #[command(flatten)]
    pub common: Common,
    /// End when the queue is empty
    #[arg(long)]
    pub once: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
