//! What the operating system's errors mean here. Its own words go on to the user; paths of blobs do not.

use std::io::{self, ErrorKind};
use std::path::Path;

use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};
use rustix::io::Errno;

/// A file that cannot be read.
pub(super) fn unreadable(stage: Stage, error: io::Error) -> JobError {
    let (code, message) = match (error.kind(), errno(&error)) {
        _ if is_absent(&error) => (ErrorCode::BlobNotFound, "no such file".to_owned()),
        (ErrorKind::PermissionDenied, _) => {
            (ErrorCode::StorageForbidden, "not allowed to open the file".to_owned())
        }
        (_, Some(Errno::XDEV)) => {
            (ErrorCode::StorageForbidden, "a link that leads out of its container is not followed".to_owned())
        }
        (_, Some(Errno::LOOP)) => (ErrorCode::StorageRejected, "a link that leads to itself".to_owned()),
        (_, Some(Errno::NXIO | Errno::NODEV)) => return not_a_file(stage),
        (ErrorKind::InvalidFilename | ErrorKind::IsADirectory, _) => {
            (ErrorCode::StorageRejected, "the file system refuses this name".to_owned())
        }
        _ => (ErrorCode::StorageUnavailable, format!("the file cannot be read: {}", said(&error))),
    };
    blamed(JobError::new(stage, code, message)).with_source(bare(error))
}

/// A pipe, a device, a socket.
pub(super) fn not_a_file(stage: Stage) -> JobError {
    JobError::new(stage, ErrorCode::StorageRejected, "neither a file nor a link to one")
}

/// A link whose file is not on this machine.
pub(super) fn dangling(stage: Stage) -> JobError {
    let text = "a link to a file that is not there (in a DataLad or git-annex data set, `datalad get` or `git annex get` fetches it)";
    JobError::new(stage, ErrorCode::BlobNotFound, text)
}

/// A result that cannot be written below `root`.
pub(super) fn unwritable(root: &Path, error: io::Error) -> JobError {
    let (code, message) = match (error.kind(), errno(&error)) {
        // The name's fault, and no other result's.
        (ErrorKind::InvalidFilename | ErrorKind::IsADirectory, _) => (
            ErrorCode::StorageRejected,
            format!("the file system refuses the result's name: {}", said(&error)),
        ),
        (ErrorKind::NotADirectory | ErrorKind::AlreadyExists, _) if root.is_dir() => (
            ErrorCode::StorageRejected,
            "another result lies where a folder of this one's name should be".to_owned(),
        ),
        (_, Some(Errno::XDEV)) => {
            (ErrorCode::StorageForbidden, "a link that leads out of the results is not followed".to_owned())
        }
        (_, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR)) | (ErrorKind::NotFound, _) => {
            (ErrorCode::StorageUnavailable, format!("the result cannot be written now: {}", said(&error)))
        }
        _ => {
            let text = format!("results cannot be written below {}: {}", root.display(), said(&error));
            (ErrorCode::StorageUnwritable, text)
        }
    };
    blamed(JobError::new(Stage::Store, code, message)).with_source(bare(error))
}

/// Rights on a file are the file's own, where an account's are everybody's.
fn blamed(error: JobError) -> JobError {
    match error.code {
        ErrorCode::StorageForbidden => error.with_class(ErrorClass::Permanent),
        _ => error,
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The system's number. Libraries that put words of their own around an error, with a path, keep its kind alone.
fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error).or(match error.kind() {
        ErrorKind::NotFound => Some(Errno::NOENT),
        ErrorKind::PermissionDenied => Some(Errno::ACCESS),
        ErrorKind::StorageFull => Some(Errno::NOSPC),
        ErrorKind::QuotaExceeded => Some(Errno::DQUOT),
        ErrorKind::ReadOnlyFilesystem => Some(Errno::ROFS),
        _ => None,
    })
}

/// The system's error without a path that a library put around it: folders of blobs are named by others.
fn bare(error: io::Error) -> io::Error {
    errno(&error).map_or(error, io::Error::from)
}

/// "No space left on device (os error 28)".
fn said(error: &io::Error) -> String {
    errno(error).map_or_else(|| error.kind().to_string(), |number| io::Error::from(number).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_error(number: Errno) -> JobError {
        unwritable(Path::new("/"), number.into())
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_from_a_name_that_is_refused() {
        for number in
            [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::ACCESS, Errno::PERM, Errno::IO, Errno::FBIG]
        {
            let error = write_error(number);
            assert_eq!(error.code, ErrorCode::StorageUnwritable, "{number}");
            assert!(error.message.contains(&io::Error::from(number).to_string()), "{}", error.message);
        }
        for number in [Errno::NAMETOOLONG, Errno::ISDIR, Errno::NOTDIR, Errno::EXIST] {
            assert_eq!(write_error(number).code, ErrorCode::StorageRejected, "{number}");
        }
        assert_eq!(write_error(Errno::MFILE).code, ErrorCode::StorageUnavailable);
        assert_eq!(
            unwritable(Path::new("/dev/null"), Errno::NOTDIR.into()).code,
            ErrorCode::StorageUnwritable
        );
    }

    /// As a library says it that knows the path.
    fn denied() -> io::Error {
        let outer =
            tempfile::Builder::new().tempfile_in("/proc/Jane-Doe").expect_err("nobody makes files there");
        assert!(outer.to_string().contains("Jane-Doe"), "or this test shows nothing: {outer}");
        outer
    }

    #[test]
    fn the_number_is_found_inside_a_library_s_words() {
        let outer = tempfile::Builder::new().tempfile_in("/nowhere/at/all").expect_err("no folder");
        assert!(outer.raw_os_error().is_none(), "or this test shows nothing");
        assert_eq!(errno(&outer), Some(Errno::NOENT));
        assert!(!said(&outer).contains("nowhere"), "{}", said(&outer));
        for error in [unwritable(Path::new("/results"), denied()), unreadable(Stage::Fetch, denied())] {
            assert!(!error.in_full().contains("Jane-Doe"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_its_own_code() {
        for (number, code) in [
            (Errno::NOENT, ErrorCode::BlobNotFound),
            (Errno::NOTDIR, ErrorCode::BlobNotFound),
            (Errno::ACCESS, ErrorCode::StorageForbidden),
            (Errno::XDEV, ErrorCode::StorageForbidden),
            (Errno::LOOP, ErrorCode::StorageRejected),
            (Errno::NXIO, ErrorCode::StorageRejected),
            (Errno::NAMETOOLONG, ErrorCode::StorageRejected),
            (Errno::IO, ErrorCode::StorageUnavailable),
            (Errno::STALE, ErrorCode::StorageUnavailable),
        ] {
            assert_eq!(unreadable(Stage::Fetch, number.into()).code, code, "{number}");
        }
    }
}
