//! Which blobs an announced series has now: by its set document, or by a listing of its folder.

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use nightread_domain::set::{self, SetDocument, too_many};
use nightread_domain::study::{MAX_MEMBERS, Member, Series, SeriesSource, Study};
use nightread_domain::{BlobKind, BlobRef, BlobStore, ErrorCode, Job, JobError, Stage};

use super::fetching::StudyProperties;
use crate::readings::instance::{Instance, SeriesMember, instance};

/// Headers that are read at a time.
const AT_ONCE: usize = 8;

/// Where series are resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelves<'s> {
    pub source: &'s dyn BlobStore,
    pub results: &'s dyn BlobStore,
    pub results_container: &'s str,
}

/// The blobs of the job's series, where it is announced by one.
///
/// # Errors
/// Those of [`resolve`]; `source_not_allowed` for blobs in a container that no announcement may name.
pub(crate) async fn series(
    job: &Job,
    shelves: Shelves<'_>,
    source_containers: &[String],
) -> Result<Option<Series>, JobError> {
    let Study::Announced(source) = &job.study else { return Ok(None) };
    let series = resolve(source, shelves).await?;
    // All blobs of a series lie in one container.
    let container = series.members().first().map_or("", |member| member.blob.container());
    if !source_containers.iter().any(|known| known == container) {
        let text = "the set document names blobs of a container that is not among the inputs";
        return Err(JobError::new(Stage::Announce, ErrorCode::SourceNotAllowed, text));
    }
    Ok(Some(series))
}

/// The series as it is now.
///
/// # Errors
/// `set_missing`, `set_invalid`, `too_many_instances`; of a folder `blob_not_found` where nothing lies in it,
/// `instances_missing` and `not_one_series` where another number is there than was said; what storage says.
pub(super) async fn resolve(source: &SeriesSource, shelves: Shelves<'_>) -> Result<Series, JobError> {
    let series = match source {
        SeriesSource::Set(document) => in_set(document, shelves).await?,
        SeriesSource::Folder { folder, instances } => in_folder(folder, *instances, shelves.source).await?,
    };
    Ok(series.told_by(source))
}

async fn in_set(document: &BlobRef, shelves: Shelves<'_>) -> Result<Series, JobError> {
    let is_own = document.container() == shelves.results_container;
    let store = if is_own { shelves.results } else { shelves.source };
    let read = store.read(document, set::MAX_BYTES).await;
    let read = read.map_err(|error| match error.code {
        ErrorCode::BlobTooLarge => {
            let text = format!("the set document has more than {} bytes", set::MAX_BYTES);
            JobError::new(Stage::Announce, ErrorCode::SetInvalid, text)
        }
        // What fails there is no fault of the results.
        _ if !is_own => error.at_stage(Stage::Fetch),
        _ => error,
    })?;
    let Some((body, _)) = read else {
        let text = "the set document that the announcement names is not there";
        return Err(JobError::new(Stage::Announce, ErrorCode::SetMissing, text));
    };
    SetDocument::parse(&body)?.series()
}

async fn in_folder(
    folder: &BlobRef,
    instances: Option<u32>,
    store: &dyn BlobStore,
) -> Result<Series, JobError> {
    let prefix = format!("{}/", folder.name());
    let found = store.all_below(folder.container(), &prefix, MAX_MEMBERS).await?;
    let blobs = found.into_iter().filter(|(_, properties)| properties.kind != BlobKind::Directory);
    let members: Vec<_> = blobs.map(|(blob, properties)| Member { blob, etag: properties.etag }).collect();
    if members.len() > MAX_MEMBERS {
        return Err(too_many());
    }
    if members.is_empty() && instances.is_none() {
        let text = "no blob lies below the prefix of the series";
        return Err(JobError::new(Stage::Fetch, ErrorCode::BlobNotFound, text));
    }
    counted(members.len(), instances)?;
    Series::new(folder.clone(), members)
}

/// Fewer than were said may still come; more never become the ones that were meant.
fn counted(there: usize, said: Option<u32>) -> Result<(), JobError> {
    let Some(said) = said.map(|said| said as usize) else { return Ok(()) };
    let text = format!("{there} blobs lie below the prefix of the series, {said} were announced");
    match there.cmp(&said) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(JobError::new(Stage::Fetch, ErrorCode::InstancesMissing, text)),
        std::cmp::Ordering::Greater => Err(JobError::new(Stage::Fetch, ErrorCode::NotOneSeries, text)),
    }
}

