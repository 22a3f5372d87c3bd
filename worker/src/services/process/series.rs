//! Files that are slices of CT series: each series is one input, announced by a set document in a folder of the run's own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt};
use nightread_ct::series_of;
use nightread_domain::set::{SCHEMA, SetDocument, SetInstance};
use nightread_domain::{BlobProperties, BlobRef, BlobStore, JobError, Media};
use nightread_radiograph::sniff;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::readings::instance::{Instance, SeriesMember, instance};

/// The container of the set documents.
pub(super) const SETS: &str = "sets";

/// Files that are looked at together.
const AT_ONCE: usize = 8;
/// Bytes that tell what a file is.
const SNIFFED: u64 = 4096;
/// Bytes in which the header of a file without a Series UID ends, or it stands alone.
const HEADER: u64 = 256 << 10;
const CT: &str = "CT";

/// What is read, and how it is announced.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Files that are studies of their own.
    pub files: Vec<BlobRef>,
    pub series: Vec<SeriesInput>,
}

/// A series, by the name of its result.
#[derive(Debug)]
pub(super) struct SeriesInput {
    pub name: BlobRef,
    /// Its set document, as announcements name it.
    pub set: String,
}

/// A slice, with what it is grouped by.
struct Slice {
    blob: BlobRef,
    properties: BlobProperties,
    key: SeriesMember,
}

/// Puts the slices of CT series among `blobs` together; set documents go into `folder`. Whatever cannot be looked at stays what it
/// is: reading it tells why.
///
/// # Errors
/// When a set document cannot be written.
pub(super) async fn gathered(blobs: &[BlobRef], store: &dyn BlobStore, folder: &TempDir) -> Result<Inputs> {
    let looked = stream::iter(blobs).map(|blob| async move { (blob, slice(blob, store).await) });
    let looked: Vec<_> = looked.buffered(AT_ONCE).collect().await;
    let (mut files, mut groups) = (Vec::new(), BTreeMap::<String, Vec<Slice>>::new());
    for (blob, slice) in looked {
        match slice {
            Ok(Some(slice)) => groups.entry(slice.key.series_uid.clone()).or_default().push(slice),
            Ok(None) | Err(_) => files.push(blob.clone()),
        }
    }
    let mut series = Vec::new();
    for (nth, (uid, slices)) in groups.into_iter().enumerate() {
        let document = set_of(&uid, &slices)?;
        let name = BlobRef::parse(&document.name)?;
        let file = format!("{nth}.json");
        std::fs::write(folder.path().join(&file), serde_json::to_vec(&document)?)
            .context("a set document cannot be written")?;
        series.push(SeriesInput { name, set: format!("{SETS}/{file}") });
    }
    Ok(Inputs { files, series })
}

/// The slice that a file is; none for anything else.
async fn slice(blob: &BlobRef, store: &dyn BlobStore) -> Result<Option<Slice>, JobError> {
    let properties = store.properties(blob).await?;
    let head = store.head(blob, &properties, SNIFFED).await?;
    if sniff(&head) != Some(Media::Dicom) {
        return Ok(None);
    }
    let key = match instance(blob, &properties, store).await? {
        Instance::Of(key) => key,
        Instance::WithoutSeries => {
            let head = store.head(blob, &properties, HEADER).await?;
            let Ok(key) = series_of(&head) else { return Ok(None) };
            // Of a series whose UIDs were taken away: those of one folder that are alike.
            let group = format!("{:?}", key.group(folder_of(blob.name())));
            let series_uid = made_up(&group);
            SeriesMember { series_uid, instance_uid: None, modality: key.modality, expected: None }
        }
        Instance::NotDicom => return Ok(None),
    };
    let is_ct = key.modality.as_deref() == Some(CT);
    Ok(is_ct.then(|| Slice { blob: blob.clone(), properties, key }))
}

fn folder_of(name: &str) -> &str {
    Path::new(name).parent().and_then(Path::to_str).unwrap_or_default()
}

/// A UID of the UUID form (PS3.5 B.2), the same for the same words.
fn made_up(words: &str) -> String {
    let digest = Sha256::digest(words.as_bytes());
    let number = digest.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("2.25.{number}")
}

/// The result of one file is called by that file, so that its name tells which; that of several by the folder that all lie in, and
/// the UID.
fn name_of(uid: &str, slices: &[Slice]) -> Result<String> {
    let first = slices.first().context("a series without slices")?;
    if slices.len() == 1 {
        return Ok(first.blob.to_string());
    }
    let mut folder = folder_of(first.blob.name());
    while !slices.iter().all(|slice| Path::new(slice.blob.name()).starts_with(folder)) {
        folder = folder_of(folder);
    }
    let joint = if folder.is_empty() { "" } else { "/" };
    Ok(format!("{}/{folder}{joint}{uid}", first.blob.container()))
}

fn set_of(uid: &str, slices: &[Slice]) -> Result<SetDocument> {
    let first = slices.first().context("a series without slices")?;
    Ok(SetDocument {
        schema: SCHEMA.to_owned(),
        name: name_of(uid, slices)?,
        series_uid: uid.to_owned(),
        modality: first.key.modality.clone(),
        expected: slices.iter().find_map(|slice| slice.key.expected),
        instances: slices
            .iter()
            .map(|slice| SetInstance {
                name: slice.blob.name().to_owned(),
                etag: slice.properties.etag.clone(),
                instance_uid: slice.key.instance_uid.clone(),
            })
            .collect(),
    })
}
