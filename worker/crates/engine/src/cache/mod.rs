//! Optimised graphs that are kept between runs, in a folder of the user's own.
//!
//! An entry is a folder named by the digest of all that its graph depends on ([`Key`]). It holds the graph, its weights and
//! a record: the key in words, and a digest of graph and weights, by which whoever opens it tells damage. The digest is
//! XXH3 and no SHA-256: it lies beside what it guards, so it cannot keep anybody off who may write there, and it costs a
//! tenth. Who may write there is looked at instead ([`trust`]). An entry is made in a folder of its own, the record last,
//! and renamed into place whole: a half-written one has no name to be found by.

mod key;
mod names;
mod processor;
mod trust;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

pub(crate) use self::key::Key;
use self::names::RECORD;
pub(crate) use self::names::{GRAPH, WEIGHTS};
use crate::digest::is_sha256;
use crate::room::{self, MAKING};

/// Begins the last line of a record.
const DIGEST: &str = "digest ";

/// Bytes of all entries together; those that were not used for the longest time go. A DenseNet-121 has 28 MB, a ResNet-50
/// of scans 94. A network whose own files have more than a quarter of it is not kept.
pub const LIMIT_BYTES: u64 = 1 << 30;

/// A folder of optimised graphs.
#[derive(Clone, Debug)]
pub struct GraphCache {
    folder: PathBuf,
    limit_bytes: u64,
}

/// What lies in an entry, to be held against its digest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub folder: PathBuf,
    /// Of the graph and its weights, as the maker of the entry reckoned it.
    pub digest: String,
}

impl GraphCache {
    /// The cache in `folder`, which is made if it is missing. Errors are words: it cannot be made, or others may write there.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let folder = made.and_then(|()| folder.canonicalize());
        let folder = folder.map_err(|error| format!("it cannot be made: {error}"))?;
        trust::reach(&folder)?;
        Ok(Self { folder, limit_bytes: LIMIT_BYTES })
    }

    /// Another bound on the bytes of all entries than [`LIMIT_BYTES`].
    #[must_use]
    pub fn with_limit_bytes(self, limit_bytes: u64) -> Self {
        Self { limit_bytes, ..self }
    }

    /// Where the user's caches lie (`$XDG_CACHE_HOME/nightread`, else `~/.cache/nightread`), if the environment tells.
    pub fn of_user() -> Option<PathBuf> {
        user_folder(|name| std::env::var_os(name).map(PathBuf::from))
    }

    /// Whether a network whose files have so many bytes is kept: none that would leave room for few others. Optimised, weights
    /// that were stored in fewer bits have four times as many.
    pub(crate) fn takes(&self, bytes: u64) -> bool {
        bytes <= self.limit_bytes / 4
    }

    fn place(&self, key: &Key) -> PathBuf {
        self.folder.join(key.name())
    }

    /// The entry of `key`, marked as used now. Errors are words: it is there and cannot be used.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Entry>, String> {
        let folder = self.place(key);
        if !folder.exists() {
            return Ok(None);
        }
        let files = [RECORD, GRAPH, WEIGHTS].map(|name| folder.join(name));
        trust::ours(&folder)?;
        files.iter().filter(|file| file.exists()).try_for_each(|file| trust::ours(file))?;
        let record = fs::read_to_string(&files[0]).map_err(|error| format!("its record: {error}"))?;
        let digest =
            record.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix(DIGEST)?.strip_suffix('\n'));
        let digest = digest.ok_or("its record is of another graph")?.to_owned();
        // On a disk that takes nothing it stays as old as it is.
        let _ = File::open(&files[0]).and_then(|record| record.set_modified(SystemTime::now()));
        Ok(Some(Entry { folder, digest }))
    }

    /// A folder to make an entry in, gone with its value, and the lock that says that it is being made.
    pub(crate) fn making(&self) -> io::Result<(TempDir, File)> {
        room::clear(&self.folder);
        let mode = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(MAKING).permissions(mode).tempdir_in(&self.folder)?;
        let lock = File::open(folder.path())?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok((folder, lock))
    }

    /// Keeps what was made in `made` under `key`, in place of what is there, and makes room for it. Where it lies then. Errors
    /// are words, and leave `made` as it is.
    pub(crate) fn keep(&self, made: &Path, key: &Key, digest: &str) -> Result<PathBuf, String> {
        let words = |error: io::Error| error.to_string();
        for file in [GRAPH, WEIGHTS].map(|name| made.join(name)).iter().filter(|file| file.exists()) {
            fs::set_permissions(file, Permissions::from_mode(0o600)).map_err(words)?;
        }
        let bytes = room::bytes_of(made);
        if bytes > self.limit_bytes {
            return Err(format!("it has {bytes} bytes, more than all together may have"));
        }
        let record = made.join(RECORD);
        fs::write(&record, format!("{}{DIGEST}{digest}\n", key.as_str())).map_err(words)?;
        fs::set_permissions(&record, Permissions::from_mode(0o600)).map_err(words)?;
        let room = self.limit_bytes.saturating_sub(bytes);
        room::make(&self.folder, room, RECORD, is_sha256, |_| Some(()));
        let place = self.place(key);
        if place.exists() {
            room::remove(&self.folder, &place, ()).map_err(words)?;
        }
        // Whoever made the same at once may have been first: then that one stays, and this one is used where it is.
        fs::rename(made, &place).map_err(words)?;
        Ok(place)
    }
}

fn user_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // As the XDG Base Directory Specification has it, a relative path is none.
    let named = |name| variable(name).filter(|path| path.is_absolute());
    let caches = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("nightread"))
}

#[cfg(test)]
mod tests;
