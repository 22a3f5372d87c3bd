//! Our own data sets in implicit VR little endian, which every archive must take (PS3.5, 10.1).

use crate::error::{ArchiveError, Fault};

const UNDEFINED: u32 = u32::MAX;
/// Group of items and delimiters, which have no VR in either form.
const ITEMS: u16 = 0xFFFE;
/// VRs with 32 bits of length (PS3.5, 7.1.2).
const LONG: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// Takes the VRs out of a data set in explicit VR little endian. Sequences must end by delimiters, as this crate writes them: the
/// length of one would change with its contents.
///
/// # Errors
/// `Internal` for what this crate does not write.
pub(crate) fn implicit(explicit: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let fault = || ArchiveError::new(Fault::Internal, "a data set of ours is not in the form that we write");
    let mut made = Vec::with_capacity(explicit.len());
    let mut at = 0;
    while at < explicit.len() {
        let head = explicit.get(at..at + 8).ok_or_else(fault)?;
        let group = u16::from_le_bytes([head[0], head[1]]);
        let long = |from: usize| -> Result<u32, ArchiveError> {
            let bytes =
                explicit.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(fault)?;
            Ok(u32::from_le_bytes(bytes))
        };
        made.extend_from_slice(&head[..4]);
        if group == ITEMS {
            let length = long(at + 4)?;
            if length != UNDEFINED && length != 0 {
                return Err(fault());
            }
            made.extend_from_slice(&head[4..]);
            at += 8;
            continue;
        }
        let is_long = LONG.iter().any(|vr| vr[..] == head[4..6]);
        let (value, length) = if is_long {
            (at + 12, long(at + 8)?)
        } else {
            (at + 8, u32::from(u16::from_le_bytes([head[6], head[7]])))
        };
        made.extend_from_slice(&length.to_le_bytes());
        at = value;
        let is_sequence = &head[4..6] == b"SQ";
        if length == UNDEFINED && is_sequence {
            continue;
        }
        if is_sequence && length > 0 || length == UNDEFINED {
            return Err(fault());
        }
        let end = value + length as usize;
        made.extend_from_slice(explicit.get(value..end).ok_or_else(fault)?);
        at = end;
    }
    Ok(made)
}
