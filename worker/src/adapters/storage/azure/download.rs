//! One blob in parallel ranges, every one of the same version.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use azure_core::http::Etag;
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::BlobClientDownloadOptions;
use futures::{StreamExt, TryStreamExt, stream};
use nightread_domain::{BlobProperties, ErrorCode, Fetched, JobError, Stage};
use rand::RngExt;
use sha2::{Digest, Sha256};

use super::{AzureOptions, error};

/// Tries of one range. A whole scan has hundreds of ranges: starting over at the first fault would never end.
const RANGE_TRIES: u32 = 4;

/// Downloads exactly the version in `properties`; the caller has checked its size against the limit.
pub(super) async fn pinned(
    blob: &BlobClient,
    properties: &BlobProperties,
    options: &AzureOptions,
) -> Result<Fetched, JobError> {
    let size =
        usize::try_from(properties.bytes).map_err(|_| error::too_large(Stage::Fetch, usize::MAX as u64))?;
    let mut body = Vec::new();
    body.try_reserve_exact(size).map_err(|_| error::too_large(Stage::Fetch, size as u64))?;
    body.resize(size, 0);
    let length = options.range_bytes.max(1);
    let chunks = body.chunks_mut(length).enumerate();
    let ranges: Vec<_> = chunks
        .map(|(index, chunk)| range(blob, &properties.etag.0, (index * length) as u64, chunk))
        .collect();
    let mut ranges = stream::iter(ranges).buffer_unordered(options.parallel_ranges.max(1));
    let mut digest = Sha256::new();
    let mut digested = 0;
    let mut early = BTreeMap::new();
    while let Some((start, chunk)) = ranges.try_next().await? {
        early.insert(start, chunk);
        while let Some(next) = early.remove(&digested) {
            digest.update(next);
            digested += next.len() as u64;
        }
    }
    drop(ranges);
    Ok(Fetched { body: body.into(), sha256: hex::encode(digest.finalize()) })
}

/// Fills `chunk`, and gives it back with its place.
async fn range<'a>(
    blob: &BlobClient,
    etag: &str,
    start: u64,
    chunk: &'a mut [u8],
) -> Result<(u64, &'a [u8]), JobError> {
    let mut tries = 1;
    loop {
        match try_range(blob, etag, start, chunk).await {
            Err(error)
                if error.is_transient() && error.code != ErrorCode::BlobChanged && tries < RANGE_TRIES =>
            {
                let longest = Duration::from_millis(100 << tries);
                let wait = rand::rng().random_range(longest / 2..longest);
                tokio::time::sleep(wait).await;
                tries += 1;
            }
            done => return done.map(|()| (start, &*chunk)),
        }
    }
}

async fn try_range(blob: &BlobClient, etag: &str, start: u64, chunk: &mut [u8]) -> Result<(), JobError> {
    let expected = chunk.len();
    let options = BlobClientDownloadOptions {
        if_match: Some(Etag::from(etag)),
        parallel: NonZero::new(1),
        partition_size: NonZero::new(expected),
        range: Some((start..start + expected as u64).into()),
        ..Default::default()
    };
    let got = blob.download_into(chunk, Some(options)).await;
    match got {
        Ok(got) if got.len == expected => Ok(()),
        Ok(_) => Err(error::odd(Stage::Fetch, "fewer bytes than it promised")),
        Err(error) => Err(error::classified(Stage::Fetch, &error)),
    }
}
