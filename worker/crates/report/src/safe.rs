//! What a document says, made harmless for the place it goes to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// All that RFC 3986 does not leave unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// JSON for a `<script type="application/json">`: no character in it can end the element or begin a comment.
///
/// # Errors
/// Those of the serialisation.
pub fn json<T: Serialize>(value: &T) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // These stand inside of strings only, so that their escapes say the same.
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    Ok(safe)
}

/// A relative link to the file that lies at `path` from the page; `/` parts its segments. It can be no other scheme's address,
/// whatever the names are.
pub fn link(path: &str) -> String {
    let segments = path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string());
    format!("./{}", segments.collect::<Vec<_>>().join("/"))
}

/// An image inside of the page.
pub fn data_address(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_says_the_same_and_ends_no_element(text in any::<String>()) {
            let safe = json(&text).expect("it serialises");
            let ends = safe.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
            prop_assert!(!ends, "an element could end");
            prop_assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), text);
        }

        #[test]
        fn links_are_relative_and_come_back(path in "[^\u{0}]{1,40}") {
            let link = link(&path);
            prop_assert!(link.is_ascii() && link.starts_with("./"));
            prop_assert!(!link.contains([':', '"', '\'', '<', '>', '?', '#', ' ', '&', '\\']));
            let back = percent_encoding::percent_decode_str(&link[2..]).decode_utf8().expect("UTF-8");
            prop_assert_eq!(back, path);
        }
    }

    #[test]
    fn a_scheme_is_no_scheme() {
        assert_eq!(link("javascript:alert(1)"), "./javascript%3Aalert%281%29");
        assert_eq!(link("../m/1.0.0-fp32/local/a b.json"), "./../m/1.0.0-fp32/local/a%20b.json");
    }
}
