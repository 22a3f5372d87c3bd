//! Progress on disk: written beside, made durable, and renamed into place, so that a reader finds the old or the new.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::item::{SavedWork, Work};
use super::source::Position;
use super::work::Counts;

const FORMAT: u32 = 1;

/// Everything before `position` is announced and confirmed, left out, or among `open`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    format: u32,
    /// What was asked for; another announcement has another.
    fingerprint: String,
    pub position: Position,
    pub counts: Counts,
    open: Vec<SavedWork>,
}

impl Checkpoint {
    pub fn new<'a>(
        fingerprint: &str,
        position: Position,
        counts: Counts,
        open: impl Iterator<Item = &'a Work>,
    ) -> Self {
        let open = open.map(SavedWork::from).collect();
        Self { format: FORMAT, fingerprint: fingerprint.to_owned(), position, counts, open }
    }

    /// What was not confirmed.
    pub fn open(self) -> Result<Vec<Work>> {
        let open = self.open.into_iter().map(SavedWork::restore).collect::<Option<_>>();
        open.context("the checkpoint names a blob that Nightread does not take")
    }

    /// The checkpoint at `path`, if there is one.
    pub fn read(path: &Path, fingerprint: &str) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the checkpoint {}", path.display()));
            }
        };
        let found: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no checkpoint of this program", path.display()))?;
        if found.format != FORMAT || found.fingerprint != fingerprint {
            bail!(
                "the checkpoint {} is of another announcement: give it the same arguments, or another file",
                path.display()
            );
        }
        Ok(Some(found))
    }

    /// Durable when it returns.
    pub fn write(&self, path: &Path) -> Result<()> {
        let written = || -> io::Result<()> {
            let parent = folder_of(path);
            // Names may be nobody else's business; a temporary file is its owner's only.
            let mut draft = tempfile::Builder::new().prefix(".nightread-").tempfile_in(&parent)?;
            serde_json::to_writer(&mut draft, self)?;
            draft.flush()?;
            draft.as_file().sync_all()?;
            draft.persist(path).map_err(|refused| refused.error)?;
            File::open(parent)?.sync_all()
        };
        written().with_context(|| format!("cannot write the checkpoint {}", path.display()))
    }
}

/// The end: nothing to go on from.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the checkpoint {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::{BlobRef, ETag};

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_only_by_the_same_announcement() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("progress.json");
        assert!(Checkpoint::read(&path, "f").expect("no file").is_none());
        let blob = BlobRef::parse("incoming/ü \"a\".png").expect("a name");
        let open = [
            Work { blob: blob.clone(), etag: Some(ETag("\"0x1\"".to_owned())), redriven: true },
            Work { blob, etag: None, redriven: false },
        ];
        let position = Position { part: 1, marker: Some("m".to_owned()), after: None, count: 7 };
        let counts = Counts { seen: 5, announced: 3, ..Counts::default() };
        for _ in 0..2 {
            Checkpoint::new("f", position.clone(), counts, open.iter()).write(&path).expect("written");
        }
        let found = Checkpoint::read(&path, "f").expect("sound").expect("there");
        assert_eq!((&found.position, found.counts), (&position, counts));
        assert_eq!(found.open().expect("sound names"), open);
        assert!(Checkpoint::read(&path, "g").is_err());
        fs::write(&path, "{").expect("written");
        assert!(Checkpoint::read(&path, "f").is_err());
        remove(&path).expect("removed");
        remove(&path).expect("gone already");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "no draft is left");
    }
}
