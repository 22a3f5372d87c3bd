//! A data set of Parquet parts, brought up to date.

use std::path::Path;

use anyhow::Result;
use futures::TryStreamExt;
use nightread_domain::JobError;
use nightread_table::{DataSet, DataSetError, Form, Survey};
use tokio::task::block_in_place;

use super::pieces::pieces;
use super::told::Told;
use crate::services::results::documents::{Documents, bare};

/// Brings the folder up to date. The inner error is wrong use, in words.
pub(super) async fn update(documents: &Documents, folder: &Path) -> Result<Result<Told, String>> {
    let opened = block_in_place(|| DataSet::open(folder, Form::Long.columns(), documents.asked()));
    let set = match opened {
        Ok(set) => set,
        Err(DataSetError::Refused(why)) => return Ok(Err(why)),
        Err(DataSetError::Write(error)) => return Err(error.into()),
    };
    let mut survey = set.survey();
    if !set.is_new() {
        if documents.is_read_once() {
            return Ok(Err("a data set goes through a list twice: give it as @LIST".to_owned()));
        }
        look(documents, &mut survey).await?;
        documents.forget_counts();
    }
    let kept = survey.kept();
    let mut told = Told { kept: kept.documents() as u64, ..Told::default() };
    let mut staged = set.stage(&kept.paths())?;
    let mut pieces = pieces(documents, &Form::Long, move |named| !kept.holds(named.path.name()));
    while let Some(piece) = pieces.try_next().await? {
        told.join(piece.told);
        block_in_place(|| staged.write(piece.batch))?;
    }
    block_in_place(|| staged.publish())?;
    Ok(Ok(told))
}

/// Which documents are there, and of which versions.
async fn look(documents: &Documents, survey: &mut Survey) -> Result<(), JobError> {
    let mut names = documents.names(true, |_| true);
    while let Some(some) = names.recv().await {
        for named in some? {
            survey.note(named.path.name(), named.etag.as_ref().map(bare).as_deref());
        }
    }
    Ok(())
}
