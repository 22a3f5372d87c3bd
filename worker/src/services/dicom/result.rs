//! The one document that was named, its source, and what is made of both.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use futures::TryStreamExt;
use nightread_archive::{Object, Options, PRIVATE_SCHEME};
use nightread_dicom::IsolatedCodec;
use nightread_domain::{ErrorCode, ResultDocument};

use super::objects::{self, Ingredients, Labels, MOST_FILE_BYTES, SourceReading};
use super::source;
use super::tasks::of_task;
use crate::app::{self, WrongUse};
use crate::cli::Common;
use crate::services::results::documents::{Documents, Entry};
use crate::services::results::filter::Filter;
use crate::settings::Settings;

/// The objects of a result.
#[derive(Debug)]
pub(super) struct Made {
    pub objects: Vec<Object>,
    /// Labels that have no code of a public scheme.
    pub uncoded: Vec<String>,
    /// What a person should know of them.
    pub notes: Vec<String>,
}

/// # Errors
/// [`WrongUse`]; `source_changed`, `no_dicom_identity`, `no_dicom_result`, `artefact_changed`; `model_mismatch` for a manifest that is
/// broken; what the file system says.
pub(super) async fn make(result: &Path, typed: &Path, common: &Common, settings: &Settings) -> Result<Made> {
    let documents = Documents::open(result, common, Filter::default())?;
    let (document, files) = read(&documents, result).await?;
    let study = source::opened(typed, &document, &settings.limits).await?;
    let models = app::described(settings, Some(&document.model.name));
    let found = models.and_then(|models| Labels::of(&models, &document.model.name));
    let (Labels { codes, scales }, mut notes): (Labels, Vec<String>) = match found {
        Ok(labels) => (labels, Vec::new()),
        // What a registry that is away has is not left out either.
        Err(error) if settings.registry.is_some() || error.code != ErrorCode::ModelMissing => {
            return Err(error.into());
        }
        Err(absent) => (Labels::default(), vec![absent.in_full()]),
    };
    let options = Options {
        report: settings.report_class,
        segmentation: settings.segmentation_form,
        scales: &scales,
        ..Options::default()
    };
    let codec: Option<Arc<dyn IsolatedCodec>> =
        if of_task(document.task).needs_codec { Some(Arc::new(app::codec(&settings.limits)?)) } else { None };
    let reading = SourceReading::new(&settings.limits, codec);
    let made = objects::objects(&Ingredients {
        document: &document,
        study: &study,
        files: &files,
        codes: &codes,
        options: &options,
        reading: &reading,
    })?;
    let uncoded: Vec<String> = objects::uncoded(&document, &codes).into_iter().map(str::to_owned).collect();
    if !uncoded.is_empty() {
        let labels = uncoded.join(", ");
        notes.push(format!(
            "labels without a code of a public scheme, written under {PRIVATE_SCHEME}: {labels}"
        ));
    }
    Ok(Made { objects: made, uncoded, notes })
}

/// The document, and the files beside it that go into objects.
async fn read(documents: &Documents, typed: &Path) -> Result<(Box<ResultDocument>, Vec<(String, Bytes)>)> {
    let entries: Vec<Entry> = documents.entries().try_collect().await?;
    let [entry] = entries.as_slice() else {
        let text = format!("{} holds {} documents; one is expected", typed.display(), entries.len());
        return Err(WrongUse(text).into());
    };
    let document = match &entry.document {
        Ok(document) => document.clone(),
        Err(why) => return Err(WrongUse(format!("{}: {why}", typed.display())).into()),
    };
    let mut files = Vec::new();
    for artefact in objects::files_of(&document) {
        let bytes = match documents.beside(entry, artefact) {
            Some(place) => documents.read(&place, MOST_FILE_BYTES).await?,
            None => None,
        };
        files.push(objects::file(artefact, bytes)?);
    }
    Ok((document, files))
}
