//! What `nightread process` is asked to read: files, folders, and lists of both.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, stdin};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result};
use nightread_domain::{BlobRef, ErrorCode, JobError, Stage};
use serde::Serialize;

use crate::services::walk::{Found, Names, Walk};

/// The container that stands for this machine's files; blob names are absolute paths without the leading slash, or paths
/// below `--root`.
pub(in crate::services) const LOCAL: &str = "local";

/// So many examples are shown of what is wrong.
const EXAMPLES: usize = 5;

/// What folders hold besides inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::services) struct LeftOut {
    /// Tables, sidecars, documents, hidden files and folders.
    pub no_study: u64,
    pub linked_folders: u64,
    pub by_patterns: u64,
}

/// Files, absolute, each once and in a stable order. One that does not exist is an input that fails.
#[derive(Debug, Default)]
pub(in crate::services) struct Inputs {
    pub files: Vec<PathBuf>,
    pub left_out: LeftOut,
}

impl Inputs {
    /// All files that `paths` name and that are in the folders that `paths` name. `results` is never searched. Patterns are
    /// for what is found in folders: what somebody names is meant.
    pub fn gather(paths: &[PathBuf], names: &Names, results: &Path) -> Result<Self> {
        let mut inputs = Self::default();
        for path in paths {
            match path.as_os_str().as_bytes() {
                b"-" | b"@-" => inputs.list(stdin().lock(), "standard input", names, results)?,
                [b'@', list @ ..] => {
                    let list = Path::new(OsStr::from_bytes(list));
                    let shown = list.display().to_string();
                    let file =
                        std::fs::File::open(list).with_context(|| format!("cannot read the list {shown}"))?;
                    inputs.list(file, &shown, names, results)?;
                }
                _ => inputs.add(path, names, results)?,
            }
        }
        inputs.files.sort();
        inputs.files.dedup();
        Ok(inputs)
    }

    fn add(&mut self, path: &Path, names: &Names, results: &Path) -> Result<()> {
        let path = located(path).with_context(|| format!("{} has no absolute path", path.display()))?;
        if !path.is_dir() {
            self.files.push(path);
            return Ok(());
        }
        for found in Walk::new(&path, &path, names, Some(results)) {
            match found {
                Found::File(file) => self.files.push(file),
                Found::NoStudy => self.left_out.no_study += 1,
                Found::LinkedFolder => self.left_out.linked_folders += 1,
                Found::LeftOut => self.left_out.by_patterns += 1,
                // A folder that cannot be searched is an input that fails.
                Found::Unreadable(error) => match error.path() {
                    Some(unreadable) => self.files.push(unreadable.to_owned()),
                    None => return Err(error).context("a folder cannot be searched"),
                },
            }
        }
        Ok(())
    }

    /// Names one a line, or each ended by a NUL as `find -print0` writes them.
    fn list(&mut self, mut list: impl Read, shown: &str, names: &Names, results: &Path) -> Result<()> {
        let mut text = Vec::new();
        list.read_to_end(&mut text).with_context(|| format!("cannot read the list {shown}"))?;
        for name in listed(&text) {
            self.add(Path::new(OsStr::from_bytes(name)), names, results)?;
        }
        Ok(())
    }
}

fn listed(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let by_nul = text.contains(&0);
    text.split(move |byte| *byte == if by_nul { 0 } else { b'\n' })
        .map(move |line| if by_nul { line } else { line.strip_suffix(b"\r").unwrap_or(line) })
        .filter(|line| !line.is_empty())
}

/// The absolute path without `..` and links on the way, so that a file has one name however it was typed. The last
/// part is kept as it is: a link to an image is an input of its own.
fn located(path: &Path) -> std::io::Result<PathBuf> {
    match (path.is_dir(), path.parent(), path.file_name()) {
        (true, _, _) => path.canonicalize(),
        (false, Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map(|parent| parent.join(name)).or_else(|_| absolute(path))
        }
        (false, _, _) => absolute(path),
    }
}

/// Inputs with the names that their results get.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub blobs: Vec<BlobRef>,
    /// Files whose names cannot be blob names, so that no document can be written for them.
    pub refused: Vec<(PathBuf, JobError)>,
}

impl Named {
    /// Names each file by its path below `root`. The text of an error is for whoever typed the command.
    pub fn new(files: &[PathBuf], root: &Path) -> Result<Self, String> {
        let outside: Vec<_> = files.iter().filter(|file| !file.starts_with(root)).collect();
        if !outside.is_empty() {
            let shown: Vec<_> =
                outside.iter().take(EXAMPLES).map(|file| format!("\n  {}", file.display())).collect();
            return Err(format!(
                "{} of {} inputs are not below --root {}:{}",
                outside.len(),
                files.len(),
                root.display(),
                shown.concat()
            ));
        }
        let mut named = Self::default();
        for file in files {
            match blob_of(file, root) {
                Ok(blob) => named.blobs.push(blob),
                Err(error) => named.refused.push((file.clone(), error)),
            }
        }
        named.check_names(root).map(|()| named)
    }

    /// The result of `a` is the file `a.json`, and results of what is in a folder `a.json` would lie in a folder of that
    /// name: one of the two could never be written.
    fn check_names(&self, root: &Path) -> Result<(), String> {
        let mut seen = BTreeMap::new();
        for blob in &self.blobs {
            if let Some(twin) = seen.insert(blob.name(), blob) {
                return Err(format!("two inputs have the name {twin}"));
            }
        }
        for blob in &self.blobs {
            let folder = format!("{}.json/", blob.name());
            let within = seen.range(folder.as_str()..).next().filter(|(name, _)| name.starts_with(&folder));
            if let Some((name, _)) = within {
                let (one, other) = (root.join(blob.name()), root.join(name));
                return Err(format!(
                    "the results of two inputs would have one name:\n  {}\n  {}",
                    one.display(),
                    other.display()
                ));
            }
        }
        Ok(())
    }
}

fn blob_of(file: &Path, root: &Path) -> Result<BlobRef, JobError> {
    let inner = file.strip_prefix(root).unwrap_or(file);
    let name = inner.to_str().ok_or_else(|| {
        JobError::new(Stage::Announce, ErrorCode::SourceNotAllowed, "the name of the file is no UTF-8")
    })?;
    BlobRef::new(LOCAL, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_line_or_by_nul() {
        let read = |text: &[u8]| -> Vec<Vec<u8>> { listed(text).map(<[u8]>::to_vec).collect() };
        assert_eq!(read(b"\xEF\xBB\xBFa b\r\n\n# c\nd"), [b"a b".to_vec(), b"# c".to_vec(), b"d".to_vec()]);
        assert_eq!(read(b"a\nb\0\xff\r\0"), [b"a\nb".to_vec(), b"\xff\r".to_vec()]);
        assert!(read(b"").is_empty());
    }

    #[test]
    fn names_that_would_clash_are_refused() {
        let named = |files: &[&str]| {
            let files: Vec<_> = files.iter().map(PathBuf::from).collect();
            Named::new(&files, Path::new("/data"))
        };
        assert_eq!(named(&["/data/a", "/data/b/c"]).expect("sound").blobs.len(), 2);
        assert!(named(&["/data/a", "/data/a.json/b"]).expect_err("a clash").contains("/data/a.json/b"));
        assert!(named(&["/data/a", "/data/a.json-/b", "/data/a.json"]).is_ok());
        assert!(named(&["/data/a", "/else/b"]).expect_err("outside").contains("/else/b"));
        assert_eq!(named(&["/data/a\nb"]).expect("sound").refused.len(), 1);
    }
}
