//! Opening files without leaving a folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Where the links of a folder may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Anywhere: a person's own files, which may be links into another store (DataLad, git-annex).
    Anywhere,
    /// Nowhere outside the folder: others put files into it, and a link must not show them what this service may read.
    Inside,
}

/// A name changes under the kernel's feet so often before it is given up.
const ROUNDS: u32 = 8;

/// Opens a file for reading. `name` is below `root`. Never waits for a pipe's other end.
pub(super) fn open(root: &Path, name: &Path, links: Links) -> io::Result<File> {
    if links == Links::Anywhere {
        return open_here(&root.join(name));
    }
    let folder = File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ROUNDS {
        match openat2(&folder, name, flags, Mode::empty(), resolve) {
            Ok(file) => return Ok(file.into()),
            Err(Errno::AGAIN) => {}
            Err(Errno::XDEV) => return Err(leaves()),
            // Kernels before 5.6, and sandboxes that know no such call.
            Err(Errno::NOSYS | Errno::PERM) => return open_checked(root, name),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::AGAIN.into())
}

fn open_checked(root: &Path, name: &Path) -> io::Result<File> {
    let path = root.join(name).canonicalize()?;
    if path.starts_with(root.canonicalize()?) { open_here(&path) } else { Err(leaves()) }
}

fn open_here(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

/// Makes the folder `inner`, which is `root` or below it, without following links out of `root`.
pub(super) fn make_folder(root: &Path, inner: &Path, links: Links) -> io::Result<()> {
    if links == Links::Inside {
        fs::create_dir_all(root)?;
        // What is not there yet is made as folders, not as links: the last that is there decides.
        let there = inner.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(root);
        if !there.canonicalize()?.starts_with(root.canonicalize()?) {
            return Err(leaves());
        }
    }
    fs::create_dir_all(inner)
}

fn leaves() -> io::Error {
    io::Error::from(Errno::XDEV)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What an opened file holds, or the number of the error.
    fn text_of(opened: io::Result<File>) -> Result<String, Option<i32>> {
        opened.and_then(io::read_to_string).map_err(|error| error.raw_os_error())
    }

    #[test]
    fn links_inside_are_followed_and_those_out_are_not() {
        let work = tempfile::tempdir().expect("a folder");
        let root = work.path().join("root");
        fs::create_dir_all(root.join("annex")).expect("a folder");
        fs::write(root.join("annex/key"), "inside").expect("a file");
        fs::write(work.path().join("secret"), "outside").expect("a file");
        symlink("annex/key", root.join("inside")).expect("a link");
        symlink("../secret", root.join("relative")).expect("a link");
        symlink(work.path().join("secret"), root.join("absolute")).expect("a link");
        symlink("..", root.join("up")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        let outside = Err(Some(Errno::XDEV.raw_os_error()));
        for (name, found) in [
            ("inside", Ok("inside".to_owned())),
            ("relative", outside.clone()),
            ("absolute", outside.clone()),
            ("up/secret", outside),
            ("loop", Err(Some(Errno::LOOP.raw_os_error()))),
        ] {
            assert_eq!(text_of(open(&root, name.as_ref(), Links::Inside)), found, "{name}");
            assert_eq!(text_of(open_checked(&root, name.as_ref())), found, "{name}");
        }
        let anywhere = open(&root, "absolute".as_ref(), Links::Anywhere);
        assert_eq!(text_of(anywhere), Ok("outside".to_owned()));
    }

    #[test]
    fn no_folder_is_made_behind_a_link_that_leads_out() {
        let work = tempfile::tempdir().expect("a folder");
        let root = work.path().join("root");
        fs::create_dir_all(&root).expect("a folder");
        symlink("..", root.join("up")).expect("a link");
        assert!(make_folder(&root, &root.join("up/new"), Links::Inside).is_err());
        assert!(!work.path().join("new").exists());
        make_folder(&root, &root.join("a/b"), Links::Inside).expect("made");
        make_folder(&root, &root.join("up/new"), Links::Anywhere).expect("made");
        assert!(work.path().join("new").is_dir() && root.join("a/b").is_dir());
    }
}
