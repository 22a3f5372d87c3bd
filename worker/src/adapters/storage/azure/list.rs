//! What a container holds, page by page.

use azure_storage_blob::models::{BlobContainerClientListBlobsOptions, BlobItem, ListBlobsIncludeItem};
use futures::{Stream, StreamExt};
use nightread_domain::{BlobProperties, BlobRef, ETag, JobError, Stage};
use std::collections::BTreeMap;

use super::{AzureStore, error};

/// One blob of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub blob: BlobRef,
    pub properties: BlobProperties,
    pub metadata: BTreeMap<String, String>,
}

impl AzureStore {
    /// Every blob under `prefix`, in name order. A name that Nightread would refuse comes as its error; the
    /// listing goes on behind it. An error of storage ends the listing.
    pub fn list(
        &self,
        container: &str,
        prefix: &str,
    ) -> Result<impl Stream<Item = Result<Listed, JobError>> + Send + use<>, JobError> {
        let options = BlobContainerClientListBlobsOptions {
            prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
            include: Some(vec![ListBlobsIncludeItem::Metadata]),
            ..Default::default()
        };
        let pager = self
            .container(container)?
            .list_blobs(Some(options))
            .map_err(|error| error::classified(Stage::Fetch, &error))?;
        let container = container.to_owned();
        Ok(pager.map(move |item| match item {
            Ok(item) => listed(&container, item),
            Err(error) => Err(error::classified(Stage::Fetch, &error)),
        }))
    }
}

fn listed(container: &str, item: BlobItem) -> Result<Listed, JobError> {
    let facts =
        item.properties.and_then(|facts| Some((facts.etag?, facts.last_modified?, facts.content_length?)));
    let (Some(name), Some((etag, last_modified, bytes))) = (item.name, facts) else {
        return Err(error::odd(Stage::Fetch, "a listed blob without name, ETag, time or length"));
    };
    let metadata = item.metadata.and_then(|metadata| metadata.values).unwrap_or_default();
    // Listings leave out the quotation marks that headers carry; versions are compared as texts.
    let etag = String::from(etag);
    let etag = if etag.starts_with('"') { etag } else { format!("\"{etag}\"") };
    Ok(Listed {
        blob: BlobRef::new(container, name)?,
        properties: BlobProperties { etag: ETag(etag), last_modified, bytes },
        metadata: metadata.into_iter().collect(),
    })
}
