//! Radiographs and their heatmaps as images of a report.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use nightread_domain::result::ArtefactKind;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_radiograph::{decode, preview};
use nightread_report::{Gathered, Radiograph, images};
use sha2::{Digest, Sha256};

use super::files::{Shelf, blob_of};
use super::studies::Studies;
use crate::services::results::documents::Documents;

/// Longer sides in pixels: in the table, twice what it shows; beside a heatmap, in one page and in a file.
const THUMBNAIL: u32 = 120;
const IN_PAGE: u32 = 512;
const IN_FILE: u32 = 768;
/// A heatmap is some hundred kilobytes.
const MOST_BYTES: u64 = 32 << 20;

/// How many images are not there, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Studies that are not where they were looked for.
    missing: u64,
    /// Studies whose bytes are not those that were read.
    changed: u64,
    /// Studies that cannot be decoded now.
    undecoded: u64,
    /// Heatmaps that documents name and that are gone, or are no images.
    heatmaps: u64,
    /// Pictures of volumes, likewise.
    previews: u64,
}

impl Shown {
    fn plus(self, other: Self) -> Self {
        Self {
            missing: self.missing + other.missing,
            changed: self.changed + other.changed,
            undecoded: self.undecoded + other.undecoded,
            heatmaps: self.heatmaps + other.heatmaps,
            previews: self.previews + other.previews,
        }
    }

    pub fn notes(self) -> Vec<String> {
        let said = [
            (self.missing, "Radiographs that are not where --images says, and not shown"),
            (
                self.changed,
                "Radiographs that are not shown, because their files have other bytes than those that were read",
            ),
            (self.undecoded, "Radiographs that could not be decoded again, and are not shown"),
            (self.heatmaps, "Stored heatmaps that are gone or cannot be read"),
            (self.previews, "Stored pictures of CT volumes that are gone or cannot be read"),
        ];
        said.iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{words}: {count}."))
            .collect()
    }
}

/// What is shown of one row.
#[derive(Debug, Default)]
struct Drawn {
    thumbnail: Option<String>,
    image: Option<String>,
    heatmaps: Vec<(String, String)>,
    shown: Shown,
}

/// Puts a small image, a larger one and the heatmaps into the rows of radiographs that were read.
pub(super) async fn draw(
    gathered: &mut Gathered,
    documents: &Documents,
    studies: Option<Studies>,
    shelf: &Arc<Shelf>,
) -> Result<Shown> {
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let read = gathered.radiographs.iter().enumerate().filter(|(_, row)| !row.findings.is_empty());
    let asked: Vec<_> = read.map(|(nth, row)| (nth, Asked::of(row))).collect();
    let studies = studies.map(Arc::new);
    let drawn = stream::iter(asked).map(|(nth, asked)| {
        let studies = studies.clone();
        async move { anyhow::Ok((nth, one(nth + 1, asked, documents, studies, shelf).await?)) }
    });
    let mut drawn = drawn.buffered(at_once);
    let mut shown = Shown::default();
    while let Some((nth, drawn)) = drawn.try_next().await? {
        let row = &mut gathered.radiographs[nth];
        (row.thumbnail, row.image, row.heatmaps) = (drawn.thumbnail, drawn.image, drawn.heatmaps);
        shown = shown.plus(drawn.shown);
    }
    for (nth, study) in gathered.volumes.iter_mut().enumerate() {
        let stored = study.beside.iter().find(|file| file.kind == ArtefactKind::Preview);
        let Some(place) = stored.map(|file| file.place.clone()) else { continue };
        match stored_image(&place, documents).await? {
            Some(jpeg) => {
                let name = format!("volume-{:05}.jpg", nth + 1);
                study.preview = Some(shelf.put(&name, "image/jpeg", &jpeg)?);
            }
            None => shown.previews += 1,
        }
    }
    Ok(shown)
}

/// A stored PNG for a page; `None` where it is gone, or no image.
async fn stored_image(place: &str, documents: &Documents) -> Result<Option<Vec<u8>>> {
    let Some(blob) = blob_of(place) else { return Ok(None) };
    let Some(bytes) = documents.read(&blob, MOST_BYTES).await? else { return Ok(None) };
    Ok(aside(move || images::from_png(&bytes)).await?.ok())
}

/// What of a row its images need.
#[derive(Debug)]
struct Asked {
    container: String,
    name: String,
    sha256: Option<String>,
    /// Label and place of stored heatmaps.
    heatmaps: Vec<(String, String)>,
}

impl Asked {
    fn of(row: &Radiograph) -> Self {
        let heatmaps = row.study.beside.iter().filter(|file| file.kind == ArtefactKind::Heatmap);
        let heatmaps = heatmaps.filter_map(|file| Some((file.of.clone()?, file.place.clone())));
        Self {
            container: row.study.container.clone(),
            name: row.study.name.clone(),
            sha256: row.study.sha256.clone(),
            heatmaps: heatmaps.collect(),
        }
    }
}

async fn one(
    number: usize,
    asked: Asked,
    documents: &Documents,
    studies: Option<Arc<Studies>>,
    shelf: &Arc<Shelf>,
) -> Result<Drawn> {
    let mut drawn = Drawn::default();
    for (nth, (label, place)) in asked.heatmaps.iter().enumerate() {
        match stored_image(place, documents).await? {
            Some(jpeg) => {
                let name = format!("heatmap-{number:05}-{nth}.jpg");
                drawn.heatmaps.push((label.clone(), shelf.put(&name, "image/jpeg", &jpeg)?));
            }
            None => drawn.shown.heatmaps += 1,
        }
    }
    let Some(studies) = studies else { return Ok(drawn) };
    let bytes = match studies.read(&asked.container, &asked.name).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            drawn.shown.missing += 1;
            return Ok(drawn);
        }
        Err(error) if error.is_transient() || error.is_fatal() => return Err(error.into()),
        Err(_) => {
            drawn.shown.undecoded += 1;
            return Ok(drawn);
        }
    };
    let side = if shelf.is_beside() { IN_FILE } else { IN_PAGE };
    match aside(move || small_and_large(&bytes, asked.sha256.as_deref(), &studies, side)).await? {
        Ok((small, large)) => {
            drawn.thumbnail = Some(shelf.put(&format!("thumbnail-{number:05}.jpg"), "image/jpeg", &small)?);
            drawn.image = Some(shelf.put(&format!("image-{number:05}.jpg"), "image/jpeg", &large)?);
        }
        Err(error) if error.code == ErrorCode::BlobChanged => drawn.shown.changed += 1,
        Err(error) if error.is_fatal() => return Err(error.into()),
        Err(_) => drawn.shown.undecoded += 1,
    }
    Ok(drawn)
}

/// `blob_changed` where the bytes are not those of the reading: another image beside its findings would be a wrong one.
fn small_and_large(
    bytes: &Bytes,
    sha256: Option<&str>,
    studies: &Studies,
    side: u32,
) -> Result<(Vec<u8>, Vec<u8>), JobError> {
    let is_read = sha256.is_some_and(|sha256| sha256 == hex::encode(Sha256::digest(bytes)));
    if !is_read {
        let text = "the file is another than the one that was read";
        return Err(JobError::new(Stage::Report, ErrorCode::BlobChanged, text));
    }
    let image = decode(bytes, &studies.options)?;
    let [small, large] = [THUMBNAIL, side].map(|side| {
        let seen = preview(&image, side);
        images::grey(seen.width, seen.height, &seen.pixels)
    });
    Ok((small?, large?))
}

/// On a thread that may be busy for long.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("drawing an image panicked")
}
