//! What senders wrap around JSON: byte order marks and base64 in all its kinds.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Bytes without the byte order mark of UTF-8 that some editors and .NET's writers put first.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What base64 stands for: standard or URL-safe, padded or not, wrapped into lines or not. `None` for anything else.
pub fn base64_of(text: &str) -> Option<Vec<u8>> {
    let plain: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    TOLERANT.decode(plain).ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_kind_of_base64_comes_back(
            bytes in prop::collection::vec(any::<u8>(), 0..200), width in 1_usize..80,
        ) {
            let padded = BASE64_STANDARD.encode(&bytes);
            let lines: Vec<_> = padded.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            for text in [lines.join("\r\n"), BASE64_URL_SAFE_NO_PAD.encode(&bytes), padded] {
                prop_assert_eq!(base64_of(&text), Some(bytes.clone()));
            }
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in "\\PC{0,60}") {
            let _ = base64_of(&text);
        }
    }
}
