//! UIDs that are functions of what they name.

use sha2::{Digest, Sha256};

/// The version of everything in this crate that decides bytes: raised whenever the same result would be written otherwise, so
/// that an archive never holds two contents under one UID.
pub const WRITER: &str = "2";

/// `2.25.` and the decimal form of a UUID (PS3.5, B.2): the first 128 bits of a SHA-256 over the parts, each after its
/// length, with the bits of version 8 (RFC 9562, 5.8) set.
pub(crate) fn uid(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let first: u128 = digest.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte));
    let versioned = first & !(0xF << 76) | 8 << 76;
    let uuid = versioned & !(0b11 << 62) | 0b10 << 62;
    format!("2.25.{uuid}")
}

/// Digits and dots, at most 64 of them, not empty between dots (PS3.5, 9.1). Leading zeros are let through: archives hold such
/// studies, and know them by no other name.
pub(crate) fn is_uid(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 64 && text.contains('.') && text.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        assert_ne!(uid(&[b"ab", b"c"]), uid(&[b"a", b"bc"]));
        assert_ne!(uid(&[b"ab"]), uid(&[b"ab", b""]));
        assert_eq!(uid(&[b"ab"]), uid(&[b"ab"]));
        let name = uid(&[]);
        assert!(name.len() <= 64 && is_uid(&name), "{name}");
        let number: u128 = name.trim_start_matches("2.25.").parse().expect("a number");
        assert_eq!((number >> 76 & 0xF, number >> 62 & 0b11), (8, 0b10));
    }

    #[test]
    fn uids_are_told_from_what_is_none() {
        for (text, is) in [
            ("1.2.840.10008.1.2", true),
            ("1.2.0840.1", true),
            ("", false),
            ("1", false),
            ("1..2", false),
            (".1.2", false),
            ("1.2.a", false),
        ] {
            assert_eq!(is_uid(text), is, "{text:?}");
        }
        assert!(!is_uid(&"1.".repeat(33)));
    }
}
