//! Containers, page by page.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use nightread_domain::ports::{Listed, ListedPage, Listing};
use nightread_domain::{BlobKind, ErrorCode, JobError, Stage};

use super::{BATCH, Batch, Named, Out, Place, Position};
use crate::services::announce::filter::Facts;
use crate::services::pages::{PageWalk, patiently};

/// Questions to storage at once about blobs without bytes.
const LOOKUPS: usize = 16;

/// A position is a page's marker and a name on that page. When that name is gone, the whole page is handed over again:
/// nothing is concluded from the order of names, which is the service's own.
pub(super) async fn run(store: &dyn Listing, places: &[Place], from: Position, out: &Out) -> Result<()> {
    let Position { part: first, mut marker, mut after, .. } = from;
    for (part, place) in places.iter().enumerate().skip(first) {
        let mut walk = PageWalk::default();
        loop {
            let page =
                patiently(|| store.list_page(&place.container, &place.prefix, marker.as_deref(), false))
                    .await?;
            if !walk.leads_on(marker.as_deref(), page.next.as_deref())? {
                continue;
            }
            let next = page.next.clone();
            let mut sorted = sorted(store, page).await?;
            if let Some(at) = after
                .take()
                .and_then(|after| sorted.found.iter().position(|named| named.blob.name() == after))
            {
                // What comes before it was handed over, and the rest counted, when the page was read before.
                sorted = Batch { found: sorted.found.split_off(at + 1), ..Batch::default() };
            }
            let mut found = std::mem::take(&mut sorted.found).into_iter();
            loop {
                let some: Vec<_> = found.by_ref().take(BATCH).collect();
                let last = some.last().map(|named| named.blob.name().to_owned());
                let ends = found.len() == 0;
                let position = match (&next, ends) {
                    (_, false) => Position { part, marker: marker.clone(), after: last, count: 0 },
                    (Some(next), true) => {
                        Position { part, marker: Some(next.clone()), ..Position::default() }
                    }
                    (None, true) => Position { part: part + 1, ..Position::default() },
                };
                let batch = Batch { found: some, part, position, ..std::mem::take(&mut sorted) };
                if out.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
                if ends {
                    break;
                }
            }
            marker = next;
            if marker.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The blobs of a page that can be read, and how many things of other kinds are beside them.
async fn sorted(store: &dyn Listing, page: ListedPage) -> Result<Batch, JobError> {
    let mut batch = Batch::default();
    let mut listed = Vec::with_capacity(page.items.len());
    for item in page.items {
        match item {
            Ok(item) => listed.push(item),
            Err(error) if error.is_transient() => return Err(error),
            // What has gone since, and a link that no worker may follow, is not there to be announced.
            Err(error) if error.stage == Stage::Fetch => batch.ignored += 1,
            Err(_) => batch.refused += 1,
        }
    }
    let kinds = stream::iter(listed).map(|item| async {
        let kind = kind_of(store, &item).await?;
        Ok::<_, JobError>((item, kind))
    });
    let mut kinds = kinds.buffered(LOOKUPS);
    while let Some((item, kind)) = kinds.try_next().await? {
        match kind {
            BlobKind::Directory => batch.ignored += 1,
            BlobKind::Archived => batch.archived += 1,
            BlobKind::Content => batch.found.push(Named {
                facts: Facts {
                    bytes: Some(item.properties.bytes),
                    modified: Some(item.properties.last_modified),
                },
                etag: Some(item.properties.etag),
                blob: item.blob,
            }),
        }
    }
    Ok(batch)
}

/// A listing without metadata does not tell which blobs stand for folders. Those have no bytes, and few others have none.
async fn kind_of(store: &dyn Listing, item: &Listed) -> Result<BlobKind, JobError> {
    if item.properties.bytes > 0 || item.properties.kind != BlobKind::Content {
        return Ok(item.properties.kind);
    }
    match patiently(|| store.properties(&item.blob)).await {
        Ok(properties) => Ok(properties.kind),
        // Whoever reads it sees for himself.
        Err(error) if matches!(error.code, ErrorCode::BlobNotFound | ErrorCode::BlobBusy) => {
            Ok(BlobKind::Content)
        }
        Err(error) => Err(error),
    }
}
