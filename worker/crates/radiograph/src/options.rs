//! What the caller asks of a decode: limits, the gate's policy, and the isolated codec.

use std::sync::Arc;

use nightread_dicom::IsolatedCodec;

use crate::gate::GatePolicy;

/// Caps that are checked from headers, before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height.
    pub max_pixels: u64,
    /// Bytes that one blob may inflate to: a deflated data set, the rows of a PNG, the strips of a TIFF.
    pub max_inflated_bytes: u64,
    /// The shorter side, in pixels.
    pub min_side: u32,
}

impl Default for DecodeLimits {
    /// 40 megapixels are twice the largest picture of PadChest (4280 x 4280); 256 MiB hold them as 16-bit RGB; below 64
    /// pixels nothing of a chest can be seen.
    fn default() -> Self {
        Self { max_pixels: 40_000_000, max_inflated_bytes: 256 << 20, min_side: 64 }
    }
}

/// Everything `decode` needs besides the bytes.
#[derive(Clone, Debug, Default)]
pub struct DecodeOptions {
    pub limits: DecodeLimits,
    pub gate: GatePolicy,
    /// The true maximum of a 16-bit PNG or TIFF (a 15-bit picture stored in 16 bits has 32767). The header cannot say
    /// it. A sample above it is `value_out_of_range`.
    pub stored_max: Option<u32>,
    /// Runs the codecs of compressed pictures; without one, JPEG, JPEG-LS and JPEG 2000 are
    /// `unsupported_transfer_syntax`.
    pub codec: Option<Arc<dyn IsolatedCodec>>,
}
