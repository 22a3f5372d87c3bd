//! Room for entries: those that were not used for the longest time go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::names::{MAKING, RECORD};

/// What was used so recently stays, whatever the limit: another process may be opening its sessions from it.
const IN_USE: Duration = Duration::from_mins(10);

/// A folder that is older than this is no longer being made: its maker was killed.
const LEFT_BEHIND: Duration = Duration::from_hours(24);

/// Removes entries of `folder`, the one longest unused first, until those left have `limit_bytes` at most; and what makers that
/// were killed left behind. What cannot be removed stays.
pub(super) fn make(folder: &Path, limit_bytes: u64) {
    let mut entries = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_making = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(MAKING));
        if !is_making {
            entries.push((unused_for(&path.join(RECORD)), bytes_of(&path), path));
        } else if unused_for(&path) > LEFT_BEHIND {
            // Another process may do the same at once.
            let _ = fs::remove_dir_all(&path);
        }
    }
    entries.sort();
    let mut left: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    while let Some((age, bytes, path)) = entries.pop() {
        if left <= limit_bytes || age < IN_USE {
            return;
        }
        if let Err(error) = remove(folder, &path) {
            tracing::debug!(path = %path.display(), %error, "an optimised graph cannot be removed");
        }
        left -= bytes;
    }
}

/// Since when nobody used it. What cannot tell was not used for ever.
fn unused_for(path: &Path) -> Duration {
    let used = path.metadata().and_then(|facts| facts.modified());
    used.map_or(Duration::MAX, |used| SystemTime::now().duration_since(used).unwrap_or_default())
}

/// Bytes of the files in a folder.
pub(super) fn bytes_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
}

/// Removes an entry, which nobody finds any more from the first step on.
pub(super) fn remove(folder: &Path, entry: &Path) -> io::Result<()> {
    let aside = tempfile::Builder::new().prefix(MAKING).tempdir_in(folder)?;
    let there: PathBuf = aside.path().join("removed");
    fs::rename(entry, there)
}
