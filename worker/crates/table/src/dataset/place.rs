//! The folder of a data set, and how a new one takes its place.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf, absolute};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use super::error::DataSetError;

/// Stands before the names of folders that are being made beside a data set.
const STAGING: &str = "nightread-table-";

/// Stands before those that were set aside, where two folders cannot change places in one step.
const ASIDE: &str = "nightread-former-";

/// The folder by its absolute path. It is made, or found again where an update was killed between two steps.
pub(super) fn prepared(folder: &Path) -> Result<PathBuf, DataSetError> {
    let folder = absolute(folder)?;
    let (parent, name) = parent_and_name(&folder)?;
    if !folder.exists()
        && let Some(former) = beside(parent, &format!(".{ASIDE}{name}-"))?.pop()
    {
        fs::rename(former, &folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Nobody else writes the data set as long as the file is held; then what killed updates left beside it is removed.
pub(super) fn locked(folder: &Path) -> Result<File, DataSetError> {
    let lock = File::open(folder)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DataSetError::Refused(format!(
                "{}: another program writes it now",
                folder.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let (parent, name) = parent_and_name(folder)?;
    for prefix in [STAGING, ASIDE] {
        for left in beside(parent, &format!(".{prefix}{name}-"))? {
            fs::remove_dir_all(left)?;
        }
    }
    Ok(lock)
}

fn parent_and_name(folder: &Path) -> Result<(&Path, &str), DataSetError> {
    match (folder.parent(), folder.file_name().and_then(|name| name.to_str())) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(DataSetError::Refused(format!("{} cannot be a data set", folder.display()))),
    }
}

fn beside(parent: &Path, start: &str) -> io::Result<Vec<PathBuf>> {
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The parts in a folder, in the order of their names.
pub(super) fn parts(folder: &Path) -> Result<Vec<PathBuf>, DataSetError> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "parquet") {
            let text = format!("{} is no part of a data set; name a folder of its own", path.display());
            return Err(DataSetError::Refused(text));
        }
        parts.push(path);
    }
    parts.sort();
    Ok(parts)
}

/// An empty folder beside the data set, on the same file system.
pub(super) fn staging(folder: &Path) -> Result<TempDir, DataSetError> {
    use std::os::unix::fs::PermissionsExt;
    let (parent, name) = parent_and_name(folder)?;
    let rights = fs::metadata(folder)?.permissions();
    let staged = tempfile::Builder::new().prefix(&format!(".{STAGING}{name}-")).tempdir_in(parent)?;
    fs::set_permissions(staged.path(), fs::Permissions::from_mode(rights.mode()))?;
    Ok(staged)
}

/// Puts a part into another folder: the same file under a second name, or a copy where the file system has no such thing.
pub(super) fn link(part: &Path, folder: &Path) -> io::Result<()> {
    let to = folder.join(part.file_name().unwrap_or_default());
    fs::hard_link(part, &to).or_else(|_| fs::copy(part, &to).map(|_| ()))
}

/// Puts `staged` in the place of `folder`, and removes what was there.
pub(super) fn exchange(staged: TempDir, folder: &Path) -> Result<(), DataSetError> {
    File::open(staged.path())?.sync_all()?;
    match renameat_with(CWD, staged.path(), CWD, folder, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let (parent, name) = parent_and_name(folder)?;
            let aside = parent.join(format!(".{ASIDE}{name}-{}", std::process::id()));
            fs::rename(folder, &aside)?;
            fs::rename(staged.path(), folder)?;
            fs::remove_dir_all(aside)?;
            // What it was for has moved away.
            let _ = staged.keep();
            return Ok(synced(folder)?);
        }
        Err(error) => return Err(io::Error::from(error).into()),
    }
    synced(folder)?;
    // By now the old state lies there.
    Ok(staged.close()?)
}

fn synced(folder: &Path) -> io::Result<()> {
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
