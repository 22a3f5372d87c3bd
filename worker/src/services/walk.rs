//! Which files of a folder are studies: one walk for `process`, `bench` and `announce`.

use std::fs;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use walkdir::{DirEntry, WalkDir};

use crate::adapters::storage::folder::list::by_name;
use crate::cli::names::NameArgs;

/// Endings of what lies beside studies and is none: tables, sidecars, reports, documents, programs.
const NO_STUDY_ENDINGS: [&str; 30] = [
    "csv", "tsv", "json", "jsonl", "html", "htm", "txt", "md", "rst", "pdf", "xml", "xsl", "yaml", "yml",
    "toml", "ini", "cfg", "cff", "log", "py", "ipynb", "sh", "m", "bval", "bvec", "sha256", "md5", "xlsx",
    "docx", "css",
];

/// Whole names of the same kind.
const NO_STUDY_NAMES: [&str; 10] = [
    "license",
    "licence",
    "copying",
    "notice",
    "readme",
    "changes",
    "changelog",
    "makefile",
    "dicomdir",
    "thumbs.db",
];

/// What a name says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Taken,
    /// The patterns leave it out.
    LeftOut,
    /// Nobody would call it a study.
    NoStudy,
}

/// The patterns, ready to be asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

fn set(globs: &[Glob]) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob.clone());
    }
    builder.build()
}

impl Names {
    pub fn new(args: &NameArgs) -> Result<Self, globset::Error> {
        let include = if args.include.is_empty() { None } else { Some(set(&args.include)?) };
        Ok(Self { include, exclude: set(&args.exclude)? })
    }

    /// Judges a path below the folder that is walked, or a blob's name.
    pub fn verdict(&self, path: &Path) -> Selection {
        if self.excludes(path) {
            return Selection::LeftOut;
        }
        match &self.include {
            Some(include) if meets(include, path) => Selection::Taken,
            Some(_) => Selection::LeftOut,
            None if is_plainly_no_study(path) => Selection::NoStudy,
            None => Selection::Taken,
        }
    }

    /// Whether a folder, or a file, is left out whatever else is asked for.
    pub fn excludes(&self, path: &Path) -> bool {
        meets(&self.exclude, path)
    }
}

/// A path meets a pattern by itself or by a folder that it is in.
fn meets(set: &GlobSet, path: &Path) -> bool {
    !set.is_empty() && path.ancestors().any(|part| !part.as_os_str().is_empty() && set.is_match(part))
}

fn is_plainly_no_study(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    let name = name.to_string_lossy().to_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    is_hidden(&name) || NO_STUDY_ENDINGS.contains(&ending) || NO_STUDY_NAMES.contains(&name.as_str())
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// What a walk comes by.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file, a link to one, or a link whose file is not there.
    File(PathBuf),
    /// Hidden files and folders, and what is plainly no study.
    NoStudy,
    /// A folder behind a link could be anywhere, and lead back.
    LinkedFolder,
    LeftOut,
    Unreadable(walkdir::Error),
}

/// Walks a folder, in the order of whole names: `a-b` comes before `a/b`. Memory holds the entries of the folders on the
/// way, not the tree.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    root: &'a Path,
    names: &'a Names,
    /// Where results go: no input, wherever it lies.
    results: Option<&'a Path>,
    entries: walkdir::IntoIter,
}

impl<'a> Walk<'a> {
    /// `root`: what names are relative to; `start`: the folder to walk, which is `root` or in it.
    pub fn new(root: &'a Path, start: &Path, names: &'a Names, results: Option<&'a Path>) -> Self {
        Self { root, names, results, entries: WalkDir::new(start).sort_by(by_name).into_iter() }
    }

    fn judged(&mut self, entry: DirEntry) -> Option<Found> {
        let is_folder = entry.file_type().is_dir();
        if entry.depth() == 0 && is_folder {
            return None;
        }
        let skipped = if self.results == Some(entry.path()) {
            Some(None)
        } else if is_hidden(&entry.file_name().to_string_lossy()) {
            Some(Some(Found::NoStudy))
        } else {
            let excluded = is_folder && self.names.excludes(self.inner(&entry));
            excluded.then_some(Some(Found::LeftOut))
        };
        match skipped {
            Some(found) => {
                if is_folder {
                    self.entries.skip_current_dir();
                }
                found
            }
            None if is_folder => None,
            None => Some(self.file(entry)),
        }
    }

    fn file(&self, entry: DirEntry) -> Found {
        // A link counts as what it leads to; one that leads nowhere is an input that fails.
        match fs::metadata(entry.path()) {
            Ok(target) if target.is_dir() => return Found::LinkedFolder,
            Ok(target) if !target.is_file() => return Found::NoStudy,
            Ok(_) | Err(_) => {}
        }
        match self.names.verdict(self.inner(&entry)) {
            Selection::Taken => Found::File(entry.into_path()),
            Selection::LeftOut => Found::LeftOut,
            Selection::NoStudy => Found::NoStudy,
        }
    }

