//! What a folder holds, in the order of whole names.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use nightread_domain::ports::{Listed, ListedPage, Listing};
use nightread_domain::{BlobRef, JobError, Stage};
use walkdir::{DirEntry, WalkDir};

use super::fault::unreadable;
use super::{FolderStore, Place, inner};
use crate::flow::aside::{STORAGE_TASK, blocking};

/// Files of a page. Each page goes through the folders on its way anew, so a page has more of them than Azure's.
const PAGE: usize = 20_000;

#[async_trait]
impl Listing for FolderStore {
    /// Hidden files and folders are left out, and so are folders behind links, which could be anywhere and lead back. The
    /// marker is the last name of the page before.
    async fn list_page(
        &self,
        container: &str,
        prefix: &str,
        marker: Option<&str>,
        _metadata: bool,
    ) -> Result<ListedPage, JobError> {
        let walk = Names {
            root: self.root(container)?.to_path_buf(),
            prefix: prefix.to_owned(),
            after: marker.map(str::to_owned),
        };
        let (container, links, root) = (container.to_owned(), self.links, walk.root.clone());
        blocking(Stage::Fetch, STORAGE_TASK, move || {
            let (names, next) = walk.page()?;
            let items = names.into_iter().map(|name| {
                let blob = BlobRef::new(&container, name)?;
                let place = Place { root: root.clone(), inner: inner(&blob)?, links };
                let (_, properties) = place.open_file(Stage::Fetch)?;
                Ok(Listed { blob, properties, metadata: BTreeMap::new() })
            });
            Ok(ListedPage { items: items.collect(), next })
        })
        .await
    }

    async fn metadata(&self, blob: &BlobRef) -> Result<Option<BTreeMap<String, String>>, JobError> {
        Ok(self.path_of(blob)?.exists().then(BTreeMap::new))
    }

    fn keeps_metadata(&self) -> bool {
        false
    }
}

/// Names below a container's folder.
struct Names {
    root: PathBuf,
    prefix: String,
    after: Option<String>,
}

impl Names {
    /// Some names, and the last of them where there may be more.
    fn page(&self) -> Result<(Vec<String>, Option<String>), JobError> {
        let folder = self.prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = self.root.join(folder);
        if !folder.is_empty() && !start.is_dir() {
            return Ok((Vec::new(), None));
        }
        let mut names = Vec::new();
        let entries = WalkDir::new(&start).sort_by(by_name).into_iter();
        for entry in entries.filter_entry(|entry| entry.depth() == 0 || self.may_hold(entry)) {
            let entry = entry.map_err(|error| unreadable(Stage::Fetch, error.into()))?;
            if entry.file_type().is_dir() || !is_file(&entry) {
                continue;
            }
            let name = self.name(entry.path());
            if !name.starts_with(&self.prefix) || self.after.as_ref().is_some_and(|after| name <= *after) {
                continue;
            }
            if names.len() == PAGE {
                let next = names.last().cloned();
                return Ok((names, next));
            }
            names.push(name);
        }
        Ok((names, None))
    }

    /// Whether an entry is, or may have below it, what is asked for.
    fn may_hold(&self, entry: &DirEntry) -> bool {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            return false;
        }
        if !entry.file_type().is_dir() {
            return true;
        }
        let below = format!("{}/", self.name(entry.path()));
        let behind = self.after.as_ref().is_some_and(|after| !after.starts_with(&below) && *after > below);
        let beside = !below.starts_with(&self.prefix) && !self.prefix.starts_with(&below);
        !behind && !beside
    }

    /// A name that is no UTF-8 comes so that it is refused, and not left out unseen.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// A link counts as what it leads to; one that leads nowhere is an input that fails.
fn is_file(entry: &DirEntry) -> bool {
    !entry.path_is_symlink() && entry.file_type().is_file()
        || entry.path_is_symlink() && fs::metadata(entry.path()).map_or(true, |target| target.is_file())
}

/// A folder's name counts with the slash that follows it in whole names: `a-b` comes before `a/b`.
pub(crate) fn by_name(a: &DirEntry, b: &DirEntry) -> Ordering {
    listed_name(a).cmp(&listed_name(b))
}

fn listed_name(entry: &DirEntry) -> Vec<u8> {
    let mut name = entry.file_name().as_encoded_bytes().to_vec();
    if entry.file_type().is_dir() {
        name.push(b'/');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(root: &Path, prefix: &str, after: Option<&str>) -> Vec<String> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let (names, next) = Names { root: root.to_owned(), prefix, after }.page().expect("a listing");
        assert_eq!(next, None, "these are few");
        names
    }

    #[test]
    fn names_come_in_the_order_of_whole_names_from_any_of_them_on() {
        let root = tempfile::tempdir().expect("a folder");
        let mut expected = ["a-b", "a/b", "a/c/d", "a.png", "a0", "b"].map(str::to_owned).to_vec();
        for name in &expected {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, b"x").expect("a file");
        }
        fs::write(root.path().join(".hidden"), b"x").expect("a file");
        expected.sort();
        assert_eq!(page(root.path(), "", None), expected);
        for prefix in ["a/", "a", "a/c/d", "b", "c"] {
            let fitting: Vec<_> = expected.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
            assert_eq!(page(root.path(), prefix, None), fitting, "{prefix}");
        }
        assert_eq!(page(root.path(), "nowhere/", None), Vec::<String>::new());
        for (done, after) in expected.iter().enumerate() {
            assert_eq!(page(root.path(), "", Some(after)), expected[done + 1..]);
        }
    }
}
