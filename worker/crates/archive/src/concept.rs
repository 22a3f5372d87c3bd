//! Codes: a value, the scheme that gives it its meaning, and that meaning in words.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The scheme of what has no code of a known one. `99` begins every private scheme (PS3.16, 8).
pub const PRIVATE_SCHEME: &str = "99NIGHTREAD";

/// What the value representation SH has room for.
const LONGEST_VALUE: usize = 16;

/// A coded concept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concept {
    /// At most 16 characters.
    pub value: String,
    /// The scheme's designator, as PS3.16 lists them: `SCT`, `DCM`, `LN`.
    pub scheme: String,
    pub meaning: String,
}

impl Concept {
    pub(crate) fn new(value: &str, scheme: &str, meaning: &str) -> Self {
        Self { value: value.to_owned(), scheme: scheme.to_owned(), meaning: meaning.to_owned() }
    }

    pub(crate) fn dcm(value: &str, meaning: &str) -> Self {
        Self::new(value, "DCM", meaning)
    }

    pub(crate) fn sct(value: &str, meaning: &str) -> Self {
        Self::new(value, "SCT", meaning)
    }

    /// The private code of a label that has no other: the label itself where that is a code value (ASCII letters, digits, spaces,
    /// `_` and `-`, at most 16 characters), else the beginning of its SHA-256.
    pub fn private(label: &str) -> Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-');
        let fits = !label.is_empty() && label.len() <= LONGEST_VALUE && label.chars().all(is_plain);
        let value = if fits && label.trim() == label {
            label.to_owned()
        } else {
            format!("sha256-{}", hex::encode(&Sha256::digest(label.as_bytes())[..4]))
        };
        Self { value, scheme: PRIVATE_SCHEME.to_owned(), meaning: label.to_owned() }
    }
}

/// The side of a paired organ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laterality {
    Left,
    Right,
}

impl Laterality {
    pub(crate) fn concept(self) -> Concept {
        match self {
            Self::Left => Concept::sct("7771000", "Left"),
            Self::Right => Concept::sct("24028007", "Right"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_codes_are_short_and_tell_labels_apart() {
        assert_eq!(Concept::private("Pneumonia").value, "Pneumonia");
        let long = Concept::private("Aortic Atheromatosis");
        let other = Concept::private("Aortic Elongation of the arch");
        assert!(long.value.len() <= LONGEST_VALUE && long.value != other.value, "{long:?} {other:?}");
        assert_eq!(long.meaning, "Aortic Atheromatosis");
        for label in ["", " x", "a\\b", "Épanchement"] {
            assert!(Concept::private(label).value.starts_with("sha256-"), "{label:?}");
        }
    }
}
