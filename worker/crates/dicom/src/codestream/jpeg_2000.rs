//! The markers of a JPEG 2000 codestream (ITU-T T.800 annex A), judged before the codec sees it: its size, and whether its
//! tile parts are all there. Decoding itself is the isolated codec's.

use std::borrow::Cow;

use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;

/// Tiles cost memory each, however few pixels they have; whole-slide images are not read.
const MAX_TILES: u64 = 4096;

const EOC: [u8; 2] = [0xFF, 0xD9];
/// Zeros that end a tile part by chance; more are what a cut file was filled up with.
const MOST_ZEROS: usize = 3;

/// Finds the codestream of one frame (some writers wrap it in a JP2 file) and checks that it is one grey image of
/// `columns` x `rows`, whole but for its end marker at most. Tells whether that was missing, and was added.
pub(crate) fn check(frame: &[u8], columns: u32, rows: u32) -> Result<(Cow<'_, [u8]>, bool), JobError> {
    let size = Size::read(frame)?;
    size.check(columns, rows)?;
    let codestream = size.codestream;
    Ok(match lacks_end_marker(codestream)? {
        None => (Cow::Borrowed(codestream), false),
        Some(end) => (Cow::Owned([&codestream[..end], &EOC].concat()), true),
    })
}

/// Where the last tile part ends, if nothing or zeros follow it instead of the end marker.
fn lacks_end_marker(codestream: &[u8]) -> Result<Option<usize>, JobError> {
    let mut at = 2;
    while codestream.get(at..at + 2).ok_or_else(cut_short)? != [0xFF, 0x90] {
        at += 2 + number(codestream, at + 2, 2).ok_or_else(cut_short)?;
    }
    loop {
        match codestream.get(at..at + 2) {
            Some([0xFF, 0x90]) => {}
            Some([0xFF, 0xD9]) => return Ok(None),
            None | Some([0, 0]) => break,
            Some(_) => return Err(cut_short()),
        }
        let length = number(codestream, at + 6, 4).ok_or_else(cut_short)?;
        if length == 0 {
            // The last one, of unknown length: only the end marker tells that it is whole.
            let end = codestream.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
            return if codestream[..end].ends_with(&EOC) { Ok(None) } else { Err(cut_short()) };
        }
        if length < 14 {
            return Ok(None);
        }
        at = at.saturating_add(length);
        if at > codestream.len() {
            return Err(cut_short());
        }
    }
    let zeros = codestream[..at].iter().rev().take_while(|&&byte| byte == 0).count();
    if zeros > MOST_ZEROS { Err(cut_short()) } else { Ok(Some(at)) }
}

/// The big-endian number of `count` bytes at `at`; `None` where the codestream ends before.
fn number(codestream: &[u8], at: usize, count: usize) -> Option<usize> {
    let bytes = codestream.get(at..at + count)?;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}

fn cut_short() -> JobError {
    refuse(ErrorCode::Truncated, "the JPEG 2000 image ends before its last tile part does")
}

fn no_size_marker() -> JobError {
    refuse(ErrorCode::DecodeFailed, "the JPEG 2000 codestream has no usable size marker")
}

/// What the codestream's SIZ marker promises.
struct Size<'a> {
    codestream: &'a [u8],
    width: u32,
    height: u32,
    tiles: u64,
    components: u16,
    precision: u8,
}

impl<'a> Size<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, JobError> {
        let start =
            frame.windows(4).position(|mark| mark == [0xFF, 0x4F, 0xFF, 0x51]).ok_or_else(no_size_marker)?;
        let codestream = &frame[start..];
        // SOC, SIZ, Lsiz, Rsiz; then Xsiz Ysiz XOsiz YOsiz XTsiz YTsiz XTOsiz YTOsiz, Csiz and Ssiz of component 0.
        let words = codestream.get(8..40).ok_or_else(no_size_marker)?.as_chunks::<4>().0;
        let [x, y, x_offset, y_offset, tile_x, tile_y, tile_x_offset, tile_y_offset] =
            std::array::from_fn(|k| u32::from_be_bytes(words[k]));
        let components =
            codestream.get(40..42).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(no_size_marker)?;
        let depth = *codestream.get(42).ok_or_else(no_size_marker)?;
        if tile_x == 0 || tile_y == 0 {
            return Err(no_size_marker());
        }
        let across = u64::from(x.saturating_sub(tile_x_offset)).div_ceil(u64::from(tile_x));
        let down = u64::from(y.saturating_sub(tile_y_offset)).div_ceil(u64::from(tile_y));
        Ok(Self {
            codestream,
            width: x.checked_sub(x_offset).ok_or_else(no_size_marker)?,
            height: y.checked_sub(y_offset).ok_or_else(no_size_marker)?,
            tiles: across.saturating_mul(down),
            components,
            precision: (depth & 0x7F) + 1,
        })
    }

    fn check(&self, columns: u32, rows: u32) -> Result<(), JobError> {
        if (self.width, self.height) != (columns, rows) {
            return Err(refuse(
                ErrorCode::DecodeFailed,
                format!(
                    "the compressed image is {} x {} pixels, its header says {columns} x {rows}",
                    self.width, self.height
                ),
            ));
        }
        if self.components != 1 {
            return Err(refuse(ErrorCode::ColourImage, "the JPEG 2000 image inside is in colour"));
        }
        if self.precision > 16 {
            return Err(refuse(
                ErrorCode::UnsupportedMedia,
                format!("JPEG 2000 of {} bits is not read", self.precision),
            ));
        }
        if self.tiles > MAX_TILES {
            return Err(refuse(
                ErrorCode::DecodeFailed,
                format!("the JPEG 2000 image is cut into {} tiles; the limit is {MAX_TILES}", self.tiles),
            ));
        }
        Ok(())
    }
}
