//! The studies that documents were read from, fetched once more in the version that was read.

use std::sync::Arc;

use nightread_domain::announcement::{AllowedSources, Resolved};
use nightread_domain::delivery::DeliveryOrder;
use nightread_domain::result::StudyKind;
use nightread_domain::{BlobStore, ErrorCode, FetchedStudy, Job, JobError, ResultDocument, Stage, Study};

use super::making::changed;
use crate::app::{self, Stores};
use crate::flow::budget::{ByteBudget, Room};
use crate::flow::spool::SpoolBudget;
use crate::pipeline::fetching;
use crate::pipeline::resolving::{self, Shelves};
use crate::services::dicom::objects::files_of;
use crate::services::dicom::tasks::of_task;
use crate::settings::{Limits, Settings};

/// Where studies are fetched from, and how many bytes of them may be in flight.
#[derive(Debug)]
pub(super) struct Sources {
    source: Arc<dyn BlobStore>,
    results: Arc<dyn BlobStore>,
    results_container: String,
    containers: Vec<String>,
    allowed: AllowedSources,
    limits: Limits,
    bytes_in_files: SpoolBudget,
    bytes_in_flight: ByteBudget,
}

impl Sources {
    /// # Errors
    /// `settings_invalid`.
    pub fn new(settings: &Settings, stores: &Stores) -> anyhow::Result<Self> {
        Ok(Self {
            source: Arc::clone(&stores.source),
            results: Arc::clone(&stores.results),
            results_container: stores.results_container.clone(),
            containers: settings.source_containers.clone(),
            allowed: app::allowed(settings)?,
            limits: settings.limits.clone(),
            bytes_in_files: stores.bytes_in_files(&settings.limits),
            bytes_in_flight: ByteBudget::new(settings.limits.in_flight_bytes),
        })
    }

    /// The study, and room for it and for the files beside the document, taken before anything is fetched. A series counts with
    /// all its blobs.
    ///
    /// # Errors
    /// `source_changed` where the study is not what it was; `source_not_allowed`; `blob_too_large`; those of the series'
    /// announcement; what storage says.
    pub async fn fetched(
        &self,
        order: &DeliveryOrder,
        document: &ResultDocument,
    ) -> Result<(FetchedStudy, Room<'_>), JobError> {
        let study = self.named(order, document).await?;
        let found = fetching::properties(&study, &*self.source).await.map_err(as_changed)?;
        if document.study.version.as_ref() != Some(&found.version) {
            return Err(changed());
        }
        let limit = (of_task(document.task).most_bytes)(&self.limits);
        found.check(limit)?;
        let files = files_of(document).map(|file| file.bytes).fold(0, u64::saturating_add);
        let held = found.held_bytes(self.limits.memory_bytes).saturating_add(files);
        let files = self.bytes_in_files.room_for(found.sizes()).await?;
        let room = self.bytes_in_flight.room_for(held).await?;
        let fetched = fetching::fetch(&study, &*self.source, found, limit, &files).await;
        let (study, _) = fetched.map_err(as_changed)?;
        Ok((study, room))
    }

    /// The study under the document's name; of a series the blobs that it has now.
    async fn named(&self, order: &DeliveryOrder, document: &ResultDocument) -> Result<Study, JobError> {
        if document.study.kind == StudyKind::Blob {
            let blob = document.study_name()?;
            if self.containers.iter().any(|container| container == blob.container()) {
                return Ok(Study::Blob(blob));
            }
            let text = format!("container {} is not among [sources] containers", blob.container());
            return Err(JobError::new(Stage::Deliver, ErrorCode::SourceNotAllowed, text));
        }
        let untold = || {
            let text = "the order does not tell which blobs the series has; announce the series again";
            JobError::new(Stage::Deliver, ErrorCode::MessageUnparseable, text)
        };
        let announcement = order.announcement()?.ok_or_else(untold)?;
        let Resolved::Series(source) = announcement.resolve(&self.allowed)? else { return Err(untold()) };
        let job = Job::of(Study::Announced(source));
        let shelves = Shelves {
            source: &*self.source,
            results: &*self.results,
            results_container: &self.results_container,
        };
        let series = resolving::series(&job, shelves, &self.containers).await?;
        series.map(Study::Series).ok_or_else(untold)
    }
}

