//! Whether a JPEG-LS frame (ITU-T T.87) is closed, judged before the codec sees it. The codec itself refuses one whose data
//! are short.

use std::borrow::Cow;

use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;

const EOI: [u8; 2] = [0xFF, 0xD9];
/// Zeros that an even length, or a writer's word, may have added.
const PADDING: usize = 3;

/// The frame up to its end marker, and whether that was missing alone and was added.
///
/// # Errors
/// `truncated` where the frame runs into zeros: they would decode.
pub(crate) fn check(frame: &[u8]) -> Result<(Cow<'_, [u8]>, bool), JobError> {
    let end = frame.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let data = &frame[..end];
    if data.ends_with(&EOI) {
        return Ok((Cow::Borrowed(data), false));
    }
    if frame.len() - end > PADDING {
        return Err(refuse(ErrorCode::Truncated, "the JPEG-LS image ends before it should"));
    }
    Ok((Cow::Owned([data, &EOI].concat()), true))
}
