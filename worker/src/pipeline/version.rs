//! One version of a model gives one kind of number: a worker whose model of that version is another one than made the results
//! that are there is refused before it takes anything.

use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use nightread_domain::storing::same_version;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, JobError};

use super::store::existing;
use crate::compute::verified::Model;

/// Documents that are opened, taken evenly from those that a listing gives: they are of many days then.
const OPENED: usize = 64;
const AT_ONCE: usize = 8;

/// `model_mismatch` when results of the model's version were made by another model; or what storage says. Each job is judged
/// once more by the document that it meets.
pub async fn agrees(results: &dyn BlobStore, container: &str, model: &Model) -> Result<(), JobError> {
    let ours = &model.facts;
    let listed =
        results.some_below(container, &format!("{}/{}/", ours.name, ours.version_in_paths())).await?;
    let is_document = |blob: &BlobRef| Path::new(blob.name()).extension().is_some_and(|end| end == "json");
    let documents: Vec<_> = listed.into_iter().filter(is_document).collect();
    let step = documents.len().div_ceil(OPENED).max(1);
    let opened = futures::stream::iter(documents.into_iter().step_by(step))
        .map(|blob| async move {
            match existing(results, &blob).await {
                // A newer worker's: it is left alone, and says nothing to this one.
                Err(unknown) if unknown.code == ErrorCode::ResultNewerSchema => Ok(None),
                found => found,
            }
        })
        .buffer_unordered(AT_ONCE);
    opened
        .try_for_each(|found| {
            let judged = found.map_or(Ok(()), |document| same_version(&document.model, ours));
            std::future::ready(judged)
        })
        .await
}
