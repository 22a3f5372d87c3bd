//! Versions of models in a folder of this machine: `DIGEST/NAME/FILE`. Nothing in it is believed: each file is held against the
//! list of its version, and the list against the pin, whenever a model is asked for. What is read with is held (`lease.rs`).

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{MANIFEST_FILE, file_sha256};
use tempfile::NamedTempFile;

use super::sums::{MOST_SUMS_BYTES, SUMS_FILE, Sums, digest_of};
use crate::settings::Pin;

/// How the names begin of files that are not whole yet.
const DRAFT: &str = ".nightread-";

/// Held by whoever fetches a version, so that workers which start together download it once. The kernel lets it go with its
/// holder, however that ends.
const LOCK: &str = ".lock";

/// Between two looks at a lock that another holds.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// The folder that models are fetched into.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// How much of a version somebody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Who reads studies with it.
    All,
    /// Who asks what it is.
    Manifest,
}

impl Extent {
    fn has(self, name: &str) -> bool {
        self == Self::All || name == MANIFEST_FILE
    }
}

/// What of a version is there and right.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Of the files that are.
    pub bytes: u64,
    /// `None` where the list is missing or wrong.
    pub sums: Option<Sums>,
    /// Files that are missing or wrong.
    pub lacking: Vec<String>,
}

impl Held {
    pub(super) fn is_whole(&self) -> bool {
        self.sums.is_some() && self.lacking.is_empty()
    }
}

impl Cache {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a version, which bears the model's name.
    pub fn folder_of(&self, pin: &Pin) -> PathBuf {
        self.place_of(pin).join(pin.name())
    }

    /// The folder that goes with a version.
    pub(super) fn place_of(&self, pin: &Pin) -> PathBuf {
        self.folder.join(pin.sha256())
    }

    /// Whether the manifest of a version is there and right. Blocks.
    pub fn has_manifest(&self, pin: &Pin) -> bool {
        self.look(pin, Extent::Manifest).is_whole()
    }

    /// Reads and digests what there is of a version, of its files those that `extent` has. Blocks.
    pub(super) fn look(&self, pin: &Pin, extent: Extent) -> Held {
        let folder = self.folder_of(pin);
        let Some(sums) = sums_in(&folder, pin) else { return Held::default() };
        let mut held = Held::default();
        for (name, sha256) in sums.files().filter(|(name, _)| extent.has(name)) {
            let path = folder.join(name);
            if is_right(&path, sha256) {
                held.bytes += path.metadata().map_or(0, |file| file.len());
            } else {
                held.lacking.push(name.to_owned());
            }
        }
        held.sums = Some(sums);
        held
    }

    /// Waits until nobody else fetches the version, which is held. Where the file system has no locks, two may: each renames whole files.
    pub(super) async fn lock(&self, pin: &Pin) -> Result<Option<File>, JobError> {
        let folder = self.folder_of(pin);
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
        let path = self.place_of(pin).join(LOCK);
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|error| unwritable(&path, error))?;
        let mut waits = false;
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    clear(&folder);
                    return Ok(Some(lock));
                }
                Err(TryLockError::WouldBlock) => {
                    if !waits {
                        tracing::info!(%pin, "another worker fetches this model");
                    }
                    waits = true;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
    }

    /// An empty file that nobody takes for a part of the version.
    pub(super) fn draft(&self, pin: &Pin) -> Result<Draft, JobError> {
        let folder = self.folder_of(pin);
        let file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(&folder);
        Ok(Draft { file: file.map_err(|error| unwritable(&folder, error))?, folder })
    }
}

/// A file while it is written. Gone, unless it is kept.
#[derive(Debug)]
pub(super) struct Draft {
    file: NamedTempFile,
    folder: PathBuf,
}

impl Draft {
    /// Writes all of `body`, and gives the digest of what was written. Blocks.
    pub(super) fn fill(&mut self, mut body: impl Read) -> Result<String, JobError> {
        let mut piece = vec![0; PIECE];
        loop {
            match body.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    self.file.write_all(&piece[..read]).map_err(|error| unwritable(&self.folder, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Of the file that was fetched, or of a registry that is a folder: no fault of the cache.
                Err(error) => {
                    let text = "what was fetched of a model cannot be read";
                    return Err(
                        JobError::new(Stage::Start, ErrorCode::StorageUnavailable, text).with_source(error)
                    );
                }
            }
        }
        file_sha256(self.file.path()).map_err(|error| unwritable(&self.folder, error))
    }

    /// Renames it into place, over what may be there.
    pub(super) fn keep(self, name: &str) -> Result<(), JobError> {
        let path = self.folder.join(name);
        self.file.persist(&path).map_err(|refused| unwritable(&path, refused.error))?;
        Ok(())
    }
}

/// The list of a version, if it has the digest that the pin says.
fn sums_in(folder: &Path, pin: &Pin) -> Option<Sums> {
    let path = folder.join(SUMS_FILE);
    let mut text = Vec::new();
    File::open(&path).ok()?.take(MOST_SUMS_BYTES + 1).read_to_end(&mut text).ok()?;
    if digest_of(&text) != pin.sha256() {
        tracing::warn!(path = %path.display(), "a fetched model's list of files is damaged; it is fetched again");
        return None;
    }
    Sums::parse(&text).ok()
}

fn is_right(path: &Path, sha256: &str) -> bool {
    match file_sha256(path) {
        Ok(found) if found == sha256 => true,
        Ok(found) => {
            tracing::warn!(path = %path.display(), found, expected = sha256, "a fetched file of a model is damaged; it is fetched again");
            false
        }
        Err(_) => false,
    }
}

/// Removes what workers that were killed left behind.
fn clear(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes())) {
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::debug!(%error, "what a killed worker left cannot be removed");
        }
    }
}

fn unwritable(path: &Path, error: io::Error) -> JobError {
    let text = format!("{} cannot be written ([models] registry_cache): {error}", path.display());
    JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text).with_source(error)
}
