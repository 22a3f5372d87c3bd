//! Containers of an Azure account, page by page.

use anyhow::Result;

use super::{BATCH, Batch, Named, Out, Place, Position, patiently};
use crate::adapters::storage::azure::AzureStore;
use crate::commands::announce::filter::Facts;

/// A position is a page's marker and a name on that page. When that name is gone, the whole page is handed over again:
/// nothing is concluded from the order of names, which is the service's own.
pub(super) async fn run(store: &AzureStore, places: &[Place], from: Position, out: &Out) -> Result<()> {
    let Position { part: first, mut marker, mut after, .. } = from;
    for (part, place) in places.iter().enumerate().skip(first) {
        loop {
            let page =
                patiently(|| store.list_page(&place.container, &place.prefix, marker.as_deref(), false))
                    .await?;
            let (mut found, mut refused) = (Vec::with_capacity(page.items.len()), 0);
            for item in page.items {
                match item {
                    Ok(listed) => found.push(Named {
                        facts: Facts {
                            bytes: Some(listed.properties.bytes),
                            modified: Some(listed.properties.last_modified),
                        },
                        etag: Some(listed.properties.etag),
                        blob: listed.blob,
                    }),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    Err(_) => refused += 1,
                }
            }
            if let Some(at) =
                after.take().and_then(|after| found.iter().position(|named| named.blob.name() == after))
            {
                found.drain(..=at);
                // They were counted when the page was read before.
                refused = 0;
            }
            let mut found = found.into_iter();
            loop {
                let some: Vec<_> = found.by_ref().take(BATCH).collect();
                let last = some.last().map(|named| named.blob.name().to_owned());
                let ends = found.len() == 0;
                let position = match (&page.next, ends) {
                    (_, false) => Position { part, marker: marker.clone(), after: last, count: 0 },
                    (Some(next), true) => {
                        Position { part, marker: Some(next.clone()), ..Position::default() }
                    }
                    (None, true) => Position { part: part + 1, ..Position::default() },
                };
                let batch =
                    Batch { found: some, refused: std::mem::take(&mut refused), ignored: 0, part, position };
                if out.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
                if ends {
                    break;
                }
            }
            marker = page.next;
            if marker.is_none() {
                break;
            }
        }
    }
    Ok(())
}
