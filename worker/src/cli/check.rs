//! What can be typed after `nightread check`.

use clap::ValueEnum;

/// A command whose needs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    Process,
    Run,
    Relay,
    Assemble,
    Deliver,
    Announce,
    Backlog,
    Webhook,
}
