//! Names and versions of blobs. A name is checked once, here; everything behind it can trust it.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::{ErrorCode, JobError, Stage};

/// Azure's limit on a blob name, in characters.
pub const MAX_NAME_CHARS: usize = 1024;

/// An opaque version mark: compared for equality only, never for order. A proxy may weaken a mark (`W/"0x1"`), and lists
/// leave out its quotation marks: all of them are the mark of the same version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(pub String);

impl ETag {
    /// As conditions of HTTP want it: strong, in quotation marks.
    pub fn strong(&self) -> String {
        format!("\"{}\"", self.opaque())
    }

    fn opaque(&self) -> &str {
        let text = self.0.trim();
        let text = text.strip_prefix("W/").or_else(|| text.strip_prefix("w/")).unwrap_or(text);
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
    }
}

impl PartialEq for ETag {
    fn eq(&self, other: &Self) -> bool {
        self.opaque() == other.opaque()
    }
}

impl Eq for ETag {}

impl Hash for ETag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.opaque().hash(state);
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container and a name in it, both checked: no `..`, no control characters, no leading slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobRef {
    container: String,
    name: String,
}

impl BlobRef {
    /// Checks both parts. `container`: 3 to 63 of `[a-z0-9-]`; `name`: 1 to 1,024 characters.
    pub fn new(container: impl Into<String>, name: impl Into<String>) -> Result<Self, JobError> {
        let (container, name) = (container.into(), name.into());
        check_container(&container)?;
        check_name(&name)?;
        Ok(Self { container, name })
    }

    /// Splits `container/path/of/blob` at the first slash.
    pub fn parse(text: &str) -> Result<Self, JobError> {
        match text.split_once('/') {
            Some((container, name)) => Self::new(container, name),
            None => Err(refused("a blob is named as container/path")),
        }
    }

    pub fn container(&self) -> &str {
        &self.container
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for BlobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.name)
    }
}

fn is_letter_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn check_container(container: &str) -> Result<(), JobError> {
    let bytes = container.as_bytes();
    let sound = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|&byte| is_letter_or_digit(byte) || byte == b'-')
        && bytes.first().copied().is_some_and(is_letter_or_digit)
        && bytes.last().copied().is_some_and(is_letter_or_digit)
        && !container.contains("--");
    if sound {
        Ok(())
    } else {
        Err(refused("a container name has 3 to 63 lower-case letters, digits and single hyphens"))
    }
}

fn check_name(name: &str) -> Result<(), JobError> {
    let chars = name.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS {
        return Err(refused(format!("a blob name has 1 to {MAX_NAME_CHARS} characters")));
    }
    if name.starts_with('/') || name.chars().any(char::is_control) {
        return Err(refused("a blob name has no leading slash and no control characters"));
    }
    // Backslash counts as a separator because some clients and file systems read it as one.
    if name.split(['/', '\\']).any(|segment| segment == ".." || segment == ".") {
        return Err(refused("a blob name has no `.` or `..` segments"));
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> JobError {
    JobError::new(Stage::Announce, ErrorCode::SourceNotAllowed, message)
}

/// What storage knows of a blob without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobProperties {
    pub etag: ETag,
    pub last_modified: OffsetDateTime,
    pub bytes: u64,
    pub kind: BlobKind,
}

/// What kind of blob storage says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlobKind {
    /// Bytes that can be read.
    #[default]
    Content,
    /// Stands for a folder: marked `hdi_isfolder`, or without bytes under a name with a trailing slash. No study.
    Directory,
    /// In the archive tier, or on its way out of it: its bytes cannot be read now.
    Archived,
}

impl BlobKind {
    /// Of a blob of this name and size. `is_marked`: storage says that it stands for a folder.
    pub fn of(name: &str, bytes: u64, is_marked: bool, is_archived: bool) -> Self {
        if is_marked || (bytes == 0 && name.ends_with('/')) {
            Self::Directory
        } else if is_archived {
            Self::Archived
        } else {
            Self::Content
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn traversal_and_odd_containers_are_refused() {
        for text in [
            "incoming",
            "in/x",
            "incoming/",
            "incoming//x",
            "incoming/../x",
            "incoming/a/..",
            "incoming/a\\..\\b",
            "Incoming/x",
            "inc_oming/x",
            "-incoming/x",
            "in--coming/x",
            "incoming/a\nb",
            "../incoming/x",
        ] {
            let refused = BlobRef::parse(text).expect_err(text);
            assert_eq!(refused.code, ErrorCode::SourceNotAllowed, "{text}");
        }
        assert!(BlobRef::parse("incoming/a b/ü..png").is_ok());
        assert!(BlobRef::parse("incoming/a//b.png").is_ok(), "an empty inner segment is a legal blob name");
    }

    #[test]
    fn marks_of_one_version_are_equal_in_every_spelling() {
        let same = ["\"0x8D\"", "0x8D", "W/\"0x8D\"", "w/\"0x8D\"", " \"0x8D\" "];
        for text in same {
            assert_eq!(ETag(text.to_owned()), ETag("0x8D".to_owned()), "{text}");
            assert_eq!(ETag(text.to_owned()).strong(), "\"0x8D\"");
        }
        for other in ["0x8d", "\"\"", "\"0x8D", "W/", ""] {
            assert_ne!(ETag(other.to_owned()), ETag("\"0x8D\"".to_owned()), "{other}");
        }
    }

    #[test]
    fn folders_are_told_by_their_mark_or_their_slash() {
        for (name, bytes, marked, archived, kind) in [
            ("ward", 0, true, false, BlobKind::Directory),
            ("ward/", 0, false, false, BlobKind::Directory),
            ("ward/", 1, false, false, BlobKind::Content),
            ("ward", 0, false, false, BlobKind::Content),
            ("a.png", 9, false, true, BlobKind::Archived),
        ] {
            assert_eq!(BlobKind::of(name, bytes, marked, archived), kind, "{name} {bytes} {marked}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in "\\PC{0,60}") {
            if let Ok(blob) = BlobRef::parse(&text) {
                prop_assert_eq!(blob.to_string(), text);
            }
        }
    }
}