/// That a folder holds the instances of one series and nothing else. What a set document names was judged by its writer.
///
/// # Errors
/// `not_one_series`; those of a header that cannot be read; what storage says.
pub(super) async fn one_series(
    series: &Series,
    properties: &StudyProperties,
    store: &dyn BlobStore,
) -> Result<(), JobError> {
    if !matches!(series.source(), Some(SeriesSource::Folder { .. })) {
        return Ok(());
    }
    let asked: Vec<_> = series
        .members()
        .iter()
        .zip(properties.blobs())
        .map(|(member, properties)| instance(&member.blob, properties, store).boxed())
        .collect();
    let mut found = stream::iter(asked).buffered(AT_ONCE);
    let mut first: Option<String> = None;
    while let Some(instance) = found.try_next().await? {
        let Instance::Of(SeriesMember { series_uid, .. }) = instance else {
            return Err(not_one("a file that is no instance of a series"));
        };
        if first.get_or_insert_with(|| series_uid.clone()) != &series_uid {
            return Err(not_one("instances of several series"));
        }
    }
    Ok(())
}

fn not_one(what: &str) -> JobError {
    let text = format!("below the announced prefix lies {what}");
    JobError::new(Stage::Decode, ErrorCode::NotOneSeries, text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use nightread_domain::{BlobRef, WriteCondition};
    use serde_json::json;

    use super::*;
    use crate::adapters::storage::folder::FolderStore;

    fn store(root: &Path) -> FolderStore {
        FolderStore::new(["incoming", "results"].map(|name| {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            (name.to_owned(), folder)
        }))
    }

    fn put(root: &Path, name: &str) {
        let path = root.join("incoming").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, name).expect("written");
    }

    async fn resolved(store: &FolderStore, source: &SeriesSource) -> Result<Series, ErrorCode> {
        let shelves = Shelves { source: store, results: store, results_container: "results" };
        resolve(source, shelves).await.map_err(|error| error.code)
    }

    fn folder(name: &str, instances: Option<u32>) -> SeriesSource {
        SeriesSource::Folder { folder: BlobRef::parse(name).expect("a name"), instances }
    }

    #[tokio::test]
    async fn a_folder_is_what_lies_in_it_now_and_as_many_as_were_said() {
        let root = tempfile::tempdir().expect("a folder");
        let store = store(root.path());
        for name in ["ct/1.dcm", "ct/sub/2.dcm", "ct-other/3.dcm"] {
            put(root.path(), name);
        }
        let series = resolved(&store, &folder("incoming/ct", Some(2))).await.expect("a series");
        let names: Vec<_> = series.members().iter().map(|member| member.blob.name()).collect();
        assert_eq!(names, ["ct/1.dcm", "ct/sub/2.dcm"]);
        for (name, instances, code) in [
            ("incoming/ct", Some(3), ErrorCode::InstancesMissing),
            ("incoming/ct", Some(1), ErrorCode::NotOneSeries),
            ("incoming/none", None, ErrorCode::BlobNotFound),
            ("incoming/none", Some(1), ErrorCode::InstancesMissing),
        ] {
            assert_eq!(resolved(&store, &folder(name, instances)).await, Err(code), "{name} {instances:?}");
        }
        let before = series.version();
        put(root.path(), "ct/4.dcm");
        let now = resolved(&store, &folder("incoming/ct", None)).await.expect("a series");
        assert_ne!(now.version(), before, "another listing is another version");
    }

    #[tokio::test]
    async fn a_set_is_what_its_document_names() {
        let root = tempfile::tempdir().expect("a folder");
        let store = store(root.path());
        let document = BlobRef::parse("results/_series/incoming/ct/1.2.json").expect("a name");
        let source = SeriesSource::Set(document.clone());
        assert_eq!(resolved(&store, &source).await, Err(ErrorCode::SetMissing));
        let body = json!({"schema": set::SCHEMA, "name": "incoming/ct/1.2", "series_uid": "1.2",
            "instances": [{"name": "drop/1.dcm", "etag": "1"}]});
        let none = std::collections::BTreeMap::new();
        let write = |body: Bytes, condition| store.write(&document, body, &none, condition);
        write(body.to_string().into(), WriteCondition::IfAbsent).await.expect("written");
        let series = resolved(&store, &source).await.expect("a series");
        assert_eq!(Study::Series(series.clone()).name().to_string(), "incoming/ct/1.2");
        assert_eq!(series.source(), Some(&source));
        let (_, etag) = store.read(&document, 1 << 20).await.expect("read").expect("there");
        write("{".into(), WriteCondition::IfMatch(etag)).await.expect("written");
        assert_eq!(resolved(&store, &source).await, Err(ErrorCode::SetInvalid));
    }
}
