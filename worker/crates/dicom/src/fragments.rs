//! The fragments of compressed pixel data, and what may be wrong with their frame.

use dicom_core::Tag;
use nightread_domain::error::{ErrorCode, JobError};
use nightread_domain::warning::{Warning, WarningCode};

use super::element::{Form, ITEM, SEQUENCE_END};
use crate::error::refuse;

/// One frame is one fragment, or a few hundred when a writer streams; a million would be an attack on memory.
const MAX_FRAGMENTS: usize = 65_536;
/// Items are in the byte order of the encapsulated syntaxes.
const FORM: Form = Form::IMPLICIT;

/// The fragments of all frames, and the offset table before them.
pub(super) struct Fragments<'a> {
    pub(super) fragments: Vec<&'a [u8]>,
    /// Empty where there is no table.
    pub(super) offsets: Vec<u32>,
}

/// Collects the fragments of one frame that start at `at`, without the offset table before them.
///
/// A missing end mark is a warning: whether the frame is whole, its own codec knows.
pub(super) fn fragments<'a>(
    data: &'a [u8],
    at: usize,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<&'a [u8]>, JobError> {
    let Fragments { fragments, offsets } = collect(data, at, warnings)?;
    if offsets.len() > 1 {
        return Err(several(offsets.len(), "the offset table has"));
    }
    let images = images(&fragments);
    if images > 1 {
        return Err(several(images, "the fragments hold"));
    }
    Ok(fragments)
}

/// Collects what starts at `at`, of any number of frames.
pub(super) fn collect<'a>(
    data: &'a [u8],
    mut at: usize,
    warnings: &mut Vec<Warning>,
) -> Result<Fragments<'a>, JobError> {
    let mut fragments: Vec<&[u8]> = Vec::new();
    let mut table: Option<&[u8]> = None;
    loop {
        let rest = data.get(at..).unwrap_or_default();
        let (Some(tag), Some(length)) = (FORM.tag(rest, 0), FORM.long(rest, 4)) else {
            unclosed(rest, !fragments.is_empty(), warnings)?;
            break;
        };
        match tag {
            ITEM => {
                let item = item(rest, length)?;
                at += 8 + item.len();
                if table.is_none() {
                    if !starts_an_image(item) {
                        table = Some(item);
                        continue;
                    }
                    table = Some(&[]);
                    warnings.push(Warning::new(
                        WarningCode::HeaderRepaired,
                        "the offset table in front of the fragments is missing",
                    ));
                }
                if fragments.len() >= MAX_FRAGMENTS {
                    return Err(refuse(
                        ErrorCode::HeaderInvalid,
                        format!("the pixel data is in more than {MAX_FRAGMENTS} fragments"),
                    ));
                }
                fragments.push(item);
            }
            SEQUENCE_END => break,
            // Trailing padding, or zeros where the delimiter should be.
            other if other > Tag(0x7FE0, 0x0010) && other.0 != ITEM.0 && !fragments.is_empty() => {
                warn_unclosed(warnings);
                break;
            }
            _ if !fragments.is_empty() && rest.iter().all(|&byte| byte == 0) => {
                warn_unclosed(warnings);
                break;
            }
            other => {
                return Err(refuse(
                    ErrorCode::HeaderInvalid,
                    format!(
                        "behind fragment {} of the pixel data stands {other}, neither a fragment nor the end mark",
                        fragments.len()
                    ),
                ));
            }
        }
    }
    let entries = table.unwrap_or_default().as_chunks().0.iter();
    Ok(Fragments { fragments, offsets: entries.map(|entry| u32::from_le_bytes(*entry)).collect() })
}

pub(super) fn several(frames: usize, what: &str) -> JobError {
    refuse(
        ErrorCode::MultiFrame,
        format!("the file's header says one frame, but {what} {frames}; one image was expected"),
    )
}

fn item(rest: &[u8], length: u32) -> Result<&[u8], JobError> {
    if length == u32::MAX {
        return Err(refuse(ErrorCode::HeaderInvalid, "a fragment of the pixel data has no length"));
    }
    let length = length as usize;
    rest.get(8..8 + length).ok_or_else(|| {
        refuse(
            ErrorCode::Truncated,
            format!(
                "the file ends inside its pixel data: {} of a fragment's {length} bytes are there",
                rest.len() - 8
            ),
        )
    })
}

/// Fewer bytes are left than a mark has: nothing, zeros, a part of the end mark, remains of something. Only the start of
/// another fragment proves that the file was cut.
fn unclosed(rest: &[u8], started: bool, warnings: &mut Vec<Warning>) -> Result<(), JobError> {
    if !started || FORM.tag(rest, 0) == Some(ITEM) {
        return Err(refuse(ErrorCode::Truncated, "the file ends inside its pixel data"));
    }
    warn_unclosed(warnings);
    Ok(())
}

fn warn_unclosed(warnings: &mut Vec<Warning>) {
    warnings.push(Warning::new(
        WarningCode::MissingDelimiter,
        "the pixel data has no end mark; its frame was taken as far as it goes",
    ));
}

/// How many JPEG or JPEG 2000 images start in fragments of their own behind one that ended.
fn images(fragments: &[&[u8]]) -> usize {
    1 + fragments.windows(2).filter(|pair| ends_an_image(pair[0]) && starts_an_image(pair[1])).count()
}

/// The end of a JPEG or of a JPEG 2000 codestream, and zeros at most behind it.
fn ends_an_image(fragment: &[u8]) -> bool {
    let length = fragment.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    fragment[..length].ends_with(&[0xFF, 0xD9])
}

/// The start of a JPEG or of a JPEG 2000 codestream.
pub(super) fn starts_an_image(fragment: &[u8]) -> bool {
    fragment.starts_with(&[0xFF, 0xD8, 0xFF]) || fragment.starts_with(&[0xFF, 0x4F, 0xFF, 0x51])
}
