//! One blob in parallel ranges, every one of the same version.

use std::num::NonZero;
use std::time::Duration;

use azure_core::base64;
use azure_core::http::headers::HeaderName;
use azure_core::http::{Etag, Url};
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::BlobClientDownloadOptions;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use md5::Md5;
use nightread_domain::{BlobProperties, Body, ETag, JobError, Stage};
use rand::RngExt;
use sha2::{Digest, Sha256};

use super::client::AzureOptions;
use super::error;
use super::facts::to_etag;
use crate::adapters::storage::Spool;
use crate::adapters::storage::buffers::Buffers;
use crate::flow::aside::{STORAGE_TASK, blocking};

pub(super) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The service takes no digests of larger ranges.
const MAX_DIGESTED: usize = 4 << 20;

/// Tries of one range. A whole scan has hundreds of ranges: starting over at the first fault would never end.
const RANGE_TRIES: u32 = 4;

/// Downloads exactly the version in `properties`; the caller has checked its size against the limit.
pub(super) async fn pinned(
    blob: &BlobClient,
    properties: &BlobProperties,
    options: &AzureOptions,
    spool: &Spool,
    buffers: &Buffers,
) -> Result<Body, JobError> {
    if spool.takes(properties.bytes) {
        spooled(blob, properties, options, spool).await
    } else {
        in_memory(blob, properties, options, buffers).await
    }
}

/// Range after range into a file. Those in flight wait for the one before them, so that memory holds these few alone.
async fn spooled(
    blob: &BlobClient,
    properties: &BlobProperties,
    options: &AzureOptions,
    spool: &Spool,
) -> Result<Body, JobError> {
    let length = options.range_bytes.max(1) as u64;
    let mut state = (spool.file(properties.bytes).await?, Sha256::new());
    let starts = (0..properties.bytes.div_ceil(length)).map(|index| index * length);
    let mut ranges = stream::iter(starts)
        .map(|start| async move {
            let mut chunk = vec![0; length.min(properties.bytes - start) as usize];
            range(blob, &properties.etag, start, &mut chunk).await?;
            Ok::<_, JobError>(chunk)
        })
        .buffered(options.parallel_ranges.max(1));
    while let Some(chunk) = ranges.try_next().await? {
        // Digest and disk may take as long as the network: neither may hold up the reactor.
        state = blocking(Stage::Fetch, STORAGE_TASK, move || {
            let (mut file, mut digest) = state;
            digest.update(&chunk);
            file.write(&chunk)?;
            Ok((file, digest))
        })
        .await?;
    }
    let (file, digest) = state;
    blocking(Stage::Fetch, STORAGE_TASK, move || file.finish(hex::encode(digest.finalize()))).await
}

async fn in_memory(
    blob: &BlobClient,
    properties: &BlobProperties,
    options: &AzureOptions,
    buffers: &Buffers,
) -> Result<Body, JobError> {
    let mut body = buffers.take(properties.bytes)?;
    // Every byte is written over, so that what the buffer held is not cleared.
    body.resize(properties.bytes as usize, 0);
    let length = options.range_bytes.max(1);
    let chunks = body.chunks_mut(length).enumerate();
    let ranges: Vec<_> =
        chunks.map(|(index, chunk)| range(blob, &properties.etag, (index * length) as u64, chunk)).collect();
    stream::iter(ranges).buffer_unordered(options.parallel_ranges.max(1)).try_collect::<()>().await?;
    Ok(Body::Held(buffers.lend(body)))
}

/// The first bytes of exactly the version in `properties`.
pub(super) async fn head(
    blob: &BlobClient,
    properties: &BlobProperties,
    most: u64,
) -> Result<Bytes, JobError> {
    let mut chunk = vec![0; usize::try_from(properties.bytes.min(most)).unwrap_or(usize::MAX)];
    if !chunk.is_empty() {
        range(blob, &properties.etag, 0, &mut chunk).await?;
    }
    Ok(chunk.into())
}

/// Fills `chunk`.
async fn range(blob: &BlobClient, etag: &ETag, start: u64, chunk: &mut [u8]) -> Result<(), JobError> {
    let mut tries = 1;
    loop {
        match try_range(blob, etag, start, chunk).await {
            Err(error) if error.may_pass_soon() && tries < RANGE_TRIES => {
                let longest = Duration::from_millis(100 << tries);
                let wait = rand::rng().random_range(longest / 2..longest);
                tokio::time::sleep(wait).await;
                tries += 1;
            }
            done => return done,
        }
    }
}

async fn try_range(blob: &BlobClient, etag: &ETag, start: u64, chunk: &mut [u8]) -> Result<(), JobError> {
    let expected = chunk.len();
    let options = BlobClientDownloadOptions {
        if_match: Some(Etag::from(etag.strong())),
        parallel: NonZero::new(1),
        partition_size: NonZero::new(expected),
        range: Some((start..start + expected as u64).into()),
        range_get_content_md5: wants_digest(blob.url(), expected),
        ..Default::default()
    };
    let got = blob.download_into(chunk, Some(options)).await;
    let got = got.map_err(|error| error::classified(Stage::Fetch, &error))?;
    if got.len != expected {
        return Err(error::odd(Stage::Fetch, "fewer bytes than it promised"));
    }
    // What is between us and storage may have answered from its memory, whatever the condition was.
    if got.properties.etag.is_some_and(|version| to_etag(version) != *etag) {
        return Err(error::odd(Stage::Fetch, "bytes of another version than was asked for"));
    }
    check_digest(Stage::Fetch, blob.url(), got.headers.get_optional_str(&CONTENT_MD5), chunk)
}

/// TLS sees to it that what arrives is what was sent; without it the service's digest of each range does.
fn is_plain(endpoint: &Url) -> bool {
    endpoint.scheme() == "http"
}

/// Whether a digest of a range of so many bytes is to come with it.
pub(super) fn wants_digest(endpoint: &Url, bytes: usize) -> Option<bool> {
    (is_plain(endpoint) && bytes <= MAX_DIGESTED).then_some(true)
}

/// Whether `body` is what the service took its digest of. One that was not asked for is the uploader's, and proves nothing.
pub(super) fn check_digest(
    stage: Stage,
    endpoint: &Url,
    digest: Option<&str>,
    body: &[u8],
) -> Result<(), JobError> {
    match digest.filter(|_| is_plain(endpoint)) {
        Some(digest) if digest.trim() != base64::encode(Md5::digest(body)) => {
            Err(error::odd(stage, "bytes that are not those of its MD5"))
        }
        _ => Ok(()),
    }
}
