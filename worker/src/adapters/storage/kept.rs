//! Large blobs in files: a folder's own, or spooled on a local disk, so that memory does not grow with a scan.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightread_domain::body::Kept;
use nightread_domain::{Body, ErrorCode, JobError, Stage};

use crate::flow::aside::{STORAGE_TASK, blocking};

/// A whole blob in an open file.
#[derive(Debug)]
pub(super) struct KeptFile {
    file: File,
    bytes: u64,
    sha256: String,
    state: State,
}

/// What a write to a file changes.
type State = (u64, i64, i64);

fn state(metadata: &Metadata) -> State {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

impl KeptFile {
    /// An open file as `metadata` says that it is, and the SHA-256 of its bytes in lower-case hexadecimal.
    pub fn new(file: File, metadata: &Metadata, sha256: String) -> Self {
        let state = state(metadata);
        Self { file, bytes: state.0, sha256, state }
    }
}

impl From<KeptFile> for Body {
    fn from(file: KeptFile) -> Self {
        Self::Kept(Arc::new(file))
    }
}

impl Kept for KeptFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn open(&self) -> Box<dyn Read + Send + '_> {
        Box::new(At { file: &self.file, at: 0 })
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(state(&self.file.metadata()?) == self.state)
    }
}

/// Reads with a place of its own: the file's is shared among all that read it.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Where blobs that are too large for memory are kept while they are read. How many bytes of them there may be at a time is the
/// business of whoever fetches studies ([`SpoolBudget`](crate::flow::spool::SpoolBudget)): a store does not know which blobs are
/// one study.
#[derive(Clone, Debug)]
pub struct Spool {
    /// `None` for the system's folders of temporary files.
    folder: Option<PathBuf>,
    /// Blobs of more bytes than this do not stay in memory.
    memory_bytes: u64,
}

/// Most of a blob that stays in memory, where nothing else is said.
pub const MEMORY_BYTES: u64 = 128 << 20;

impl Default for Spool {
    fn default() -> Self {
        Self::new(None, MEMORY_BYTES)
    }
}

impl Spool {
    /// `folder`: `None` for the system's. `memory_bytes`: larger blobs are spooled.
    pub fn new(folder: Option<PathBuf>, memory_bytes: u64) -> Self {
        Self { folder, memory_bytes }
    }

    /// Whether a blob of this size is kept outside of memory.
    pub fn takes(&self, bytes: u64) -> bool {
        bytes > self.memory_bytes
    }

    /// Folders to try, in order. What is large belongs on a disk, and `/tmp` is memory on many machines.
    fn folders(&self) -> Vec<PathBuf> {
        let named = self.folder.clone().or_else(|| std::env::var_os("TMPDIR").map(PathBuf::from));
        named.map_or_else(|| vec![PathBuf::from("/var/tmp"), std::env::temp_dir()], |folder| vec![folder])
    }

    /// An empty file without a name, so that it is gone with the process however that ends, with all its blocks set aside.
    ///
    /// # Errors
    /// `spool_unavailable`.
    pub(super) async fn file(&self, bytes: u64) -> Result<Spooling, JobError> {
        let folders = self.folders();
        blocking(Stage::Fetch, STORAGE_TASK, move || {
            let (folder, file) = unnamed_file(folders)?;
            reserve(&file, bytes).map_err(|error| failed(&folder, error))?;
            Ok(Spooling { file, written: 0, bytes, folder })
        })
        .await
    }
}

/// In the first folder that is there and can be written to. A full one is not passed over: what comes next may be memory.
fn unnamed_file(folders: Vec<PathBuf>) -> Result<(PathBuf, File), JobError> {
    let mut first = None;
    for folder in folders {
        match tempfile::tempfile_in(&folder) {
            Ok(file) => return Ok((folder, file)),
            Err(error) => {
                let passed_over = !is_full(&error);
                let error = failed(&folder, error);
                if !passed_over {
                    return Err(error);
                }
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| JobError::new(Stage::Fetch, ErrorCode::Internal, "no folder was named")))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// No room, or a folder that cannot be written to: this machine's matter, never the study's.
fn failed(folder: &Path, error: io::Error) -> JobError {
    let what = match error.kind() {
        _ if is_full(&error) => "has no room",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "is not there",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "cannot be written to",
        _ => "failed",
    };
    let message =
        format!("the folder for large blobs {what}: {} ([storage] spool_dir): {error}", folder.display());
    JobError::new(Stage::Fetch, ErrorCode::SpoolUnavailable, message).with_source(error)
}

/// Blocks set aside now make a full disk show before the download. A file system that cannot is left to show it later.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A spooled blob while it is written, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Spooling {
    file: File,
    written: u64,
    bytes: u64,
    folder: PathBuf,
}

impl Spooling {
    /// Appends. Blocks.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), JobError> {
        self.file.write_all_at(piece, self.written).map_err(|error| failed(&self.folder, error))?;
        self.written += piece.len() as u64;
        Ok(())
    }

    /// The blob, when all of it was written, and its SHA-256. Blocks.
    pub fn finish(self, sha256: String) -> Result<Body, JobError> {
        debug_assert_eq!(self.written, self.bytes);
        let metadata = self.file.metadata().map_err(|error| failed(&self.folder, error))?;
        Ok(KeptFile::new(self.file, &metadata, sha256).into())
    }
}
