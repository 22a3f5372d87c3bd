//! What the caller asks of a decode: limits, the gate's policy, and the isolated codec.

use std::sync::Arc;

use nightread_dicom::IsolatedCodec;

use crate::gate::GatePolicy;
use crate::limits::DecodeLimits;

/// Everything `decode` needs besides the bytes.
#[derive(Clone, Debug, Default)]
pub struct DecodeOptions {
    pub limits: DecodeLimits,
    pub gate: GatePolicy,
    /// The true maximum of a 16-bit PNG or TIFF (a 15-bit image stored in 16 bits has 32767). The header cannot say
    /// it. A sample above it is `value_out_of_range`.
    pub stored_max: Option<u32>,
    /// Runs the codecs of compressed images; without one, JPEG, JPEG-LS and JPEG 2000 are
    /// `unsupported_transfer_syntax`.
    pub codec: Option<Arc<dyn IsolatedCodec>>,
}
