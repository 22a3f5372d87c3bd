//! Names and versions of blobs. A name is checked once, here; everything behind it can trust it.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::{ErrorCode, JobError, Stage};

/// Azure's limit on a blob name, in characters.
pub const MAX_NAME_CHARS: usize = 1024;

/// An opaque version mark: compared for equality only, never for order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(pub String);

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

fn check_container(container: &str) -> Result<(), JobError> {
    let bytes = container.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let sound = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
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

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in "\\PC{0,60}") {
            if let Ok(blob) = BlobRef::parse(&text) {
                prop_assert_eq!(blob.to_string(), text);
            }
        }
    }
}
