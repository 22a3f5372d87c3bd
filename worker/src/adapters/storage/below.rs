//! All blobs of a folder, to the last page.

use nightread_domain::ports::Listing;
use nightread_domain::{BlobProperties, BlobRef, ErrorCode, JobError, Stage};

/// As [`nightread_domain::BlobStore::all_below`], by the pages of a listing.
pub(super) async fn all_below(
    store: &dyn Listing,
    container: &str,
    prefix: &str,
    most: usize,
) -> Result<Vec<(BlobRef, BlobProperties)>, JobError> {
    let mut found = Vec::new();
    let mut marker: Option<String> = None;
    while found.len() <= most {
        let page = store.list_page(container, prefix, marker.as_deref(), false).await?;
        for item in page.items {
            let item = item?;
            found.push((item.blob, item.properties));
        }
        match page.next {
            None => break,
            // What leads nowhere would never end, and what it leaves out would be missed.
            Some(next) if marker.as_ref() == Some(&next) => {
                let told = "the listing leads back to where it was";
                return Err(JobError::new(Stage::Fetch, ErrorCode::StorageUnavailable, told));
            }
            next => marker = next,
        }
    }
    Ok(found)
}
