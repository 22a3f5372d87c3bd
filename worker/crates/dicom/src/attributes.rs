//! Values of a header as they lie in the file, for whoever hands them on to another file.

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::text::SpecificCharacterSet;
use nightread_domain::error::{ErrorCode, JobError};

use super::text::text;
use crate::error::refuse;

/// The longest value that is kept: those that identify a study have a hundred bytes.
pub(super) const MOST_BYTES: usize = 1024;

/// Values of the data set's own elements (none of a sequence), without the padding at their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    values: BTreeMap<Tag, Vec<u8>>,
    charset: Option<String>,
}

impl Attributes {
    /// Of values as a walk met them.
    ///
    /// # Errors
    /// `header_invalid` where an element stands there twice and says two things.
    pub(super) fn of(taken: Vec<(Tag, Vec<u8>)>) -> Result<Self, JobError> {
        let mut values: BTreeMap<Tag, Vec<u8>> = BTreeMap::new();
        for (tag, value) in taken {
            match values.get(&tag) {
                Some(before) if *before != value => {
                    let text = format!("the element {tag} stands there twice, with two values");
                    return Err(refuse(ErrorCode::HeaderInvalid, text));
                }
                _ => drop(values.insert(tag, value)),
            }
        }
        let charset = values.get(&tags::SPECIFIC_CHARACTER_SET).map(|value| text(value, None));
        Ok(Self { values, charset })
    }

    /// The bytes of a value in the encoding of the file; `None` where it is absent or empty.
    pub fn raw(&self, tag: Tag) -> Option<&[u8]> {
        self.values.get(&tag).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// A value as text; `None` where it is absent or empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let text = text(self.raw(tag)?, self.charset.as_deref());
        (!text.is_empty()).then_some(text)
    }

    /// Whether the bytes of every value mean what SpecificCharacterSet says: it names known encodings only, or nothing is
    /// beyond ASCII.
    pub fn has_known_encoding(&self) -> bool {
        let Some(charset) = self.charset.as_deref().filter(|charset| !charset.is_empty()) else {
            return self.values.values().all(|value| value.is_ascii());
        };
        let mut names = charset.split('\\').map(str::trim).filter(|name| !name.is_empty());
        names.all(|name| name.ends_with("IR 148") || SpecificCharacterSet::from_code(name).is_some())
    }
}

/// A value without the padding that makes its length even.
pub(super) fn unpadded(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
    &value[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(values: &[(Tag, &[u8])]) -> Result<Attributes, JobError> {
        Attributes::of(values.iter().map(|(tag, value)| (*tag, value.to_vec())).collect())
    }

    #[test]
    fn an_element_that_says_two_things_is_refused() {
        let twice = [(tags::PATIENT_ID, &b"1"[..]), (tags::PATIENT_ID, b"2")];
        assert_eq!(attributes(&twice).expect_err("refused").code, ErrorCode::HeaderInvalid);
        let same = [(tags::PATIENT_ID, &b"1"[..]), (tags::PATIENT_ID, b"1")];
        assert_eq!(attributes(&same).expect("read").text(tags::PATIENT_ID).as_deref(), Some("1"));
    }

    #[test]
    fn encodings_are_judged() {
        for (charset, name, known) in [
            (None, &b"Doe^Jane"[..], true),
            (None, b"M\xFCller", false),
            (Some(&b"ISO_IR 100"[..]), b"M\xFCller", true),
            (Some(b"\\ISO 2022 IR 87"), b"Yamada^Tarou=\x1B$B;3ED\x1B(B", true),
            (Some(b"ISO_IR 148"), b"\xDE", true),
            (Some(b"LATIN"), b"M\xFCller", false),
        ] {
            let mut values = vec![(tags::PATIENT_NAME, name)];
            values.extend(charset.map(|charset| (tags::SPECIFIC_CHARACTER_SET, charset)));
            assert_eq!(attributes(&values).expect("read").has_known_encoding(), known, "{charset:?}");
        }
    }

    #[test]
    fn padding_is_taken_off() {
        assert_eq!(unpadded(b"1.2\0"), b"1.2");
        assert_eq!(unpadded(b" a  "), b" a");
        assert_eq!(unpadded(b"\0 "), b"");
    }
}
