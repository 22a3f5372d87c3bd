//! A table in one file, or on standard output.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use nightread_table::{Contents, Form, Format, WriteError, Writer};

use super::pieces::pieces;
use super::told::Told;
use crate::services::results::documents::Documents;
use crate::services::results::output::Output;

/// A row for each finding and each component.
pub(super) async fn long(documents: &Documents, format: Format, out: Option<&Path>) -> Result<Told> {
    write(documents, &Form::Long, format, out).await
}

/// A row for each document. The documents are read twice: their labels are columns.
pub(super) async fn wide(documents: &Documents, format: Format, out: Option<&Path>) -> Result<Told> {
    let own = documents.clone();
    let first = documents.batches(
        |_| true,
        move |found| {
            let mut contents = Contents::default();
            for entry in own.judged(found) {
                if let Ok(document) = &entry.document {
                    contents.add(document);
                }
            }
            contents
        },
    );
    let contents = first.try_fold(Contents::default(), async |mut all, some| {
        all.join(some);
        Ok(all)
    });
    let contents = contents.await?;
    documents.forget_counts();
    write(documents, &Form::Wide(contents), format, out).await
}

async fn write(documents: &Documents, form: &Form, format: Format, out: Option<&Path>) -> Result<Told> {
    let mut told = Told::default();
    let begun = Writer::new(format, form.columns(), &[], Output::open(out)?);
    let Some(mut writer) = unless_closed(begun)? else { return Ok(told) };
    let mut pieces = pieces(documents, form, |_| true);
    while let Some(piece) = pieces.try_next().await? {
        if piece.is_new {
            bail!("results were written meanwhile, with labels that have no columns: run it again");
        }
        told.join(piece.told);
        let written = tokio::task::block_in_place(|| writer.write(piece.batch));
        if unless_closed(written)?.is_none() {
            return Ok(told);
        }
    }
    if let Some(output) = unless_closed(writer.finish())? {
        output.finish()?;
    }
    Ok(told)
}

/// A closed pipe (`| head`) is no failure; a full disk is.
fn unless_closed<T>(written: Result<T, WriteError>) -> Result<Option<T>> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(WriteError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(error).context("cannot write the table"),
    }
}
