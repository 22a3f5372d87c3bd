//! What a container holds, page by page.

use async_trait::async_trait;
use azure_storage_blob::models::{
    AccessTier, BlobClientGetPropertiesResultHeaders, BlobContainerClientListBlobsOptions, BlobItem,
    ListBlobsIncludeItem,
};
use futures::{Stream, StreamExt};
use nightread_domain::ports::{Listed, ListedPage, Listing};
use nightread_domain::{BlobKind, BlobProperties, BlobRef, JobError, Stage};
use std::collections::BTreeMap;

use super::error;
use super::facts::{is_folder, to_etag};
use super::store::AzureStore;

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

#[async_trait]
impl Listing for AzureStore {
    /// At most 5,000 blobs, in name order.
    async fn list_page(
        &self,
        container: &str,
        prefix: &str,
        marker: Option<&str>,
        metadata: bool,
    ) -> Result<ListedPage, JobError> {
        let options = BlobContainerClientListBlobsOptions {
            prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
            include: metadata.then(|| vec![ListBlobsIncludeItem::Metadata]),
            marker: marker.map(ToOwned::to_owned),
            ..Default::default()
        };
        let pager = self
            .container(container)?
            .list_blobs(Some(options))
            .map_err(|error| error::classified(Stage::Fetch, &error))?;
        let page = pager.into_pages().next().await;
        let page = page.ok_or_else(|| error::odd(Stage::Fetch, "a listing without a page"))?;
        let page = page
            .map_err(|error| error::classified(Stage::Fetch, &error))?
            .into_model()
            .map_err(|error| error::classified(Stage::Fetch, &error))?;
        Ok(ListedPage {
            items: page.blob_items.into_iter().map(|item| listed(container, item)).collect(),
            next: page.next_marker.filter(|marker| !marker.is_empty()),
        })
    }

    async fn metadata(&self, blob: &BlobRef) -> Result<Option<BTreeMap<String, String>>, JobError> {
        match self.blob(blob)?.get_properties(None).await {
            Ok(found) => match found.metadata() {
                Ok(metadata) => Ok(Some(metadata.into_iter().collect())),
                Err(_) => Err(error::odd(Stage::Fetch, "a blob without metadata")),
            },
            Err(error) if error::is_missing_blob(&error) => Ok(None),
            Err(error) => Err(error::classified(Stage::Fetch, &error)),
        }
    }

    fn keeps_metadata(&self) -> bool {
        true
    }
}

fn listed(container: &str, item: BlobItem) -> Result<Listed, JobError> {
    let is_archived =
        item.properties.as_ref().is_some_and(|facts| facts.access_tier == Some(AccessTier::Archive));
    let facts =
        item.properties.and_then(|facts| Some((facts.etag?, facts.last_modified?, facts.content_length?)));
    let (Some(name), Some((etag, last_modified, bytes))) = (item.name, facts) else {
        return Err(error::odd(Stage::Fetch, "a listed blob without name, ETag, time or length"));
    };
    let metadata = item.metadata.and_then(|metadata| metadata.values).unwrap_or_default();
    let kind = BlobKind::of(&name, bytes, is_folder(&metadata), is_archived);
    Ok(Listed {
        blob: BlobRef::new(container, name)?,
        properties: BlobProperties { etag: to_etag(etag), last_modified, bytes, kind },
        metadata: metadata.into_iter().collect(),
    })
}
