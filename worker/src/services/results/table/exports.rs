//! What reviewing tools import.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use nightread_table::{Export, Exporter};

use super::told::Told;
use crate::services::results::documents::Documents;
use crate::services::results::output::Output;

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
                    Ok(document) => {
                        let text = tool.of(&document, &before);
                        texts.extend(text.map(|text| (document.study.name.clone(), text)));
                    }
                    Err(why) => told.unread(entry.path.name(), &why),
                }
            }
            told.documents = texts.len() as u64;
            told.rows = texts.len() as u64;
            (texts, told)
        },
    );
    let mut told = Told::default();
    let mut seen = HashSet::new();
    let mut exporter = Exporter::new(tool, Output::open(out)?).context("cannot write")?;
    while let Some((texts, some)) = pieces.try_next().await? {
        told.join(some);
        for (name, text) in texts {
            if tool.has_one_place() && !seen.insert(digest(&name)) {
                bail!(
                    "{name} has two results, and this format has a place for one: name a --model and its --model-version"
                );
            }
            exporter.write(&text).context("cannot write")?;
        }
    }
    exporter.finish().context("cannot write")?.finish()?;
    Ok(told)
}

/// Eight bytes for each name, however long.
fn digest(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
