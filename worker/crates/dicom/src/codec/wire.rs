//! What parent and child say to each other over pipes: lines of JSON, some followed by raw bytes.

use nightread_domain::error::ErrorCode;
use serde::{Deserialize, Serialize};

/// The longest line either side accepts.
pub(super) const MAX_LINE: usize = 4096;

/// The first line to the child: what it may use for as long as it lives.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    /// Address space, the program's own code included.
    pub(super) memory_bytes: u64,
}

/// The first line from the child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "greeting")]
pub(super) enum Greeting {
    /// Confined, and waiting for frames.
    Ready,
    /// This system would not confine it, so it does nothing.
    Unconfined { message: String },
}

/// One line for each frame; the compressed frame of `frame_bytes` follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) codec: String,
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) bits: u16,
    pub(super) signed: bool,
    pub(super) working_bytes: u64,
    pub(super) frame_bytes: u64,
    /// Processor time for this frame.
    pub(super) cpu_seconds: u64,
}

/// The line that answers it; after `Decoded` exactly `columns * rows` samples follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub(super) enum Answer {
    Decoded {
        precision: u8,
    },
    /// The frame is not what it should be.
    Refused {
        code: ErrorCode,
        message: String,
    },
}
