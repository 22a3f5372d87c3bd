//! A walk over the data set that reads headers, takes the few values that are wanted, and skips the rest.
//!
//! The token reader of `dicom-parser` is used instead of `dicom-object`: the object tree is built by recursion, so a
//! file of nested sequences overflows the stack, and it reads every value before anything can be refused. Here depth and
//! lengths are checked against the file before each step.

use std::io::Cursor;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::Endianness;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::{DynStatefulDecoder, StatefulDecode};
use nightread_domain::error::{ErrorCode, JobError};

use super::header::Header;
use super::source::Source;
use crate::error::refuse;

/// Sequences inside sequences; real radiographs have a handful.
const MAX_DEPTH: usize = 64;
/// The longest value that is wanted is a code meaning of 64 characters.
const MAX_VALUE: usize = 1024;
/// One frame is one fragment, or a few hundred when a writer streams; a million would be an attack on memory.
const MAX_FRAGMENTS: usize = 65_536;

/// Where the pixels are.
pub(super) enum PixelData<'a> {
    /// Uncompressed, to the end of the element or of the file. `swapped`: bytes of 8-bit samples lie in big-endian words.
    /// `promised`: the length that the element claims.
    Native { bytes: &'a [u8], promised: usize, swapped: bool },
    /// Compressed fragments follow; [`Walk::fragments`] collects them.
    Encapsulated,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    Sequence(Tag),
    Item,
}

