//! What reading a file needs besides its bytes.

use crate::codec::IsolatedCodec;

/// What reading may take and use.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'a> {
    /// Bytes that a deflated data set, or a frame, may inflate to.
    pub max_inflated_bytes: u64,
    /// Runs the codecs of compressed frames; without one they are `unsupported_transfer_syntax`.
    pub codec: Option<&'a dyn IsolatedCodec>,
}
