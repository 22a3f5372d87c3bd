//! What the outer header promises of a frame, held against the frame's own.

use nightread_domain::error::{ErrorCode, JobError};

use super::CodecRequest;
use crate::error::refuse;

/// Holds the frame's own header against the request; gives the precision.
pub(super) fn check(request: &CodecRequest<'_>, size: (u32, u32), bits: u32) -> Result<u8, JobError> {
    if size != (request.columns, request.rows) {
        return Err(refuse(
            ErrorCode::DecodeFailed,
            format!(
                "the compressed image is {} x {} pixels, its header says {} x {}",
                size.0, size.1, request.columns, request.rows
            ),
        ));
    }
    u8::try_from(bits).ok().filter(|&bits| bits > 0 && u16::from(bits) <= request.bits).ok_or_else(|| {
        refuse(
            ErrorCode::DecodeFailed,
            format!("the compressed image has {bits} bits, its header allocates {}", request.bits),
        )
    })
}

pub(super) fn one_component(components: usize) -> Result<(), JobError> {
    if components == 1 {
        return Ok(());
    }
    let message = format!("the compressed image has {components} components; one is read");
    Err(refuse(ErrorCode::ColourImage, message))
}
