//! A folder as blob storage: one folder per container, conditional writes by atomic renames.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use nightread_domain::{
    BlobProperties, BlobRef, BlobStore, ETag, ErrorCode, Fetched, JobError, Stage, WriteCondition,
    WriteOutcome,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// Held while a result is replaced, so that compare and rename are one step between processes.
const LOCK_NAME: &str = ".nightread.lock";

/// Read and digested at a time: stays in the processor's cache between the two.
const PIECE: u64 = 128 << 10;

/// Containers that are folders.
#[derive(Clone, Debug)]
pub struct FolderStore {
    containers: BTreeMap<String, PathBuf>,
}

impl FolderStore {
    pub fn new(containers: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self { containers: containers.into_iter().collect() }
    }

    /// Where a blob lies. Refuses names that a file system would read differently from blob storage.
    pub fn path_of(&self, blob: &BlobRef) -> Result<PathBuf, JobError> {
        let root = self.root(blob.container())?;
        let mut path = root.to_path_buf();
        for segment in blob.name().split('/') {
            if segment.is_empty() {
                return Err(JobError::new(
                    Stage::Fetch,
                    ErrorCode::StorageRejected,
                    "a folder cannot hold a blob name with empty segments",
                ));
            }
            path.push(segment);
        }
        Ok(path)
    }

    fn root(&self, container: &str) -> Result<&Path, JobError> {
        self.containers.get(container).map(PathBuf::as_path).ok_or_else(|| {
            JobError::new(
                Stage::Fetch,
                ErrorCode::SourceNotAllowed,
                format!("no container named {container}"),
            )
        })
    }
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        let path = self.path_of(blob)?;
        blocking(Stage::Fetch, move || {
            let metadata = fs::metadata(path)?;
            if metadata.is_dir() { Err(io::ErrorKind::NotFound.into()) } else { properties_of(&metadata) }
        })
        .await
    }

    async fn fetch(
        &self,
        blob: &BlobRef,
        properties: &BlobProperties,
        limit: u64,
    ) -> Result<Fetched, JobError> {
        if properties.bytes > limit {
            return Err(too_large(limit));
        }
        let path = self.path_of(blob)?;
        let expected = properties.clone();
        let read = blocking(Stage::Fetch, move || {
            let file = File::open(path)?;
            if properties_of(&file.metadata()?)? != expected {
                return Ok(None);
            }
            let mut body = Vec::with_capacity(expected.bytes as usize);
            let mut digest = Sha256::new();
            // One byte more than promised shows a file that grew while it was read.
            let mut whole = (&file).take(expected.bytes + 1);
            loop {
                let before = body.len();
                if whole.by_ref().take(PIECE).read_to_end(&mut body)? == 0 {
                    break;
                }
                digest.update(&body[before..]);
            }
            let unchanged =
                body.len() as u64 == expected.bytes && properties_of(&file.metadata()?)? == expected;
            let sha256 = hex::encode(digest.finalize());
            Ok(unchanged.then(|| Fetched { body: body.into(), sha256 }))
        })
        .await?;
        read.ok_or_else(|| {
            JobError::new(Stage::Fetch, ErrorCode::BlobChanged, "the file changed while it was read")
        })
    }

    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        let path = self.path_of(blob)?;
        let found = blocking(Stage::Store, move || {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let properties = properties_of(&file.metadata()?)?;
            let mut body = Vec::new();
            (&file).take(limit + 1).read_to_end(&mut body)?;
            Ok(Some((body, properties.etag)))
        })
        .await?;
        match found {
            Some((body, _)) if body.len() as u64 > limit => Err(too_large(limit)),
            found => Ok(found.map(|(body, etag)| (Bytes::from(body), etag))),
        }
    }

    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        _metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError> {
        let path = self.path_of(blob)?;
        let root = self.root(blob.container())?.to_path_buf();
        blocking(Stage::Store, move || write(&root, &path, &body, &condition)).await
    }

    async fn probe(&self, container: &str) -> Result<(), JobError> {
        let root = self.root(container)?.to_path_buf();
        blocking(Stage::Start, move || fs::read_dir(root).map(drop)).await
    }
}

fn write(root: &Path, path: &Path, body: &[u8], condition: &WriteCondition) -> io::Result<WriteOutcome> {
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    let mut draft = tempfile::Builder::new().prefix(".nightread-").tempfile_in(parent)?;
    draft.write_all(body)?;
    draft.as_file().sync_all()?;
    let etag = match condition {
        WriteCondition::IfAbsent => match draft.persist_noclobber(path) {
            Ok(file) => properties_of(&file.metadata()?)?.etag,
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(WriteOutcome::ConditionFailed);
            }
            Err(refused) => return Err(refused.error),
        },
        WriteCondition::IfMatch(expected) => {
            let lock = File::options().create(true).append(true).open(root.join(LOCK_NAME))?;
            lock.lock()?;
            match fs::metadata(path) {
                Ok(current) if properties_of(&current)?.etag == *expected => {}
                Ok(_) => return Ok(WriteOutcome::ConditionFailed),
                Err(error) if is_absent(&error) => return Ok(WriteOutcome::ConditionFailed),
                Err(error) => return Err(error),
            }
            properties_of(&draft.persist(path).map_err(|refused| refused.error)?.metadata()?)?.etag
        }
    };
    // The name is durable only when its folder is.
    File::open(parent)?.sync_all()?;
    Ok(WriteOutcome::Written(etag))
}

/// Time, size and inode: a replaced file is seen even when the clock's grain hides the change.
pub(crate) fn properties_of(metadata: &fs::Metadata) -> io::Result<BlobProperties> {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    let last_modified = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(io::Error::other)?;
    Ok(BlobProperties {
        etag: ETag(format!("{nanos:x}-{:x}-{:x}", metadata.len(), metadata.ino())),
        last_modified,
        bytes: metadata.len(),
    })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn too_large(limit: u64) -> JobError {
    JobError::new(Stage::Fetch, ErrorCode::BlobTooLarge, format!("more than the allowed {limit} bytes"))
}

async fn blocking<T: Send + 'static>(
    stage: Stage,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, JobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| classified(stage, error)),
        Err(panicked) => {
            Err(JobError::new(stage, ErrorCode::Internal, "a storage task panicked").with_source(panicked))
        }
    }
}

fn classified(stage: Stage, error: io::Error) -> JobError {
    let (code, message) = match error.kind() {
        _ if is_absent(&error) => (ErrorCode::BlobNotFound, "no such file"),
        io::ErrorKind::PermissionDenied => (ErrorCode::StorageForbidden, "not allowed to open the file"),
        io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory => {
            (ErrorCode::StorageRejected, "the file system refuses this name")
        }
        _ => (ErrorCode::StorageUnavailable, "the file system failed"),
    };
    JobError::new(stage, code, message).with_source(error)
}
