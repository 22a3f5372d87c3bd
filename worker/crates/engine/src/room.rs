//! Room in a cache, whose entries are folders: those that were not used for the longest time go.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Begins the name of a folder in which an entry is being made, or from which one is being removed.
pub(crate) const MAKING: &str = ".making-";

/// What was used so recently stays, whatever the limit: another process may be about to open it.
const IN_USE: Duration = Duration::from_mins(10);

/// A folder that is being made is locked by its maker within this time, and as long as the maker lives.
const UNLOCKED: Duration = Duration::from_mins(1);

/// Removes entries of `folder`, the one longest unused first, until those left have `limit_bytes` at most; and what makers that
/// were killed left behind. An entry is a folder whose name `is_entry` knows; whatever else lies there stays. It was used when
/// its file `mark` was last written to, and goes when `alone` says, by a value held until nobody finds it any more, that nobody
/// uses it now. What cannot be removed stays, with a warning. Blocks.
pub fn make<T>(
    folder: &Path,
    limit_bytes: u64,
    mark: &str,
    is_entry: impl Fn(&str) -> bool,
    alone: impl Fn(&Path) -> Option<T>,
) {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str().filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) else {
            continue;
        };
        if is_entry(name) {
            entries.push((unused_for(&path.join(mark)), bytes_of(&path), path));
        }
    }
    clear(folder);
    entries.sort();
    let mut left: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    while let Some((age, bytes, path)) = entries.pop() {
        if left <= limit_bytes || age < IN_USE {
            return;
        }
        let Some(alone) = alone(&path) else { continue };
        if is_gone(&path, remove(folder, &path, alone)) {
            left -= bytes;
        }
    }
}

/// Removes what makers that were killed left behind: a worker that is killed each time it makes an entry would fill the disk.
pub(crate) fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_of_a_maker = entry.file_name().as_encoded_bytes().starts_with(MAKING.as_bytes());
        // The kernel lets a lock go with its holder, however that ends.
        let is_left = || File::open(&path).is_ok_and(|maker| maker.try_lock().is_ok());
        if is_of_a_maker && unused_for(&path) > UNLOCKED && is_left() {
            is_gone(&path, fs::remove_dir_all(&path));
        }
    }
}

/// Whether that was removed, by us or by another process that does the same at once; else it is told.
fn is_gone(path: &Path, removed: io::Result<()>) -> bool {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "what is no longer used cannot be removed from a cache");
            false
        }
        _ => true,
    }
}

/// Since when nobody used it. What cannot tell was not used for ever.
fn unused_for(path: &Path) -> Duration {
    let used = path.metadata().and_then(|facts| facts.modified());
    used.map_or(Duration::MAX, |used| SystemTime::now().duration_since(used).unwrap_or_default())
}

/// Bytes of all files below a folder; where links lead is not looked at.
pub(crate) fn bytes_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.filter_map(|entry| {
        let facts = entry.metadata().ok()?;
        Some(if facts.is_dir() { bytes_of(&entry.path()) } else { facts.len() })
    });
    bytes.sum()
}

/// Removes an entry, which nobody finds any more from the first step on; `alone` is held until then.
pub(crate) fn remove<T>(folder: &Path, entry: &Path, alone: T) -> io::Result<()> {
    let aside = tempfile::Builder::new().prefix(MAKING).tempdir_in(folder)?;
    let there: PathBuf = aside.path().join("removed");
    fs::rename(entry, there)?;
    drop(alone);
    aside.close()
}
