//! Text in the encoding that SpecificCharacterSet (0008,0005) names.

use std::borrow::Cow;

use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

/// The text of a value, without padding. `charset` is the value of SpecificCharacterSet, several encodings separated by
/// backslashes; what it does not name, or names wrongly, is read as UTF-8 where it is that, else as Latin-1. Bytes that have
/// no meaning become U+FFFD.
pub(super) fn text(value: &[u8], charset: Option<&str>) -> String {
    let text = if value.is_ascii() && !value.contains(&ESCAPE) {
        String::from_utf8_lossy(value).into_owned()
    } else {
        decode(value, charset.unwrap_or_default())
    };
    text.trim_matches(['\0', ' ']).to_owned()
}

const ESCAPE: u8 = 0x1B;

fn decode(value: &[u8], charset: &str) -> String {
    if charset.ends_with("IR 148") {
        return without_escapes(value).into_iter().map(latin_5).collect();
    }
    // The first of several is that of text before the first escape; what has accents or ideographs comes by the others.
    let named = charset.split('\\').map(str::trim).filter_map(SpecificCharacterSet::from_code);
    for set in named.collect::<Vec<_>>().into_iter().rev() {
        let bytes: Cow<'_, [u8]> = match &*set.name() {
            // Its decoder knows the escapes.
            "ISO_IR 87" => Cow::Borrowed(value),
            "ISO_IR 6" => continue,
            _ => Cow::Owned(without_escapes(value)),
        };
        // What its decoder cannot read it writes as a backslash and the byte's number.
        if let Ok(text) = set.decode(&bytes)
            && !text.contains('\u{FFFD}')
            && parts(text.as_bytes()) <= parts(&bytes)
        {
            return text;
        }
    }
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Parts between backslashes.
fn parts(bytes: &[u8]) -> usize {
    bytes.split(|&byte| byte == b'\\').count()
}

/// ISO 8859-9, which the library lacks: Latin-1 but for six letters.
fn latin_5(byte: u8) -> char {
    match byte {
        0xD0 => 'Ğ',
        0xDD => 'İ',
        0xDE => 'Ş',
        0xF0 => 'ğ',
        0xFD => 'ı',
        0xFE => 'ş',
        other => char::from(other),
    }
}

/// Leaves out the sequences that switch between code elements: ESC, intermediate bytes, one final byte.
fn without_escapes(value: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte == ESCAPE {
            bytes.by_ref().find(|byte| (0x30..=0x7E).contains(*byte));
        } else {
            left.push(byte);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_in_many_encodings() {
        for (value, charset, expected) in [
            (&b"T\xD3RAX"[..], Some("ISO_IR 100"), "T\u{D3}RAX"),
            ("T\u{D3}RAX".as_bytes(), Some("ISO_IR 192"), "T\u{D3}RAX"),
            (b"P\xA3UCA", Some("ISO_IR 101"), "P\u{141}UCA"),
            (b"\xB3\xE0\xE3\xD4\xEC", Some("ISO_IR 144"), "\u{413}\u{440}\u{443}\u{434}\u{44C}"),
            (b"\xD0\xD8\xB2\xBF", Some("GB18030"), "\u{80F8}\u{90E8}"),
            (b"CHEST", Some("GB18030"), "CHEST"),
            (b"\x1B$B6;It\x1B(B", Some("\\ISO 2022 IR 87"), "\u{80F8}\u{90E8}"),
            (b"\x1B$)C\xC8\xE4\xBA\xCE", Some("\\ISO 2022 IR 149"), "\u{D749}\u{BD80}"),
            // Not named, or wrongly.
            ("T\u{D3}RAX".as_bytes(), None, "T\u{D3}RAX"),
            (b"T\xD3RAX", None, "T\u{D3}RAX"),
            (b"T\xD3RAX", Some("ISO_IR 192"), "T\u{D3}RAX"),
            (b"T\xD3RAX", Some("nonsense"), "T\u{D3}RAX"),
            (b"G\xD6\xD0\xDCS", Some("ISO_IR 148"), "G\u{D6}\u{11E}\u{DC}S"),
            (b" CHEST\0", Some("ISO_IR 100"), "CHEST"),
        ] {
            assert_eq!(text(value, charset), expected, "{charset:?}");
        }
    }
}
