//! What reviewing tools import.

use std::path::Path;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use nightread_table::{Export, Exporter};

use super::file::Output;
use super::told::Told;
use crate::services::results::documents::Documents;

pub(super) async fn write(
    documents: &Documents,
    tool: Export,
    images: &str,
    out: Option<&Path>,
) -> Result<Told> {
    let (own, before) = (documents.clone(), images.to_owned());
    let mut pieces = documents.batches(
        |_| true,
        move |found| {
            let mut told = Told::default();
            let mut texts = Vec::new();
            for entry in own.judged(found) {
                match entry.document {
                    Ok(document) => texts.extend(tool.of(&document, &before)),
                    Err(why) => told.unread(entry.path.name(), &why),
                }
            }
            told.documents = texts.len() as u64;
            told.rows = texts.len() as u64;
            (texts, told)
        },
    );
    let mut told = Told::default();
    let mut exporter = Exporter::new(tool, Output::open(out)?).context("cannot write")?;
    while let Some((texts, some)) = pieces.try_next().await? {
        told.join(some);
        for text in texts {
            exporter.write(&text).context("cannot write")?;
        }
    }
    exporter.finish().context("cannot write")?.finish()?;
    Ok(told)
}
