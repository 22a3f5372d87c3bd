//! The source of a result as a person names it: a file, or the folder that the slices of a series lie in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use nightread_ct::{SeriesGroup, series_of};
use nightread_domain::result::StudyKind;
use nightread_domain::study::{Member, Series};
use nightread_domain::{
    BlobRef, BlobStore, Body, ETag, ErrorCode, FetchedStudy, JobError, ResultDocument, Stage,
};

use crate::adapters::storage::folder::FolderStore;
use crate::app::WrongUse;
use crate::services::walk::{Found, Names, Walk};
use crate::settings::Limits;

/// The container that the folder stands for.
const HERE: &str = "here";
const CT: &str = "CT";

/// A file of the folder: its name below it, and what it holds.
struct Slice {
    name: String,
    body: Body,
    sha256: String,
}

/// The study that `path` holds. Of a series it is the files whose names and bytes have the digest of the document: all of the folder, those
/// of one series in it, or the one file; their names are those in the document's container.
///
/// # Errors
/// [`WrongUse`] for a folder where one file was read; `source_changed` where nothing in it is the series; what the file system says.
pub(super) async fn opened(path: &Path, document: &ResultDocument, limits: &Limits) -> Result<FetchedStudy> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_series = document.study.kind == StudyKind::Series;
    if metadata.is_dir() {
        if !is_series {
            let text = format!("{} is a folder; the result was read from one file", path.display());
            return Err(WrongUse(text).into());
        }
        let slices = slices(path, &store(path, limits), limits.blob_bytes).await?;
        return Ok(series(&slices, document)?);
    }
    let path = std::path::absolute(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(WrongUse(format!("{} is no file", path.display())).into());
    };
    let blob = blob(Path::new(name))?;
    let fetched = fetched(&blob, &store(folder, limits), limits.blob_bytes).await?;
    if is_series {
        return Ok(series(
            &[Slice { name: blob.name().to_owned(), sha256: fetched.sha256(), body: fetched }],
            document,
        )?);
    }
    Ok(FetchedStudy::of_blob(&blob, fetched))
}

fn store(folder: &Path, limits: &Limits) -> FolderStore {
    FolderStore::of_a_person([(HERE.to_owned(), folder.to_owned())]).with_memory_bytes(limits.memory_bytes)
}

fn blob(name: &Path) -> Result<BlobRef> {
    let text = name.to_str().with_context(|| format!("{} is no UTF-8", name.display()))?;
    Ok(BlobRef::new(HERE, text)?)
}

async fn fetched(blob: &BlobRef, store: &FolderStore, most: u64) -> Result<Body, JobError> {
    let properties = store.properties(blob).await?;
    store.fetch(blob, &properties, most).await
}

/// Everything in the folder that may be an image, `most` bytes in all.
async fn slices(folder: &Path, store: &FolderStore, most: u64) -> Result<Vec<Slice>> {
    let (names, mut left) = (Names::default(), most);
    let mut slices = Vec::new();
    for found in Walk::new(folder, folder, &names, None) {
        let file = match found {
            Found::File(file) => file,
            Found::Unreadable(error) => return Err(error).context("a folder cannot be searched"),
            Found::NoStudy | Found::LinkedFolder | Found::LeftOut => continue,
        };
        let blob = blob(file.strip_prefix(folder).unwrap_or(&file))?;
        let body = fetched(&blob, store, left).await?;
        left = left.saturating_sub(body.len());
        slices.push(Slice { name: blob.name().to_owned(), sha256: body.sha256(), body });
    }
    Ok(slices)
}

/// # Errors
/// `source_changed`.
fn series(slices: &[Slice], document: &ResultDocument) -> Result<FetchedStudy, JobError> {
    for set in sets(slices) {
        for prefix in prefixes(&set, &document.study.name) {
            let (found, sha256) = study(&set, &prefix)?;
            if Some(&sha256) == document.study.sha256.as_ref() {
                return Ok(found);
            }
        }
    }
    let text = "no files of the folder are the series that the result was read from, by names and bytes: a slice was \
                added, left out or changed, or the files lie otherwise than in their container";
    Err(JobError::new(Stage::Report, ErrorCode::SourceChanged, text))
}

/// What may be the series: all files; those of each series of CT images.
fn sets(slices: &[Slice]) -> Vec<Vec<&Slice>> {
    let mut groups: BTreeMap<SeriesGroup, Vec<&Slice>> = BTreeMap::new();
    for slice in slices {
        let Ok(bytes) = slice.body.clone().into_bytes() else { continue };
        let Ok(key) = series_of(&bytes) else { continue };
        if key.modality.as_deref() == Some(CT) {
            groups.entry(key.group(folder_of(&slice.name))).or_default().push(slice);
        }
    }
    std::iter::once(slices.iter().collect()).chain(groups.into_values()).collect()
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What a blob's name may have in place of a file's first folders: how much of a name in the folder is taken off, and what of the series'
/// name is put before it.
type Prefix = (usize, String);

/// The folders of the series' own name, before the names of files as they lie in the folder, or below one that all of them lie in.
fn prefixes(set: &[&Slice], series: &str) -> BTreeSet<Prefix> {
    let ends = |name: &str| -> Vec<usize> {
        std::iter::once(0).chain(name.match_indices('/').map(|(at, _)| at + 1)).collect()
    };
    let first = set.first().map_or("", |slice| slice.name.as_str());
    let shared = |end: &usize| set.iter().all(|slice| slice.name.get(..*end) == first.get(..*end));
    let taken: Vec<usize> = ends(first).into_iter().filter(shared).collect();
    let put: Vec<String> =
        ends(series).into_iter().map(|end| series[..end].to_owned()).chain([format!("{series}/")]).collect();
    taken.iter().flat_map(|taken| put.iter().map(|put| (*taken, put.clone()))).collect()
}

/// What the series would be with such names, and its digest.
fn study(set: &[&Slice], (taken, put): &Prefix) -> Result<(FetchedStudy, String), JobError> {
    let mut named = BTreeMap::new();
    for slice in set {
        let name = slice.name.get(*taken..).unwrap_or(&slice.name);
        named.insert(BlobRef::new(HERE, format!("{put}{name}"))?, *slice);
    }
    let members = named.keys().map(|blob| Member { blob: blob.clone(), etag: ETag(String::new()) }).collect();
    let series = Series::new(BlobRef::new(HERE, "series")?, members)?;
    let study = FetchedStudy::of_series(&series, named.values().map(|slice| slice.body.clone()).collect());
    let sha256 = study.sha256_of(named.values().map(|slice| slice.sha256.clone()).collect());
    Ok((study, sha256))
}
