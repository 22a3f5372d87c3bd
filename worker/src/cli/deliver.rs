//! What can be typed after `nightread deliver`.

use clap::Args;

use super::common::Common;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread deliver --config /etc/nightread/worker.toml

Workers that are told of an archive ([deliver] archive, [[targets]]) ask for each stored result to be sent there; this command \
takes these orders from the queue nightread.deliveries, makes the DICOM objects and sends them by STOW-RS or C-STORE. What an \
archive has is recorded with the results, so that the same content is sent once. An archive that is away costs no attempt: its \
results wait. What an archive refuses becomes a dead letter of its own (`nightread dead list --deliveries`). Several may run side \
by side. SIGTERM finishes what is in flight.

Exit status: 0 stopped, 1 it could not go on, 2 wrong use.")]
pub struct DeliverArgs {
    #[command(flatten)]
    pub common: Common,
}