    fn inner<'e>(&self, entry: &'e DirEntry) -> &'e Path {
        entry.path().strip_prefix(self.root).unwrap_or(entry.path())
    }
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            match self.entries.next()? {
                Ok(entry) => {
                    if let Some(found) = self.judged(entry) {
                        return Some(found);
                    }
                }
                Err(error) => return Some(Found::Unreadable(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cli::names::pattern;

    fn names(include: &[&str], exclude: &[&str]) -> Names {
        let globs = |texts: &[&str]| texts.iter().map(|text| pattern(text).expect(text)).collect();
        Names::new(&NameArgs { include: globs(include), exclude: globs(exclude) }).expect("patterns")
    }

    #[test]
    fn patterns_know_segments() {
        for (pattern, name, fits) in [
            ("*.dcm", "a.dcm", true),
            ("*.dcm", "ward/a.dcm", true),
            ("/*.dcm", "ward/a.dcm", false),
            ("/*.dcm", "a.dcm", true),
            ("**/*.dcm", "ward/3/a.dcm", true),
            ("**/*.dcm", "a.dcm", true),
            ("ward/**", "ward/3/a.dcm", true),
            ("ward/**", "wards/3", false),
            ("ward", "x/ward/3", true),
            ("ward/", "ward/3", true),
            ("ward", "x/wards/3", false),
            ("sub-*/ses-1", "sub-01/ses-1/a.nii", true),
            ("sub-*/ses-1", "x/sub-01/ses-1/a.nii", false),
            ("ward?/a*b", "ward3/a--b", true),
            ("ward?/a*b", "ward//a--b", false),
            ("**/x/**/y", "x/y", true),
            ("**/x/**/y", "a/x/b/c/y", true),
            ("**/x/**/y", "ax/y", false),
            ("*.{dcm,nii.gz}", "a/b.nii.gz", true),
            ("ü*", "üb", true),
            ("**", "a/b", true),
        ] {
            let include = names(&[pattern], &[]).verdict(name.as_ref());
            assert_eq!(include == Selection::Taken, fits, "{pattern} on {name}");
            let exclude = names(&[], &[pattern]).verdict(name.as_ref());
            assert_eq!(exclude == Selection::LeftOut, fits, "{pattern} on {name}");
        }
        assert!(pattern("a[").is_err() && pattern("{a").is_err());
    }

    #[test]
    fn what_is_plainly_no_study_is_known_by_its_name() {
        for name in [
            "a.csv",
            "b/participants.TSV",
            "LICENSE",
            "x/README",
            "README.md",
            "DICOMDIR",
            "Thumbs.db",
            "._a.dcm",
        ] {
            assert_eq!(names(&[], &[]).verdict(name.as_ref()), Selection::NoStudy, "{name}");
        }
        for name in [
            "IM0001",
            "a.dcm",
            "csv",
            "a.nii.gz",
            "scan.img",
            "readme-scan.dcm",
            "readme.dcm",
            "a.bin",
            "a.",
            "1.2.840.1",
        ] {
            assert_eq!(names(&[], &[]).verdict(name.as_ref()), Selection::Taken, "{name}");
        }
        assert_eq!(names(&["*.txt"], &[]).verdict("a.txt".as_ref()), Selection::Taken, "asked for by name");
    }

    #[test]
    fn a_walk_meets_everything_once_and_leaves_nothing_uncounted() {
        let work = tempfile::tempdir().expect("a folder");
        let root = work.path();
        for file in [
            "a-b.dcm",
            "a/b.dcm",
            "a/c/d.dcm",
            "a.dcm",
            ".git/x.dcm",
            "notes.txt",
            "out/a.json",
            "skip/e.dcm",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, b"x").expect("a file");
        }
        symlink("a", root.join("linked")).expect("a link");
        symlink(root, root.join("a/up")).expect("a link");
        symlink("a.dcm", root.join("link.dcm")).expect("a link");
        symlink("gone.dcm", root.join("broken.dcm")).expect("a link");
        let names = names(&[], &["skip"]);
        let results = root.join("out");
        let (mut files, mut others) = (Vec::new(), [0; 3]);
        for found in Walk::new(root, root, &names, Some(&results)) {
            match found {
                Found::File(path) => {
                    files.push(path.strip_prefix(root).expect("inside").display().to_string());
                }
                Found::NoStudy => others[0] += 1,
                Found::LinkedFolder => others[1] += 1,
                Found::LeftOut => others[2] += 1,
                Found::Unreadable(error) => panic!("{error}"),
            }
        }
        assert_eq!(files, ["a-b.dcm", "a.dcm", "a/b.dcm", "a/c/d.dcm", "broken.dcm", "link.dcm"]);
        assert_eq!(others, [2, 2, 1], "no study, linked folders, left out");
    }
}