fn as_changed(error: JobError) -> JobError {
    if error.code == ErrorCode::BlobChanged { changed() } else { error }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use nightread_domain::BlobRef;
    use nightread_domain::study::SeriesSource;
    use serde_json::json;

    use super::*;
    use crate::adapters::storage::folder::FolderStore;
    use crate::settings::{Problems, RawSettings};

    const PAGE: usize = 4096;

    /// A series of three blobs of one page each, and a document of its reading in this version.
    fn document(version: &str) -> ResultDocument {
        serde_json::from_value(json!({
            "schema": "nightread.result.v2", "status": "ok", "notice": "n", "task": "segmentation",
            "study": {"kind": "series", "container": "incoming", "name": "ct/1", "version": version, "last_modified": null,
                "bytes": 3 * PAGE, "sha256": "ab", "media": "dicom"},
            "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "w",
                "execution_provider": "cpu", "preprocessing": "p"},
            "segments": [], "artefacts": [], "warnings": [], "timing_ms": {"total": 1.0}, "worker": {"version": "1"},
            "read_at": "2026-01-01T00:00:00Z"}))
        .expect("a document")
    }

    fn usual_limits() -> Limits {
        let mut problems = Problems::default();
        let raw = RawSettings::merge(None, &|_| None, &[], &mut problems);
        Settings::validate(&raw, &mut problems).expect("the defaults are sound").limits
    }

    fn sources(folder: &std::path::Path, pages: usize) -> Sources {
        let names = ["incoming", "results"];
        let store: Arc<dyn BlobStore> =
            Arc::new(FolderStore::new(names.map(|name| (name.to_owned(), folder.join(name)))));
        Sources {
            source: Arc::clone(&store),
            results: store,
            results_container: "results".to_owned(),
            containers: vec!["incoming".to_owned()],
            allowed: AllowedSources::new([], ["incoming"], "results").expect("sound"),
            limits: usual_limits(),
            bytes_in_files: SpoolBudget::new(0, None),
            bytes_in_flight: ByteBudget::new((pages * PAGE) as u64),
        }
    }

    #[tokio::test]
    async fn a_series_counts_with_all_its_blobs_and_is_what_was_read_or_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("incoming/ct/1")).expect("a folder");
        std::fs::create_dir_all(folder.path().join("results")).expect("a folder");
        for name in ["1", "2", "3"] {
            let path = folder.path().join("incoming/ct/1").join(name);
            std::fs::write(path, vec![0; PAGE]).expect("written");
        }
        let sources = sources(folder.path(), 3);
        let result = BlobRef::parse("results/m.json").expect("a name");
        let named = |name: &str| {
            let folder = BlobRef::parse(name).expect("a name");
            let source = SeriesSource::Folder { folder, instances: Some(2) };
            DeliveryOrder::new(&result, "pacs").of(&Study::Announced(source))
        };
        let order = named("incoming/ct/1");
        let code = async |order: &DeliveryOrder, document: &ResultDocument| {
            sources.fetched(order, document).await.map(|_| ()).expect_err("refused").code
        };
        assert_eq!(code(&order, &document("another")).await, ErrorCode::SourceChanged);
        let Study::Series(series) = sources.named(&order, &document("any")).await.expect("a series") else {
            panic!("a series")
        };
        let document = document(&series.version().0);
        let (study, room) = sources.fetched(&order, &document).await.expect("fetched");
        assert_eq!((study.parts.len(), study.len()), (3, 3 * PAGE as u64));
        assert!(sources.bytes_in_flight.room_for(1).now_or_never().is_none(), "nothing is left");
        drop(room);
        assert!(sources.bytes_in_flight.room_for(1).now_or_never().is_some());
        for (order, expected) in [
            (DeliveryOrder::new(&result, "pacs"), ErrorCode::MessageUnparseable),
            (named("results/ct/1"), ErrorCode::SourceNotAllowed),
            (named("incoming/ct/2"), ErrorCode::BlobNotFound),
        ] {
            assert_eq!(code(&order, &document).await, expected);
        }
        std::fs::write(folder.path().join("incoming/ct/1/4"), b"late").expect("written");
        assert_eq!(code(&order, &document).await, ErrorCode::SourceChanged);
    }
}
