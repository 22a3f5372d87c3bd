//! Who may have written what is found: a graph that somebody else put there would give wrong numbers in silence.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

const BY_GROUP_OR_OTHERS: u32 = 0o022;
const BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Whether a file or folder is this user's, and nobody else may write to it. Errors are words.
pub(super) fn ours(path: &Path) -> Result<(), String> {
    let facts = path.symlink_metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    let user = rustix::process::geteuid().as_raw();
    if facts.uid() != user {
        return Err(format!("{} belongs to user {}, not to {user}", path.display(), facts.uid()));
    }
    if facts.is_symlink() || facts.mode() & BY_GROUP_OR_OTHERS != 0 {
        return Err(format!("others may write to {}: chmod go-w", path.display()));
    }
    Ok(())
}

/// Whether `folder`, a resolved path, is ours, and nobody can put another in its place: no folder above it is one where anybody
/// may rename what is another's.
pub(super) fn reach(folder: &Path) -> Result<(), String> {
    ours(folder)?;
    for above in folder.ancestors().skip(1) {
        let facts = above.metadata().map_err(|error| format!("{}: {error}", above.display()))?;
        if facts.mode() & BY_OTHERS != 0 && facts.mode() & STICKY == 0 {
            return Err(format!("anybody may rename what lies in {}: chmod o-w", above.display()));
        }
    }
    Ok(())
}
