//! A folder as blob storage: one folder per container, conditional writes by atomic renames.

mod beneath;
mod fault;
pub(crate) mod list;
mod names;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use nightread_domain::{
    BlobKind, BlobProperties, BlobRef, BlobStore, Body, ETag, ErrorCode, JobError, Stage, WriteCondition,
    WriteOutcome,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use walkdir::WalkDir;

use self::beneath::Links;
use self::fault::{is_absent, unreadable, unwritable};
use super::below::all_below;
use super::buffers::Buffers;
use super::kept::{KeptFile, MEMORY_BYTES};
use crate::flow::aside::{STORAGE_TASK, blocking};

/// As many as a page of Azure's listing has.
const MOST_LISTED: usize = 5000;

/// Held while a result is replaced, so that compare and rename are one step between processes.
const LOCK_NAME: &str = ".nightread.lock";

/// How the names begin of files that are not whole yet.
const DRAFT: &str = ".nightread-";

/// Read and digested at a time: stays in the processor's cache between the two.
const PIECE: u64 = 128 << 10;

/// What a probe of the results writes: more than most documents have.
const PROBE_BYTES: usize = 64 << 10;

/// Containers that are folders.
#[derive(Clone, Debug)]
pub struct FolderStore {
    containers: BTreeMap<String, PathBuf>,
    links: Links,
    results: Option<String>,
    /// Larger files are read where they lie.
    memory_bytes: u64,
    buffers: Buffers,
}

impl FolderStore {
    /// Nothing outside the folders is read or written, wherever links in them lead.
    pub fn new(containers: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self {
            containers: containers.into_iter().collect(),
            links: Links::Inside,
            results: None,
            memory_bytes: MEMORY_BYTES,
            buffers: Buffers::default(),
        }
    }

    /// With another bound than [`MEMORY_BYTES`] on what is held in memory.
    #[must_use]
    pub fn with_memory_bytes(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// A person's own files: links are followed.
    pub fn of_a_person(containers: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self { links: Links::Anywhere, ..Self::new(containers) }
    }

    /// Names the container that is written to, so that a probe of it writes.
    #[must_use]
    pub fn with_results(self, container: &str) -> Self {
        Self { results: Some(container.to_owned()), ..self }
    }

    /// Where a blob lies. Refuses names that a file system would read differently from blob storage.
    pub fn path_of(&self, blob: &BlobRef) -> Result<PathBuf, JobError> {
        Ok(self.root(blob.container())?.join(inner(blob)?))
    }

    /// As [`BlobStore::read`], here and now: for threads that may wait and read very many small files.
    ///
    /// # Errors
    /// As [`BlobStore::read`].
    pub fn read_now(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        small(&self.place(blob)?, limit)
    }

    /// As [`BlobStore::properties`], here and now.
    ///
    /// # Errors
    /// As [`BlobStore::properties`].
    pub fn properties_now(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        self.place(blob)?.open_file(Stage::Fetch).map(|(_, properties)| properties)
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

    fn place(&self, blob: &BlobRef) -> Result<Place, JobError> {
        let root = self.root(blob.container())?.to_owned();
        Ok(Place { root, inner: inner(blob)?, links: self.links })
    }
}

/// That a folder lies below `root` wherever links in its name lead, unless they may lead anywhere.
fn within(root: &Path, folder: &Path, links: Links) -> io::Result<()> {
    match links {
        Links::Inside if !folder.canonicalize()?.starts_with(root.canonicalize()?) => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        Links::Inside | Links::Anywhere => Ok(()),
    }
}

/// A blob's path below its container's folder.
fn inner(blob: &BlobRef) -> Result<PathBuf, JobError> {
    if blob.name().split('/').any(str::is_empty) {
        let text = "a folder cannot hold a blob name with empty segments";
        return Err(JobError::new(Stage::Fetch, ErrorCode::StorageRejected, text));
    }
    Ok(PathBuf::from(blob.name()))
}

/// Where a blob lies, for work off the reactor.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    inner: PathBuf,
    links: Links,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.root.join(&self.inner)
    }

    fn open(&self) -> io::Result<File> {
        beneath::open(&self.root, &self.inner, self.links)
    }

    /// The file and what is known of it before it is read.
    fn open_file(&self, stage: Stage) -> Result<(File, BlobProperties), JobError> {
        let file = self.open().map_err(|error| match self.path().symlink_metadata() {
            Ok(found) if found.is_symlink() && is_absent(&error) => fault::dangling(stage),
            _ => unreadable(stage, error),
        })?;
        let metadata = file.metadata().map_err(|error| unreadable(stage, error))?;
        if metadata.is_dir() {
            return Err(unreadable(stage, io::ErrorKind::NotFound.into()));
        }
        if !metadata.is_file() {
            return Err(fault::not_a_file(stage));
        }
        let properties = properties_of(&metadata).map_err(|error| unreadable(stage, error))?;
        Ok((file, properties))
    }
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn properties(&self, blob: &BlobRef) -> Result<BlobProperties, JobError> {
        let place = self.place(blob)?;
        blocking(Stage::Fetch, STORAGE_TASK, move || {
            place.open_file(Stage::Fetch).map(|(_, properties)| properties)
        })
        .await
    }

