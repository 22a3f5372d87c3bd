//! The bytes of a study: what storage knows of them, and the bytes themselves, of one version.

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use nightread_domain::study::{FetchedStudy, Member, Series, Study};
use nightread_domain::{BlobKind, BlobProperties, BlobStore, Body, ETag, ErrorCode, JobError, Stage};
use time::OffsetDateTime;

use crate::flow::spool::SpoolRoom;

/// Blobs of one series that are asked for at a time.
const AT_ONCE: usize = 8;

/// What storage knows of a study without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StudyProperties {
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

    /// Of each blob, in the order of the study.
    pub fn blobs(&self) -> &[BlobProperties] {
        &self.blobs
    }

    /// Bytes of each blob.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.blobs.iter().map(|blob| blob.bytes)
    }

    /// Bytes of memory that its blobs take when they are fetched; what is larger is kept outside.
    pub fn held_bytes(&self, memory_bytes: u64) -> u64 {
        self.sizes().map(|bytes| bytes.min(memory_bytes)).fold(0, u64::saturating_add)
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
pub(crate) async fn properties(study: &Study, store: &dyn BlobStore) -> Result<StudyProperties, JobError> {
    match study {
        Study::Blob(blob) => store.properties(blob).await.map(StudyProperties::of_blob),
        Study::Series(series) => {
            let asked: Vec<_> =
                series.members().iter().map(|member| of_member(member, store).boxed()).collect();
            let blobs = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            Ok(StudyProperties::of_series(series, blobs))
        }
        Study::Announced(_) => Err(unresolved()),
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
/// it is read is read again, as its new self; a series names its versions. What is kept in files has `room`.
///
/// # Errors
/// `blob_changed`, also where the new self has no room; what [`StudyProperties::check`] and storage say.
pub(crate) async fn fetch(
    study: &Study,
    store: &dyn BlobStore,
    mut found: StudyProperties,
    limit: u64,
    room: &SpoolRoom,
) -> Result<(FetchedStudy, StudyProperties), JobError> {
    match study {
        Study::Blob(blob) => {
            for _ in 0..3 {
                let Some(properties) = found.blobs.first() else { break };
                match store.fetch(blob, properties, limit).await {
                    Err(error) if error.code == ErrorCode::BlobChanged => {
                        found = StudyProperties::of_blob(store.properties(blob).await?);
                        found.check(limit)?;
                        // Nobody waits for room who has some.
                        if !room.suffices(found.sizes()) {
                            let told = "the blob was replaced by a larger one while it was read";
                            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobChanged, told));
                        }
                    }
                    fetched => return Ok((FetchedStudy::of_blob(blob, room.hold(fetched?)), found)),
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
            let fetched: Vec<Body> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            let held = fetched.into_iter().map(|body| room.hold(body)).collect();
            Ok((FetchedStudy::of_series(series, held), found))
        }
        Study::Announced(_) => Err(unresolved()),
    }
}

/// Of a series whose blobs were not found out first.
fn unresolved() -> JobError {
    JobError::new(Stage::Fetch, ErrorCode::Internal, "the blobs of a series are not known")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nightread_domain::BlobRef;

    use super::*;
    use crate::adapters::storage::folder::FolderStore;
    use crate::flow::spool::SpoolBudget;

    /// Where files of more than four bytes are spooled, and so many bytes of them may lie.
    async fn room(bytes: Option<u64>, found: &StudyProperties) -> SpoolRoom {
        SpoolBudget::new(4, bytes).room_for(found.sizes()).await.expect("room")
    }

    /// A folder with two blobs and, as storage knows them, the series of both.
    async fn series_of_two() -> (tempfile::TempDir, FolderStore, Study) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FolderStore::new([("incoming".to_owned(), folder.path().to_owned())]);
        let mut members = Vec::new();
        for (name, body) in [("1.dcm", &b"one"[..]), ("2.dcm", b"second")] {
            std::fs::write(folder.path().join(name), body).expect("written");
            let blob = BlobRef::new("incoming", name).expect("a name");
            let etag = store.properties(&blob).await.expect("there").etag;
            members.push(Member { blob, etag });
        }
        let name = BlobRef::new("incoming", "ct/1").expect("a name");
        let series = Series::new(name, members).expect("a series");
        (folder, store, Study::Series(series))
    }

    #[tokio::test]
    async fn a_series_is_read_as_one_study_of_one_version() {
        let (_folder, store, study) = series_of_two().await;
        let Study::Series(series) = &study else { panic!("a series") };
        let found = properties(&study, &store).await.expect("there");
        assert_eq!((found.bytes, found.kind, &found.version), (9, BlobKind::Content, &series.version()));
        assert_eq!(found.held_bytes(4), 7, "the second is kept outside of memory");
        found.check(9).expect("as much as is allowed");
        assert_eq!(found.check(8).expect_err("too large").code, ErrorCode::BlobTooLarge);

        let own = room(None, &found).await;
        let (fetched, again) = fetch(&study, &store, found.clone(), 9, &own).await.expect("fetched");
        assert_eq!(again, found);
        let bodies = fetched.parts.iter().map(|part| match &part.body {
            Body::Held(bytes) => bytes.to_vec(),
            Body::Kept(_) => panic!("small blobs are held"),
        });
        assert_eq!(bodies.collect::<Vec<_>>(), [b"one".to_vec(), b"second".to_vec()]);
        // Of `1.dcm`, the SHA-256 of `one`, `2.dcm`, the SHA-256 of `second`, each ended by a NUL; by sha256sum.
        assert_eq!(fetched.sha256(), "2546c86132fe0a5c8d9b533245bbb7797c21cdb82c098a395319fa5d4d280de3");
        let refused = fetched.into_only().expect_err("two blobs");
        assert_eq!(refused.code, ErrorCode::WrongModality);
    }

    #[tokio::test]
    async fn a_replaced_or_missing_blob_makes_the_series_another() {
        let (folder, store, study) = series_of_two().await;
        let found = properties(&study, &store).await.expect("there");
        std::fs::write(folder.path().join("2.dcm"), b"another").expect("written");
        assert_eq!(properties(&study, &store).await.expect_err("replaced").code, ErrorCode::BlobChanged);
        let own = room(None, &found).await;
        let late = fetch(&study, &store, found, 99, &own).await.expect_err("replaced before the fetch");
        assert_eq!(late.code, ErrorCode::BlobChanged);
        std::fs::remove_file(folder.path().join("1.dcm")).expect("removed");
        assert_eq!(properties(&study, &store).await.expect_err("gone").code, ErrorCode::BlobNotFound);
    }

    #[tokio::test]
    async fn a_blob_that_is_replaced_before_the_fetch_is_read_as_its_new_self() {
        let (folder, store, _) = series_of_two().await;
        let study = Study::from(BlobRef::new("incoming", "1.dcm").expect("a name"));
        let found = properties(&study, &store).await.expect("there");
        std::fs::write(folder.path().join("1.dcm"), b"other").expect("written");
        let spooled = room(Some(1 << 20), &found).await;
        let larger = fetch(&study, &store, found.clone(), 99, &spooled).await.expect_err("no room for it");
        assert_eq!((larger.code, larger.is_transient()), (ErrorCode::BlobChanged, true));
        let own = room(None, &found).await;
        let (fetched, now) = fetch(&study, &store, found.clone(), 99, &own).await.expect("fetched");
        assert_ne!(now.version, found.version);
        assert_eq!((fetched.len(), now.bytes), (5, 5));
        assert!(fetched.into_only().is_ok());
        let store: Arc<dyn BlobStore> = Arc::new(store);
        let small = fetch(&study, &*store, now, 4, &own).await.expect_err("too large");
        assert_eq!(small.code, ErrorCode::BlobTooLarge);
    }
}
