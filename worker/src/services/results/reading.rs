//! The bytes under names.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use nightread_domain::{BlobRef, BlobStore, ETag, JobError};

use super::names::Named;
use crate::adapters::storage::azure::AzureStore;
use crate::adapters::storage::folder::FolderStore;
use crate::services::pages::patiently;

/// Larger documents are none of ours.
pub const MAX_DOCUMENT: u64 = 16 << 20;

/// Downloads at once.
const DOWNLOADS: usize = 64;

/// Why there are no bytes where there is nothing.
pub(super) const GONE: &str = "there is no such document";

/// The bytes under a name.
#[derive(Debug)]
pub struct Found {
    pub path: BlobRef,
    /// The bytes with the mark of their version, or why they cannot be had.
    pub body: Result<(Bytes, ETag), String>,
}

/// The bytes of a batch of files.
pub(super) fn read_here(folder: &FolderStore, named: Vec<Named>) -> Result<Vec<Found>, JobError> {
    let mut found = Vec::with_capacity(named.len());
    for Named { path, .. } in named {
        let read = folder.read_now(&path, MAX_DOCUMENT);
        found.push(judge(path, read)?);
    }
    Ok(found)
}

pub(super) async fn download(account: &AzureStore, named: Vec<Named>) -> Result<Vec<Found>, JobError> {
    let found = stream::iter(named).map(|Named { path, .. }| async move {
        let read = read_blob(account, &path, MAX_DOCUMENT).await;
        judge(path, read)
    });
    found.buffered(DOWNLOADS).try_collect().await
}

pub(super) async fn read_blob(
    account: &AzureStore,
    blob: &BlobRef,
    limit: u64,
) -> Result<Option<(Bytes, ETag)>, JobError> {
    patiently(|| account.read(blob, limit)).await
}

/// What is wrong with one name is told of it; what is wrong with the store ends the reading.
fn judge(path: BlobRef, read: Result<Option<(Bytes, ETag)>, JobError>) -> Result<Found, JobError> {
    let body = match read {
        Ok(found) => found.ok_or_else(|| GONE.to_owned()),
        Err(error) if error.is_transient() || error.is_fatal() => return Err(error),
        Err(error) => Err(error.in_full()),
    };
    Ok(Found { path, body })
}
