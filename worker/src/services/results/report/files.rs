//! Where a report goes: one file, or one with a folder beside it.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use nightread_domain::BlobRef;
use nightread_report::safe;

use crate::services::results::output::write_whole;

/// How the names of what is beside a page begin. Nothing else is ever removed.
const OURS: [&str; 5] = ["scan-", "image-", "thumbnail-", "heatmap-", "volume-"];

/// Takes what a report consists of.
#[derive(Debug)]
pub(super) struct Shelf {
    page: PathBuf,
    /// The folder beside the page, and its name.
    beside: Option<(PathBuf, String)>,
}

impl Shelf {
    /// Makes the folder beside `page` where one is needed, without what an earlier report left in it.
    ///
    /// # Errors
    /// When the folder cannot be made, or the page's name is no text.
    pub fn open(page: &Path, beside: bool) -> Result<Self> {
        let mut shelf = Self { page: page.to_owned(), beside: None };
        let stem = page.file_stem().and_then(|stem| stem.to_str());
        let name = format!("{}_files", stem.context("the name of the report is no UTF-8")?);
        let folder = page.with_file_name(&name);
        if folder.is_dir() {
            remove_ours(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        if beside {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            shelf.beside = Some((folder, name));
        }
        Ok(shelf)
    }

    pub const fn is_beside(&self) -> bool {
        self.beside.is_some()
    }

    /// Keeps a part of the report; its address for the page.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<String> {
        let Some((folder, called)) = &self.beside else { return Ok(safe::data_address(media_type, bytes)) };
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(safe::link(&format!("{called}/{name}")))
    }

    /// From a page in the folder back to the scans of the first one.
    pub fn way_back(&self) -> String {
        let name = self.page.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        format!("{}#scans", safe::link(&format!("../{name}")))
    }

    /// Writes the page whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_page(&self, bytes: &[u8]) -> Result<()> {
        write_whole(&self.page, bytes)
    }
}

fn remove_ours(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name: OsString = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| OURS.iter().any(|start| name.starts_with(start)));
        if is_ours && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `container/name` as [`nightread_report::Beside`] has it.
pub(super) fn blob_of(place: &str) -> Option<BlobRef> {
    let (container, name) = place.split_once('/')?;
    BlobRef::new(container, name).ok()
}

/// The link from a page in `folder`, an absolute path without links, to a file. `None` where it has no such path, or its name is no
/// text.
pub(super) fn link(folder: &Path, file: &Path) -> Option<String> {
    let file = file.canonicalize().ok()?;
    let shared = folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Some(".."));
    let down = file.components().skip(shared).map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let down: Vec<&str> = down.collect::<Option<_>>()?;
    let parts: Vec<&str> = up.flatten().chain(down).collect();
    Some(safe::link(&parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_go_up_and_down() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("its path");
        fs::create_dir_all(root.join("results/a b")).expect("folders");
        fs::create_dir_all(root.join("reports")).expect("folders");
        fs::write(root.join("results/a b/x.json"), "{}").expect("a file");
        let file = root.join("results/a b/x.json");
        assert_eq!(link(&root.join("reports"), &file).as_deref(), Some("./../results/a%20b/x.json"));
        assert_eq!(link(&root.join("results"), &file).as_deref(), Some("./a%20b/x.json"));
        assert_eq!(link(&root, &root.join("none")), None);
    }

    #[test]
    fn what_an_earlier_report_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let page = root.path().join("r.html");
        let folder = root.path().join("r_files");
        fs::create_dir(&folder).expect("a folder");
        for name in ["scan-00001.html", "thesis.docx"] {
            fs::write(folder.join(name), "x").expect("a file");
        }
        let shelf = Shelf::open(&page, true).expect("a shelf");
        assert!(!folder.join("scan-00001.html").exists() && folder.join("thesis.docx").exists());
        assert_eq!(shelf.put("image-1.jpg", "image/jpeg", b"x").expect("written"), "./r_files/image-1.jpg");
        assert_eq!(shelf.way_back(), "./../r.html#scans");
        shelf.write_page(b"page").expect("written");
        assert_eq!(fs::read(&page).expect("the page"), b"page");
        let inside = Shelf::open(&page, false).expect("a shelf");
        assert_eq!(
            inside.put("p.jpg", "image/jpeg", b"x").expect("an address"),
            "data:image/jpeg;base64,eA=="
        );
    }
}
