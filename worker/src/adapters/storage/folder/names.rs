//! Every name below a container's folder, once: no page begins anew, no file is opened, and memory holds one piece of one
//! folder, however many files there are.

use std::collections::VecDeque;
use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use nightread_domain::{BlobRef, JobError, Stage};

use super::fault::unreadable;
use super::{DRAFT, FolderStore};

/// Files of a folder that are sorted among themselves. Folders of fewer come in the order of their names.
const PIECE: usize = 50_000;

/// The names, folder by folder: of each its files, then what is in the folders below it. Drafts are left out, and so are
/// folders behind links. Hidden names are not: a study may lie in a hidden folder, and its results are named as it is.
#[derive(Debug)]
pub(crate) struct Names {
    container: String,
    root: PathBuf,
    /// Still to be looked into; the next is the last.
    folders: Vec<PathBuf>,
    open: Option<Open>,
    ready: VecDeque<PathBuf>,
}

/// The folder that is being read.
#[derive(Debug)]
struct Open {
    entries: ReadDir,
    below: Vec<PathBuf>,
}

impl FolderStore {
    /// Walks a container.
    ///
    /// # Errors
    /// `source_not_allowed` when there is none of this name.
    pub(crate) fn names(&self, container: &str) -> Result<Names, JobError> {
        let root = self.root(container)?.to_path_buf();
        Ok(Names {
            container: container.to_owned(),
            folders: vec![root.clone()],
            root,
            open: None,
            ready: VecDeque::new(),
        })
    }
}

impl Names {
    fn advance(&mut self) -> io::Result<bool> {
        while self.ready.is_empty() {
            let Some(open) = &mut self.open else {
                let Some(folder) = self.folders.pop() else { return Ok(false) };
                self.open = Some(Open { entries: fs::read_dir(folder)?, below: Vec::new() });
                continue;
            };
            let mut files = Vec::new();
            let mut ended = true;
            for entry in open.entries.by_ref() {
                let entry = entry?;
                if is_draft(&entry) {
                    continue;
                }
                let kind = entry.file_type()?;
                let path = entry.path();
                if kind.is_dir() {
                    open.below.push(path);
                } else if kind.is_file() || kind.is_symlink() && !path.is_dir() {
                    files.push(path);
                }
                if files.len() == PIECE {
                    ended = false;
                    break;
                }
            }
            files.sort_unstable();
            self.ready = files.into();
            if ended && let Some(mut open) = self.open.take() {
                open.below.sort_unstable_by(|a, b| b.cmp(a));
                self.folders.append(&mut open.below);
            }
        }
        Ok(true)
    }

    /// A name that is no UTF-8 comes so that it is refused, and not left out unseen.
    fn blob(&self, path: &Path) -> Result<BlobRef, JobError> {
        let name = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy();
        BlobRef::new(&self.container, name)
    }
}

fn is_draft(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes())
}

impl Iterator for Names {
    /// The outer error ends the walk: what could not be looked into may hold anything. The inner is of a name that
    /// Nightread would refuse.
    type Item = Result<Result<BlobRef, JobError>, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(true) => self.ready.pop_front().map(|path| Ok(self.blob(&path))),
            Ok(false) => None,
            Err(error) => {
                self.folders.clear();
                self.open = None;
                Some(Err(unreadable(Stage::Fetch, error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_file_comes_once_and_no_draft_or_what_is_behind_links_to_folders() {
        let work = tempfile::tempdir().expect("a folder");
        let root = work.path().join("root");
        for name in ["b", "a/b.json", "a/c/d.json", "a-b", ".hidden/x", "a/.x", "z/y", "z/.nightread-1a2B3c"]
        {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, b"x").expect("a file");
        }
        symlink(root.join("a"), root.join("linked")).expect("a link");
        symlink(root.join("b"), root.join("z/file")).expect("a link");
        let store = FolderStore::of_a_person([("results".to_owned(), root)]);
        let names = store.names("results").expect("a walk");
        let names: Vec<String> =
            names.map(|name| name.expect("walked").expect("a name").name().to_owned()).collect();
        assert_eq!(names, ["a-b", "b", ".hidden/x", "a/.x", "a/b.json", "a/c/d.json", "z/file", "z/y"]);
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_the_end() {
        let work = tempfile::tempdir().expect("a folder");
        let store = FolderStore::of_a_person([("results".to_owned(), work.path().join("none"))]);
        let mut names = store.names("results").expect("a walk");
        assert!(names.next().expect("something").is_err());
        assert!(names.next().is_none());
    }
}