    async fn fetch(&self, blob: &BlobRef, properties: &BlobProperties, limit: u64) -> Result<Body, JobError> {
        if properties.bytes > limit {
            return Err(too_large(limit));
        }
        let place = self.place(blob)?;
        let expected = properties.clone();
        let (in_memory, buffers) = (expected.bytes <= self.memory_bytes, self.buffers.clone());
        let read = blocking(Stage::Fetch, STORAGE_TASK, move || {
            let (file, found) = place.open_file(Stage::Fetch)?;
            if found != expected {
                return Ok(None);
            }
            if in_memory {
                return held(&file, &expected, &buffers);
            }
            kept(&file, &expected).map_err(|error| unreadable(Stage::Fetch, error))
        })
        .await?;
        read.ok_or_else(changed)
    }

    async fn head(&self, blob: &BlobRef, properties: &BlobProperties, most: u64) -> Result<Bytes, JobError> {
        let place = self.place(blob)?;
        let (expected, most) = (properties.clone(), properties.bytes.min(most));
        let read = blocking(Stage::Fetch, STORAGE_TASK, move || {
            let (file, found) = place.open_file(Stage::Fetch)?;
            beginning(&file, &found, &expected, most).map_err(|error| unreadable(Stage::Fetch, error))
        });
        read.await?.ok_or_else(changed)
    }

    async fn read(&self, blob: &BlobRef, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
        let place = self.place(blob)?;
        blocking(Stage::Store, STORAGE_TASK, move || small(&place, limit)).await
    }

    async fn write(
        &self,
        blob: &BlobRef,
        body: Bytes,
        _metadata: &BTreeMap<String, String>,
        condition: WriteCondition,
    ) -> Result<WriteOutcome, JobError> {
        let place = self.place(blob)?;
        blocking(Stage::Store, STORAGE_TASK, move || {
            write(&place, &body, &condition).map_err(|error| unwritable(&place.root, error))
        })
        .await
    }

    async fn probe(&self, container: &str) -> Result<(), JobError> {
        let root = self.root(container)?.to_path_buf();
        let writes = self.results.as_deref() == Some(container);
        blocking(Stage::Start, STORAGE_TASK, move || {
            fs::read_dir(&root).map_err(|error| unreadable(Stage::Start, error))?;
            if writes { try_writing(&root).map_err(|error| unwritable(&root, error)) } else { Ok(()) }
        })
        .await
    }

    async fn some_below(&self, container: &str, prefix: &str) -> Result<Vec<BlobRef>, JobError> {
        let root = self.root(container)?.to_path_buf();
        let (folder, container) = (root.join(prefix), container.to_owned());
        let found = blocking(Stage::Start, STORAGE_TASK, move || {
            // What cannot be looked into cannot be judged; a reading that needs it will say so.
            // Drafts of writes that go on begin with a dot.
            let files = WalkDir::new(folder).into_iter().flatten().filter(|entry| {
                entry.file_type().is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".")
            });
            let names =
                files.filter_map(|entry| entry.path().strip_prefix(&root).ok()?.to_str().map(str::to_owned));
            Ok(names.take(MOST_LISTED).collect::<Vec<_>>())
        })
        .await?;
        Ok(found.into_iter().filter_map(|name| BlobRef::new(&container, name).ok()).collect())
    }

    async fn all_below(
        &self,
        container: &str,
        prefix: &str,
        most: usize,
    ) -> Result<Vec<(BlobRef, BlobProperties)>, JobError> {
        all_below(self, container, prefix, most).await
    }

    async fn remove(&self, blob: &BlobRef) -> Result<(), JobError> {
        let (root, links) = (self.root(blob.container())?.to_path_buf(), self.links);
        let path = self.path_of(blob)?;
        blocking(Stage::Store, STORAGE_TASK, move || {
            let folder = path.parent().unwrap_or(&root);
            match within(&root, folder, links).and_then(|()| fs::remove_file(&path)) {
                Err(error) if !is_absent(&error) => Err(unwritable(&root, error)),
                _ => Ok(()),
            }
        })
        .await
    }
}

/// The first `most` bytes of a file of exactly this version; `None` when it is another by now.
fn beginning(
    file: &File,
    found: &BlobProperties,
    expected: &BlobProperties,
    most: u64,
) -> io::Result<Option<Bytes>> {
    let mut body = Vec::with_capacity(most as usize);
    file.take(most).read_to_end(&mut body)?;
    let unchanged =
        found == expected && body.len() as u64 == most && properties_of(&file.metadata()?)? == *expected;
    Ok(unchanged.then(|| body.into()))
}

