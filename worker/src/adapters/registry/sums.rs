//! The list of a version's files, in the form of `sha256sum`: from its digest everything else follows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use nightread_engine::{MANIFEST_FILE, is_sha256};
use sha2::{Digest, Sha256};

/// What the list is called, beside the files that it names.
pub(super) const SUMS_FILE: &str = "SHA256SUMS";

/// Files of one model: a manifest names a dozen at most, and weights may lie in several.
const MOST_FILES: usize = 256;

/// A list of so many files is not longer.
pub(super) const MOST_SUMS_BYTES: u64 = 128 << 10;

/// As file systems have it.
const MOST_NAME_BYTES: usize = 255;

/// SHA-256 of each file, in lower-case hexadecimal, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    files: BTreeMap<String, String>,
    /// As it was read: the pin is the digest of these very bytes, whatever the order of their lines.
    text: String,
}

impl Sums {
    /// As `sha256sum` prints it, in the order of names. The error says what is wrong with which file.
    pub(super) fn new(files: BTreeMap<String, String>) -> Result<Self, String> {
        let mut text = String::new();
        for (name, sha256) in &files {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "{sha256}  {name}");
        }
        Self::checked(files, text)
    }

    fn checked(files: BTreeMap<String, String>, text: String) -> Result<Self, String> {
        if let Some(name) = files.keys().find(|name| !is_plain(name)) {
            return Err(format!("{name:?} cannot be the name of a model's file"));
        }
        if let Some((name, _)) = files.iter().find(|(_, sha256)| !is_sha256(sha256)) {
            return Err(format!("{name:?} has no SHA-256"));
        }
        if !files.contains_key(MANIFEST_FILE) {
            return Err(format!("{MANIFEST_FILE} is not among the files"));
        }
        if files.len() > MOST_FILES {
            return Err(format!(
                "{} files are more than the {MOST_FILES} that a model may have",
                files.len()
            ));
        }
        Ok(Self { files, text })
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
        let mut files = BTreeMap::new();
        for line in text.lines() {
            let (sha256, name) =
                line.split_once("  ").ok_or_else(|| format!("{line:?} is not a digest and a name"))?;
            if files.insert(name.to_owned(), sha256.to_owned()).is_some() {
                return Err(format!("{name:?} is there twice"));
            }
        }
        Self::checked(files, text.to_owned())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Names of the files that one of two lists has otherwise than the other, or alone.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.files.keys().chain(other.files.keys()).collect();
        let differs = |name: &&String| self.files.get(*name) != other.files.get(*name);
        names.into_iter().filter(differs).cloned().collect()
    }

    /// Names and digests.
    pub(super) fn files(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, sha256)| (name.as_str(), sha256.as_str()))
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A name that stays in its folder, is not hidden, and is not that of the list itself.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MOST_NAME_BYTES
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
        && name != SUMS_FILE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> String {
        format!("{}  {name}\n", digest_of(name.as_bytes()))
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let text = line("manifest.toml") + &line("model fp32.onnx");
        let sums = Sums::parse(text.as_bytes()).unwrap();
        assert_eq!(sums.text(), text);
        assert_eq!(
            sums.files().map(|(name, _)| name).collect::<Vec<_>>(),
            ["manifest.toml", "model fp32.onnx"]
        );
    }

    #[test]
    fn what_leaves_the_folder_or_lacks_a_digest_is_refused() {
        let manifest = line("manifest.toml");
        for (more, told) in [
            (line("../model.onnx"), "cannot be the name"),
            (line("/etc/passwd"), "cannot be the name"),
            (line("a/b.onnx"), "cannot be the name"),
            (line("a\\b.onnx"), "cannot be the name"),
            (line(".hidden"), "cannot be the name"),
            (line(".."), "cannot be the name"),
            (line(""), "cannot be the name"),
            (line("SHA256SUMS"), "cannot be the name"),
            (line("nul\0.onnx"), "cannot be the name"),
            (line(&"n".repeat(256)), "cannot be the name"),
            (manifest.clone(), "twice"),
            ("abc  model.onnx\n".to_owned(), "no SHA-256"),
            (line("model.onnx").to_uppercase(), "no SHA-256"),
            ("no list\n".to_owned(), "not a digest and a name"),
        ] {
            let refused = Sums::parse((manifest.clone() + &more).as_bytes()).unwrap_err();
            assert!(refused.contains(told), "{more:?}: {refused}");
        }
        assert!(Sums::parse(b"").unwrap_err().contains("manifest.toml"));
        assert!(Sums::parse(&[0xff, 0xfe]).unwrap_err().contains("no text"));
        let many = manifest + &(0..MOST_FILES).map(|n| line(&format!("{n}.bin"))).collect::<String>();
        assert!(many.len() as u64 <= MOST_SUMS_BYTES);
        assert!(Sums::parse(many.as_bytes()).unwrap_err().contains("more than"));
    }
}
