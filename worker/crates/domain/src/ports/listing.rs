//! What a container holds.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::blobs::BlobStore;
use crate::blob::{BlobProperties, BlobRef};
use crate::error::JobError;

/// One blob of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub blob: BlobRef,
    pub properties: BlobProperties,
    /// As it was written, where it was asked for and the store has any.
    pub metadata: BTreeMap<String, String>,
}

/// One page of a listing, and where the next begins.
#[derive(Debug)]
pub struct ListedPage {
    /// A name that Nightread would refuse, or a file that cannot be reached, comes as its error.
    pub items: Vec<Result<Listed, JobError>>,
    /// `None` at the end.
    pub next: Option<String>,
}

/// A store whose containers can be listed.
#[async_trait]
pub trait Listing: BlobStore {
    /// One page of the blobs whose names begin with `prefix`, in an order that is the same each time, from `marker` on: the
    /// `next` of the page before. Metadata may cost time, so it comes only when it is asked for.
    async fn list_page(
        &self,
        container: &str,
        prefix: &str,
        marker: Option<&str>,
        metadata: bool,
    ) -> Result<ListedPage, JobError>;

    /// The metadata of a blob, empty where the store keeps none; `None` when the blob is gone.
    async fn metadata(&self, blob: &BlobRef) -> Result<Option<BTreeMap<String, String>>, JobError>;

    /// Whether the store keeps the metadata that it is given.
    fn keeps_metadata(&self) -> bool;
}