fn changed() -> JobError {
    JobError::new(Stage::Fetch, ErrorCode::BlobChanged, "the file changed while it was read")
}

/// A small file and its version; `None` when there is none.
fn small(place: &Place, limit: u64) -> Result<Option<(Bytes, ETag)>, JobError> {
    match read_small(place, limit).map_err(|error| unreadable(Stage::Store, error))? {
        Some((body, _)) if body.len() as u64 > limit => Err(too_large(limit)),
        found => Ok(found.map(|(body, etag)| (Bytes::from(body), etag))),
    }
}

/// The first bytes of a file, one more than `limit`, and its mark; `None` where there is none.
fn read_small(place: &Place, limit: u64) -> io::Result<Option<(Vec<u8>, ETag)>> {
    let file = match place.open() {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let properties = properties_of(&file.metadata()?)?;
    let mut body = Vec::with_capacity(properties.bytes.min(limit) as usize + 1);
    (&file).take(limit + 1).read_to_end(&mut body)?;
    Ok(Some((body, properties.etag)))
}

/// The bytes of a file of exactly this version, in memory; `None` when it is another by now.
fn held(file: &File, expected: &BlobProperties, buffers: &Buffers) -> Result<Option<Body>, JobError> {
    let mut body = buffers.take(expected.bytes)?;
    body.clear();
    // One byte more than promised shows a file that grew while it was read.
    let read = file.take(expected.bytes + 1).read_to_end(&mut body).and_then(|_| is_same(file, expected));
    let same = read.map_err(|error| unreadable(Stage::Fetch, error))?;
    Ok((same && body.len() as u64 == expected.bytes).then(|| Body::Held(buffers.lend(body))))
}

/// A file of exactly this version, to be read where it lies, with the digest of its bytes; `None` when it is another by now.
fn kept(file: &File, expected: &BlobProperties) -> io::Result<Option<Body>> {
    // As it was before it was read: whoever writes to it meanwhile is found out.
    let (kept, metadata) = (file.try_clone()?, file.metadata()?);
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut piece = Vec::with_capacity(PIECE as usize);
    let mut whole = file.take(expected.bytes + 1);
    while whole.by_ref().take(PIECE).read_to_end(&mut piece)? > 0 {
        digest.update(&piece);
        bytes += piece.len() as u64;
        piece.clear();
    }
    let same = bytes == expected.bytes && is_same(file, expected)?;
    Ok(same.then(|| KeptFile::new(kept, &metadata, hex::encode(digest.finalize())).into()))
}

fn is_same(file: &File, expected: &BlobProperties) -> io::Result<bool> {
    Ok(properties_of(&file.metadata()?)? == *expected)
}

/// A file that nobody sees yet, with the permissions that any program's files get here.
fn draft_in(folder: &Path, body: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut draft = tempfile::Builder::new()
        .prefix(DRAFT)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    draft.write_all(body)?;
    draft.as_file().sync_all()?;
    Ok(draft)
}

fn try_writing(folder: &Path) -> io::Result<()> {
    draft_in(folder, &vec![0; PROBE_BYTES])?.close()
}

fn write(place: &Place, body: &[u8], condition: &WriteCondition) -> io::Result<WriteOutcome> {
    let path = place.path();
    let parent = path.parent().unwrap_or(&place.root);
    beneath::make_folder(&place.root, parent, place.links)?;
    let draft = draft_in(parent, body)?;
    let etag = match condition {
        WriteCondition::IfAbsent => match draft.persist_noclobber(&path) {
            Ok(file) => properties_of(&file.metadata()?)?.etag,
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(WriteOutcome::ConditionFailed);
            }
            Err(refused) => return Err(refused.error),
        },
        WriteCondition::IfMatch(expected) => {
            let lock = File::options().create(true).append(true).open(place.root.join(LOCK_NAME))?;
            lock.lock()?;
            match place.open().and_then(|file| file.metadata()) {
                Ok(current) if properties_of(&current)?.etag == *expected => {}
                Ok(_) => return Ok(WriteOutcome::ConditionFailed),
                Err(error) if is_absent(&error) => return Ok(WriteOutcome::ConditionFailed),
                Err(error) => return Err(error),
            }
            properties_of(&draft.persist(&path).map_err(|refused| refused.error)?.metadata()?)?.etag
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
        kind: BlobKind::Content,
    })
}

fn too_large(limit: u64) -> JobError {
    JobError::new(Stage::Fetch, ErrorCode::BlobTooLarge, format!("more than the allowed {limit} bytes"))
}
