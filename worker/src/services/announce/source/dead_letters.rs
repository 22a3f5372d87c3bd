//! What Event Grid gave up: blobs `TOPIC/SUBSCRIPTION/YEAR/MONTH/DAY/HOUR/ID.json`, each an array of events in the schema
//! of the subscription. Their container is read only; announcing them again is harmless.

use anyhow::Result;
use nightread_domain::announcement::{AllowedSources, Announced, Resolved, parse, without_mark};
use nightread_domain::ports::{Listed, Listing};
use nightread_domain::{Attributes, Lane, Message};
use serde_json::Value;

use super::{Batch, Named, Out, Place, Position};
use crate::services::announce::filter::Facts;
use crate::services::pages::{PageWalk, patiently};

/// Event Grid puts at most a megabyte of events into one.
const MAX_BYTES: u64 = 16 << 20;

pub(super) async fn run(
    store: &dyn Listing,
    place: &Place,
    allowed: &AllowedSources,
    from: Position,
    out: &Out,
) -> Result<()> {
    let Position { mut marker, mut after, .. } = from;
    let mut walk = PageWalk::default();
    loop {
        let page =
            patiently(|| store.list_page(&place.container, &place.prefix, marker.as_deref(), false)).await?;
        if !walk.leads_on(marker.as_deref(), page.next.as_deref())? {
            continue;
        }
        let mut letters: Vec<Listed> = Vec::new();
        for item in page.items {
            match item {
                Ok(listed) => letters.push(listed),
                Err(error) if error.is_transient() => return Err(error.into()),
                // Event Grid names its blobs soundly; this is somebody else's.
                Err(error) => tracing::warn!(%error, "a blob among the dead letters is passed over"),
            }
        }
        if let Some(at) =
            after.take().and_then(|after| letters.iter().position(|letter| letter.blob.name() == after))
        {
            letters.drain(..=at);
        }
        for letter in letters {
            let body = patiently(|| store.read(&letter.blob, MAX_BYTES)).await;
            let mut batch = match body {
                Ok(Some((body, _))) => events(&body, &letter, allowed),
                Ok(None) => Batch::default(),
                Err(error) if error.is_transient() || error.is_fatal() => return Err(error.into()),
                Err(_) => Batch { refused: 1, ..Batch::default() },
            };
            let name = letter.blob.name().to_owned();
            batch.position = Position { marker: marker.clone(), after: Some(name), ..Position::default() };
            if out.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(());
        }
    }
}

fn events(body: &[u8], letter: &Listed, allowed: &AllowedSources) -> Batch {
    let mut batch = Batch::default();
    let events = match serde_json::from_slice(without_mark(body)) {
        Ok(Value::Array(events)) => events,
        Ok(event @ Value::Object(_)) => vec![event],
        _ => {
            batch.refused += 1;
            return batch;
        }
    };
    let facts = Facts { bytes: None, modified: Some(letter.properties.last_modified) };
    for event in events {
        let body = event.to_string().into();
        let message = Message { body, attributes: Attributes::for_lane(Lane::Ingest) };
        for announced in parse(&message).unwrap_or_else(|_| {
            batch.refused += 1;
            Vec::new()
        }) {
            let Announced::Job(announcement) = announced else {
                batch.ignored += 1;
                continue;
            };
            match announcement.resolve(allowed) {
                // The event's ETag may be of a version that has been replaced since.
                Ok(Resolved::Blob(blob)) => batch.found.push(Named { blob, etag: None, facts }),
                // Event Grid tells of blobs alone.
                Ok(Resolved::OwnResult | Resolved::Series(_)) => batch.ignored += 1,
                Err(_) => batch.refused += 1,
            }
        }
    }
    batch
}
