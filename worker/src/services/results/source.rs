//! Where documents are looked for, as it is typed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

use nightread_domain::{BlobRef, ErrorCode, JobError, Stage};

/// What stands before the name of a container.
const CONTAINER: &str = "container:";

/// The container that stands for this machine's files, by their absolute paths without the leading slash.
pub const FILES: &str = "local";

/// The container that stands for a folder that was named.
pub const FOLDER: &str = "results";

/// Where documents lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentSource {
    /// Everything below a folder, as `nightread process --out` makes it.
    Folder(PathBuf),
    /// What begins with `prefix` in a container of the settings' storage.
    Container { name: String, prefix: String },
    /// Documents one by one: names from a file, or from standard input.
    List(Option<PathBuf>),
    /// One document.
    File(PathBuf),
}

impl DocumentSource {
    pub const fn is_container(&self) -> bool {
        matches!(self, Self::Container { .. })
    }

    /// What was typed: a folder, `container:NAME[/PREFIX]`, `@LIST`, `-`, or one document's file.
    ///
    /// # Errors
    /// In words, when it is none of these.
    pub fn parse(typed: &Path) -> Result<Self, String> {
        if let Some(place) = typed.to_str().and_then(|text| text.strip_prefix(CONTAINER)) {
            let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
            return Ok(Self::Container { name: name.to_owned(), prefix: prefix.to_owned() });
        }
        match typed.as_os_str().as_bytes() {
            b"-" | b"@-" => return Ok(Self::List(None)),
            [b'@', list @ ..] => return Ok(Self::List(Some(PathBuf::from(OsStr::from_bytes(list))))),
            _ => {}
        }
        match typed.metadata() {
            Ok(found) if found.is_dir() => Ok(Self::Folder(typed.to_owned())),
            Ok(_) => Ok(Self::File(typed.to_owned())),
            Err(error) => Err(format!(
                "{}: {error}; a folder of results is expected, container:NAME, @LIST or -",
                typed.display()
            )),
        }
    }
}

/// A document by a name of a list: a file, or `container:NAME/PATH`.
///
/// # Errors
/// `source_not_allowed` when no document can be called so.
pub(super) fn listed(name: &[u8]) -> Result<BlobRef, JobError> {
    let text = std::str::from_utf8(name).map_err(|_| refused(name, "the name is no UTF-8"))?;
    if let Some(place) = text.strip_prefix(CONTAINER) {
        return BlobRef::parse(place);
    }
    let path = absolute(text).map_err(|_| refused(name, "the name has no absolute path"))?;
    let path = path.to_str().ok_or_else(|| refused(name, "the name is no UTF-8"))?;
    BlobRef::new(FILES, path.trim_start_matches('/'))
}

fn refused(name: &[u8], text: &str) -> JobError {
    let shown = String::from_utf8_lossy(name);
    JobError::new(Stage::Fetch, ErrorCode::SourceNotAllowed, format!("{shown}: {text}"))
}

/// The names of a list: one a line, or each ended by a NUL as `find -print0` writes them. Read as they are asked for.
pub(super) struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    end: Option<u8>,
}

impl Lines {
    /// # Errors
    /// What the system says of the file.
    pub fn open(list: Option<&Path>) -> std::io::Result<Self> {
        let input: Box<dyn Read + Send> = match list {
            Some(path) => Box::new(File::open(path)?),
            None => Box::new(stdin()),
        };
        Ok(Self { input: BufReader::with_capacity(1 << 16, input), end: None })
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut name = Vec::new();
            let read = match self.end {
                Some(end) => self.input.read_until(end, &mut name),
                // The first names tell: a NUL among them ends each, and lines have none.
                None => self.input.fill_buf().map(|start| {
                    self.end = Some(if start.contains(&0) { 0 } else { b'\n' });
                    1
                }),
            };
            match read {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
            if name.last().copied() == self.end {
                name.pop();
            }
            if self.end == Some(b'\n') && name.last() == Some(&b'\r') {
                name.pop();
            }
            if !name.is_empty() {
                return Some(Ok(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        std::fs::write(&file, b"{}").expect("a file");
        let parse = |text: &str| DocumentSource::parse(Path::new(text));
        assert_eq!(
            DocumentSource::parse(folder.path()),
            Ok(DocumentSource::Folder(folder.path().to_owned()))
        );
        assert_eq!(DocumentSource::parse(&file), Ok(DocumentSource::File(file)));
        let container = |name: &str, prefix: &str| DocumentSource::Container {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        };
        assert_eq!(parse("container:results"), Ok(container("results", "")));
        assert_eq!(parse("container:results/m/1"), Ok(container("results", "m/1")));
        assert_eq!(parse("@names.txt"), Ok(DocumentSource::List(Some(PathBuf::from("names.txt")))));
        assert_eq!(
            (parse("-"), parse("@-")),
            (Ok(DocumentSource::List(None)), Ok(DocumentSource::List(None)))
        );
        assert!(parse("/nowhere/at/all").expect_err("nothing there").contains("/nowhere/at/all"));
    }

    #[test]
    fn lists_are_read_by_line_or_by_nul() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list");
        for (text, names) in [
            (&b"a b\r\n\nc"[..], vec![b"a b".to_vec(), b"c".to_vec()]),
            (&b"a\nb\0c\r\0"[..], vec![b"a\nb".to_vec(), b"c\r".to_vec()]),
            (&b""[..], Vec::new()),
        ] {
            std::fs::write(&path, text).expect("a file");
            let read = Lines::open(Some(&path)).expect("a list").collect::<Result<Vec<_>, _>>();
            assert_eq!(read.expect("names"), names);
        }
        assert_eq!(listed(b"/a/b.json").expect("a name").to_string(), "local/a/b.json");
        assert_eq!(listed(b"container:results/m/b.json").expect("a name").to_string(), "results/m/b.json");
        assert!(listed(b"a\xff").is_err());
    }
}
