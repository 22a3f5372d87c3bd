//! What parent and child say to each other over pipes: one line of JSON, then raw bytes.

use serde::{Deserialize, Serialize};

/// The longest line either side accepts.
pub(super) const MAX_LINE: u64 = 4096;

/// The first line to the child; the compressed frame of `frame_bytes` follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) codec: String,
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) bits: u16,
    pub(super) frame_bytes: u64,
    /// Address space the child allows itself.
    pub(super) memory_bytes: u64,
    /// Processor time the child allows itself.
    pub(super) cpu_seconds: u64,
}

/// The first line from the child; after `Decoded` the samples follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub(super) enum Answer {
    Decoded {
        precision: u8,
    },
    /// The frame is not what it should be.
    Refused {
        message: String,
    },
    /// The frame is sound and holds values below zero.
    Negative,
}