/// The walk, before or after the header.
pub(super) struct Walk<'a> {
    data: &'a [u8],
    big_endian: bool,
    reader: LazyDataSetReader<DynStatefulDecoder<Cursor<&'a [u8]>>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a Source<'_>) -> Result<Self, JobError> {
        let data: &[u8] = &source.data;
        let reader = LazyDataSetReader::new_with_ts(Cursor::new(data), source.syntax).map_err(|error| {
            refuse(
                ErrorCode::UnsupportedTransferSyntax,
                format!("the transfer syntax {} cannot be read", source.syntax.uid()),
            )
            .with_source(error)
        })?;
        Ok(Self { data, big_endian: source.syntax.endianness() == Endianness::Big, reader })
    }

    /// Reads up to the pixel data, or to the end of a file without any.
    pub(super) fn header(&mut self) -> Result<(Header, Option<PixelData<'a>>), JobError> {
        let mut header = Header::default();
        let mut open: Vec<Open> = Vec::new();
        let mut within: Vec<Tag> = Vec::new();
        let mut at = 0;
        while let Some(token) = self.reader.advance() {
            let token = match token {
                Ok(token) => token,
                Err(_) if at >= self.data.len() && open.is_empty() => break,
                Err(error) => return Err(malformed(at, self.data.len(), error)),
            };
            match token {
                LazyDataToken::ElementHeader(_) => {}
                LazyDataToken::LazyValue { header: element, mut decoder } => {
                    let start = position(&decoder);
                    let length = element.len.get().unwrap_or(u32::MAX) as usize;
                    if open.is_empty() && element.tag == tags::PIXEL_DATA {
                        let rest = self.data.get(start..).unwrap_or_default();
                        let bytes = rest.get(..length).unwrap_or(rest);
                        let swapped = self.big_endian && element.vr == VR::OW;
                        return Ok((
                            header.finish(),
                            Some(PixelData::Native { bytes, promised: length, swapped }),
                        ));
                    }
                    let end = start.checked_add(length).filter(|&end| end <= self.data.len());
                    let Some(end) = end else {
                        return Err(refuse(
                            ErrorCode::Truncated,
                            format!("the file ends inside the element {}", element.tag),
                        ));
                    };
                    if length <= MAX_VALUE && Header::wants(&within, element.tag) {
                        header.set(&within, element.tag, &self.data[start..end], self.big_endian);
                    }
                    skip(&mut decoder, length, start)?;
                    at = end;
                }
                LazyDataToken::SequenceStart { tag, .. } => {
                    if open.len() >= MAX_DEPTH {
                        return Err(refuse(
                            ErrorCode::HeaderInvalid,
                            format!("the header nests more than {} sequences", MAX_DEPTH / 2),
                        ));
                    }
                    open.push(Open::Sequence(tag));
                    within.push(tag);
                }
                LazyDataToken::ItemStart { .. } => open.push(Open::Item),
                // A stray delimiter leaves the reader in a state its authors call unreachable: stop before it.
                LazyDataToken::ItemEnd => {
                    if open.pop() != Some(Open::Item) {
                        return Err(stray());
                    }
                }
                LazyDataToken::SequenceEnd => {
                    if !matches!(open.pop(), Some(Open::Sequence(_))) {
                        return Err(stray());
                    }
                    within.pop();
                }
                LazyDataToken::PixelSequenceStart if open.is_empty() => {
                    return Ok((header.finish(), Some(PixelData::Encapsulated)));
                }
                // An icon inside a sequence may hold pixels of its own; they are stepped over.
                LazyDataToken::PixelSequenceStart => {
                    open.push(Open::Sequence(tags::PIXEL_DATA));
                    within.push(tags::PIXEL_DATA);
                }
                LazyDataToken::LazyItemValue { len, mut decoder } => {
                    let start = position(&decoder);
                    at = start.saturating_add(len as usize);
                    skip(&mut decoder, len as usize, start)?;
                }
                _ => return Err(stray()),
            }
        }
        Ok((header.finish(), None))
    }

    /// The compressed fragments after the offset table. Called once, after [`PixelData::Encapsulated`].
    pub(super) fn fragments(&mut self) -> Result<Vec<&'a [u8]>, JobError> {
        let mut fragments = Vec::new();
        let mut items = 0usize;
        let mut at = 0;
        while let Some(token) = self.reader.advance() {
            match token.map_err(|error| malformed(at, self.data.len(), error))? {
                LazyDataToken::ItemStart { .. } => {
                    items += 1;
                    if items > MAX_FRAGMENTS {
                        return Err(refuse(
                            ErrorCode::HeaderInvalid,
                            format!("the pixel data is in more than {MAX_FRAGMENTS} fragments"),
                        ));
                    }
                }
                LazyDataToken::LazyItemValue { len, mut decoder } => {
                    let start = position(&decoder);
                    let fragment = start
                        .checked_add(len as usize)
                        .and_then(|end| self.data.get(start..end))
                        .ok_or_else(|| refuse(ErrorCode::Truncated, "the file ends inside its pixel data"))?;
                    if items > 1 {
                        fragments.push(fragment); // the first item is the offset table, needless for one frame
                    }
                    at = start + fragment.len();
                    skip(&mut decoder, fragment.len(), start)?;
                }
                LazyDataToken::ItemEnd => {}
                LazyDataToken::SequenceEnd => return Ok(fragments),
                _ => return Err(stray()),
            }
        }
        Err(refuse(ErrorCode::Truncated, "the file ends inside its pixel data"))
    }
}

fn position(decoder: &impl StatefulDecode) -> usize {
    usize::try_from(decoder.position()).unwrap_or(usize::MAX)
}

fn skip(decoder: &mut impl StatefulDecode, length: usize, at: usize) -> Result<(), JobError> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    decoder.skip_bytes(length).map_err(|error| {
        refuse(ErrorCode::Truncated, format!("the file ends after byte {at}")).with_source(error)
    })
}

fn stray() -> JobError {
    refuse(ErrorCode::HeaderInvalid, "the header's sequences are not closed as they were opened")
}

fn malformed(at: usize, length: usize, error: dicom_parser::dataset::lazy_read::Error) -> JobError {
    // A header is at most 12 bytes; what stops within them was cut off.
    if at.saturating_add(12) >= length {
        return refuse(ErrorCode::Truncated, "the file ends inside its header").with_source(error);
    }
    refuse(ErrorCode::HeaderInvalid, format!("the header is malformed after byte {at}: {error}"))
        .with_source(error)
}
