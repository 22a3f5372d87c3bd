//! The bytes of a study: what storage knows of them, and the bytes themselves, of one version.

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use nightread_domain::study::{FetchedStudy, Member, Series, Study};
use nightread_domain::{BlobKind, BlobProperties, BlobStore, ETag, ErrorCode, Fetched, JobError, Stage};
use time::OffsetDateTime;

use crate::settings::Limits;

/// Blobs of one series that are asked for at a time.
const AT_ONCE: usize = 8;

/// What storage knows of a study without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StudyProperties {
    /// Of a blob the store's mark; of a series [`Series::version`].
    pub version: ETag,
    /// Of the blob that was written last.
    pub last_modified: OffsetDateTime,
    /// Of all blobs together.
    pub bytes: u64,
    pub kind: BlobKind,
    /// In the order of the study.
    blobs: Vec<BlobProperties>,
}

impl StudyProperties {
    fn of_blob(properties: BlobProperties) -> Self {
        Self {
            version: properties.etag.clone(),
            last_modified: properties.last_modified,
            bytes: properties.bytes,
            kind: properties.kind,
            blobs: vec![properties],
        }
    }

    fn of_series(series: &Series, blobs: Vec<BlobProperties>) -> Self {
        let archived = blobs.iter().any(|blob| blob.kind == BlobKind::Archived);
        Self {
            version: series.version(),
            last_modified: blobs
                .iter()
                .map(|blob| blob.last_modified)
                .max()
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
            bytes: blobs.iter().map(|blob| blob.bytes).fold(0, u64::saturating_add),
            kind: if archived { BlobKind::Archived } else { BlobKind::Content },
            blobs,
        }
    }

    /// Bytes of memory that its blobs take when they are fetched; what is larger is kept outside.
    pub fn held_bytes(&self, memory_bytes: u64) -> u64 {
        self.blobs.iter().map(|blob| blob.bytes.min(memory_bytes)).fold(0, u64::saturating_add)
    }

    /// # Errors
    /// `blob_archived`, `blob_empty`, `blob_too_large`: what cannot be read, or is more than `limit` bytes.
    pub fn check(&self, limit: u64) -> Result<(), JobError> {
        if self.kind == BlobKind::Archived {
            let told = "the blob is in the archive tier; it is read when it is brought back";
            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobArchived, told));
        }
        if self.blobs.iter().any(|blob| blob.bytes == 0) {
            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobEmpty, "the blob has no bytes"));
        }
        let bytes = self.bytes;
        if bytes > limit {
            let what = if self.blobs.len() == 1 { "the blob has" } else { "the blobs of the series have" };
            let told = format!("{what} {bytes} bytes, {limit} are allowed ([limits] blob_bytes)");
            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobTooLarge, told));
        }
        Ok(())
    }
}

/// What storage knows of the study now.
///
/// # Errors
/// `blob_changed` when a blob of a series has another version than the series names; what storage says.
pub(super) async fn properties(study: &Study, store: &dyn BlobStore) -> Result<StudyProperties, JobError> {
    match study {
        Study::Blob(blob) => store.properties(blob).await.map(StudyProperties::of_blob),
        Study::Series(series) => {
            let asked: Vec<_> =
                series.members().iter().map(|member| of_member(member, store).boxed()).collect();
            let blobs = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            Ok(StudyProperties::of_series(series, blobs))
        }
    }
}

async fn of_member(member: &Member, store: &dyn BlobStore) -> Result<BlobProperties, JobError> {
    let properties = store.properties(&member.blob).await?;
    if properties.etag == member.etag {
        return Ok(properties);
    }
    let told = "a blob of the series was replaced since the series was announced";
    Err(JobError::new(Stage::Fetch, ErrorCode::BlobChanged, told))
}

/// The bytes of a study, and what storage knew of the version that was read. A blob that is replaced while
/// it is read is read again, as its new self; a series names its versions.
///
/// # Errors
/// `blob_changed`; what [`StudyProperties::check`] and storage say.
pub(super) async fn fetch(
    study: &Study,
    store: &dyn BlobStore,
    mut found: StudyProperties,
    limits: &Limits,
) -> Result<(FetchedStudy, StudyProperties), JobError> {
    let limit = limits.blob_bytes;
    match study {
        Study::Blob(blob) => {
            for _ in 0..3 {
                let Some(properties) = found.blobs.first() else { break };
                match store.fetch(blob, properties, limit).await {
                    Err(error) if error.code == ErrorCode::BlobChanged => {
                        found = StudyProperties::of_blob(store.properties(blob).await?);
                        found.check(limit)?;
                    }
                    fetched => return Ok((FetchedStudy::of_blob(blob, fetched?), found)),
                }
            }
            let told = "the blob kept changing while it was read";
            Err(JobError::new(Stage::Fetch, ErrorCode::BlobChanged, told))
        }
        Study::Series(series) => {
            let asked: Vec<_> = series
                .members()
                .iter()
                .zip(&found.blobs)
                .map(|(member, properties)| store.fetch(&member.blob, properties, limit))
                .collect();
            let fetched: Vec<Fetched> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            Ok((FetchedStudy::of_series(series, fetched), found))
        }
    }
}
