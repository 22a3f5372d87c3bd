//! Where the data set starts, and how it is written: preamble, file meta group, transfer syntax, inflation.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{Endianness, TransferSyntax, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use flate2::bufread::DeflateDecoder;
use nightread_domain::error::{ErrorCode, JobError, Stage};
use nightread_domain::warning::{Warning, WarningCode};

use super::element::{self, Form};
use crate::error::refuse;

static REGISTRY: TransferSyntaxRegistry = TransferSyntaxRegistry;
/// The meta group is explicit VR little endian always, and there are writers that do not know it.
const META: Form = Form { explicit: true, big_endian: false };
/// This many elements in rising order tell a data set's form from another.
const ENOUGH: usize = 3;

/// The bytes of the data set, inflated if need be, and how to read them.
pub(super) struct EncodedDataSet<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) syntax: &'static TransferSyntax,
    /// Whether the file names its transfer syntax.
    pub(super) is_named: bool,
}

impl fmt::Debug for EncodedDataSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedDataSet").field("syntax", &self.syntax.uid()).finish_non_exhaustive()
    }
}

impl EncodedDataSet<'_> {
    /// The form of the data set: what the transfer syntax says, or what the bytes prove.
    pub(super) fn form(&self, warnings: &mut Vec<Warning>) -> Result<Form, JobError> {
        let said = Form {
            explicit: self.syntax.uid() != uids::IMPLICIT_VR_LITTLE_ENDIAN,
            big_endian: self.syntax.endianness() == Endianness::Big,
        };
        let other = Form { explicit: !said.explicit, ..said };
        if self.starts_in(said) || !self.is_named {
            return Ok(said);
        }
        if self.starts_in(other) {
            warnings.push(Warning::new(
                WarningCode::TransferSyntaxContradicted,
                format!(
                    "the transfer syntax is {}, but the elements are written with {} VR",
                    self.syntax.name(),
                    if other.explicit { "explicit" } else { "implicit" }
                ),
            ));
            return Ok(other);
        }
        // The order of bytes is also that of the pixels, and nothing would prove theirs.
        let turned = [said, other].map(|form| Form { big_endian: !form.big_endian, ..form });
        if turned.into_iter().any(|form| self.starts_in(form)) {
            return Err(refuse(
                ErrorCode::HeaderInvalid,
                format!(
                    "the transfer syntax is {}, but the elements are written in {} endian order",
                    self.syntax.name(),
                    if said.big_endian { "little" } else { "big" }
                ),
            ));
        }
        Ok(said)
    }

    /// Whether the first elements read as a data set in `form`.
    fn starts_in(&self, form: Form) -> bool {
        element::starts(&self.data, 0, self.data.len(), form, ENOUGH)
    }
}

/// The SOP class that the meta group names, which stands before the data set and is never deflated; `None` where it names none.
pub fn storage_class(bytes: &[u8]) -> Option<String> {
    let (meta, _) = file_meta(behind_preamble(bytes)).ok()?;
    meta.class.filter(|class| !class.is_empty())
}

fn behind_preamble(bytes: &[u8]) -> &[u8] {
    let start = if bytes.get(128..132) == Some(b"DICM") {
        132
    } else if bytes.starts_with(b"DICM") {
        4
    } else {
        0
    };
    bytes.get(start..).unwrap_or_default()
}

pub(super) fn open(bytes: &[u8], max_inflated_bytes: u64) -> Result<EncodedDataSet<'_>, JobError> {
    let (meta, data) = file_meta(behind_preamble(bytes))?;
    let named = meta.transfer_syntax.as_deref().filter(|uid| !uid.is_empty());
    let uid = named.unwrap_or_else(|| guess(data));
    let syntax = REGISTRY.get(uid).ok_or_else(|| {
        refuse(ErrorCode::UnsupportedTransferSyntax, format!("the transfer syntax {uid} is not known"))
    })?;
    let is_named = named.is_some();
    if syntax.uid() == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        return Ok(EncodedDataSet { data: Cow::Owned(inflate(data, max_inflated_bytes)?), syntax, is_named });
    }
    Ok(EncodedDataSet { data: Cow::Borrowed(data), syntax, is_named })
}

fn cut_short() -> JobError {
    refuse(ErrorCode::Truncated, "the file ends inside its meta header")
}

/// What group 0002 names.
#[derive(Default)]
struct Meta {
    transfer_syntax: Option<String>,
    /// MediaStorageSOPClassUID.
    class: Option<String>,
}

/// Steps over group 0002 and gives what it names. The group's own length element is not trusted: some writers get it wrong.
fn file_meta(bytes: &[u8]) -> Result<(Meta, &[u8]), JobError> {
    let mut at = 0;
    let mut meta = Meta::default();
    while META.tag(bytes, at).is_some_and(|tag| tag.0 == 0x0002) {
        let element = element::read(bytes, at, bytes.len(), META).ok_or_else(cut_short)?;
        let Some(end) = element.end() else {
            return Err(refuse(
                ErrorCode::HeaderInvalid,
                format!("the element {} of the meta header has no length", element.tag),
            ));
        };
        let value = bytes.get(element.value..end).ok_or_else(cut_short)?;
        match element.tag {
            tags::TRANSFER_SYNTAX_UID if value.len() <= 64 => meta.transfer_syntax = Some(uid(value)),
            tags::MEDIA_STORAGE_SOP_CLASS_UID if value.len() <= 64 => meta.class = Some(uid(value)),
            _ => {}
        }
        at = end;
    }
    Ok((meta, bytes.get(at..).unwrap_or_default()))
}

fn uid(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.trim_matches(['\0', ' ']).chars().filter(|c| matches!(c, '0'..='9' | '.')).collect()
}

/// Without a meta group only the two little-endian syntaxes are likely; two capitals after the tag tell them apart.
fn guess(data: &[u8]) -> &'static str {
    let explicit = data.get(4..6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
    if explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN }
}

/// Inflates a deflated data set, to the limit and not a byte further.
fn inflate(data: &[u8], most: u64) -> Result<Vec<u8>, JobError> {
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
        Err(error) => Err(JobError::of_machine(Stage::Decode, &error).unwrap_or_else(|| {
            refuse(ErrorCode::DecodeFailed, "the deflated data set is malformed").with_source(error)
        })),
    }
}
