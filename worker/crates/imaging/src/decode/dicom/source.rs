//! Where the data set starts, and in which transfer syntax: preamble, file meta group, inflation.

use std::borrow::Cow;
use std::io::Read;

use dicom_dictionary_std::uids;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use flate2::bufread::DeflateDecoder;
use nightread_domain::error::{ErrorCode, JobError};

use crate::error::refuse;
use crate::options::DecodeOptions;

static REGISTRY: TransferSyntaxRegistry = TransferSyntaxRegistry;
const TRANSFER_SYNTAX_UID: [u8; 4] = [0x02, 0x00, 0x10, 0x00];

/// The bytes of the data set, inflated if need be, and how to read them.
pub(super) struct Source<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) syntax: &'static TransferSyntax,
}

pub(super) fn open<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Source<'a>, JobError> {
    let start = if bytes.get(128..132) == Some(b"DICM") {
        132
    } else if bytes.starts_with(b"DICM") {
        4
    } else {
        0
    };
    let rest = bytes.get(start..).unwrap_or_default();
    let (uid, data) = file_meta(rest)?;
    let uid = uid.as_deref().unwrap_or_else(|| guess(data));
    let syntax = REGISTRY.get(uid).ok_or_else(|| {
        refuse(ErrorCode::UnsupportedTransferSyntax, format!("the transfer syntax {uid} is not known"))
    })?;
    if syntax.uid() == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        return Ok(Source { data: Cow::Owned(inflate(data, options)?), syntax });
    }
    Ok(Source { data: Cow::Borrowed(data), syntax })
}

/// Steps over group 0002, always explicit VR little endian, and gives the transfer syntax it names. The group's own
/// length element is not trusted: some writers get it wrong.
fn file_meta(bytes: &[u8]) -> Result<(Option<String>, &[u8]), JobError> {
    let mut rest = bytes;
    let mut uid = None;
    while let Some(head) = rest.first_chunk::<8>().filter(|head| head[..2] == [0x02, 0x00]) {
        let (header_length, value_length) = if matches!(&head[4..6], b"OB" | b"OW" | b"UN" | b"SQ" | b"UT") {
            let long = rest.get(8..12).ok_or_else(cut_short)?;
            (12, u32::from_le_bytes([long[0], long[1], long[2], long[3]]) as usize)
        } else {
            (8, usize::from(u16::from_le_bytes([head[6], head[7]])))
        };
        let value = rest.get(header_length..header_length + value_length).ok_or_else(cut_short)?;
        if head[..4] == TRANSFER_SYNTAX_UID && value_length <= 64 {
            let text = String::from_utf8_lossy(value);
            uid = Some(
                text.trim_matches(['\0', ' ']).chars().filter(|c| matches!(c, '0'..='9' | '.')).collect(),
            );
        }
        rest = &rest[header_length + value_length..];
    }
    Ok((uid, rest))
}

fn cut_short() -> JobError {
    refuse(ErrorCode::Truncated, "the file ends inside its meta header")
}

/// Without a meta group only the two little-endian syntaxes are likely; two capitals after the tag tell them apart.
fn guess(data: &[u8]) -> &'static str {
    let explicit = data.get(4..6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
    if explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN }
}

/// Inflates a deflated data set, to the limit and not a byte further.
fn inflate(data: &[u8], options: &DecodeOptions) -> Result<Vec<u8>, JobError> {
    let most = options.limits.max_inflated_bytes;
    let mut inflated = Vec::new();
    match DeflateDecoder::new(data).take(most + 1).read_to_end(&mut inflated) {
        Ok(_) if inflated.len() as u64 > most => Err(refuse(
            ErrorCode::InflatesTooLarge,
            format!("the deflated data set inflates past {most} bytes"),
        )),
        Ok(_) => Ok(inflated),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(refuse(ErrorCode::Truncated, "the deflated data set ends early").with_source(error))
        }
        Err(error) => {
            Err(refuse(ErrorCode::DecodeFailed, "the deflated data set is malformed").with_source(error))
        }
    }
}
