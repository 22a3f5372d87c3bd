//! Where series are kept while they grow: in the results container, beside the set documents that workers read.
//!
//! | blob | what |
//! |---|---|
//! | `_assemble/series/<container>/<name>.json` | the state of one series, changed under If-Match alone |
//! | `_assemble/open/<digest>.json` | that a series has something to be announced; there before the events of its files are deleted |
//! | `_series/<container>/<name>.json` | the set document, replaced under If-Match |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nightread_domain::announcement::SETS;
use nightread_domain::set::{MAX_BYTES, SetDocument};
use nightread_domain::{BlobRef, BlobStore, ETag, ErrorCode, JobError, Stage, WriteCondition, WriteOutcome};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::{SCHEMA, SeriesState};

/// The states of all series there were. No model's name begins so.
const STATES: &str = "_assemble/series/";

/// Series with something to be announced.
const OPEN: &str = "_assemble/open/";

/// Open series that are looked at; the others' turn comes when some of these are done.
const MOST_OPEN: usize = 20_000;

/// A mark is a name.
const MAX_MARK_BYTES: u64 = 64 << 10;

/// Series in the results container.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    store: Arc<dyn BlobStore>,
    results: String,
}

/// What a mark of an open series says.
#[derive(Serialize, Deserialize)]
struct Mark {
    name: String,
}

/// The version of a state or a document under which it may be replaced; `None` where there is none yet.
pub(super) type Seen = Option<ETag>;

impl Shelf {
    pub fn new(store: Arc<dyn BlobStore>, results: impl Into<String>) -> Self {
        Self { store, results: results.into() }
    }

    /// # Errors
    /// `internal` for a state that another program wrote; what storage says.
    pub async fn state(&self, series: &BlobRef) -> Result<Option<(SeriesState, ETag)>, JobError> {
        let Some((body, etag)) = self.store.read(&self.named(STATES, series)?, MAX_BYTES).await? else {
            return Ok(None);
        };
        let state = serde_json::from_slice::<SeriesState>(&body).ok().filter(|state| state.schema == SCHEMA);
        let state = state.ok_or_else(|| {
            let text = "what is kept of a series is of a form that this version does not know";
            JobError::new(Stage::Store, ErrorCode::Internal, text)
        })?;
        Ok(Some((state, etag)))
    }

    /// Replaces the state that was seen; `false` when it is another by now.
    pub async fn keep(&self, series: &BlobRef, state: &SeriesState, seen: &Seen) -> Result<bool, JobError> {
        self.replace(&self.named(STATES, series)?, serialised(state)?, seen).await
    }

    /// The version of the set document that is there.
    pub async fn set_seen(&self, series: &BlobRef) -> Result<Seen, JobError> {
        let found = self.store.read(&self.set_name(series)?, MAX_BYTES).await?;
        Ok(found.map(|(_, etag)| etag))
    }

    /// Replaces the set document that was seen; `false` when it is another by now.
    pub async fn keep_set(&self, series: &BlobRef, set: &SetDocument, seen: &Seen) -> Result<bool, JobError> {
        self.replace(&self.set_name(series)?, serialised(set)?, seen).await
    }

    pub fn set_name(&self, series: &BlobRef) -> Result<BlobRef, JobError> {
        self.named(SETS, series)
    }

    /// Sees to it that a series is among the open ones. Durable when it returns.
    pub async fn open(&self, series: &BlobRef) -> Result<(), JobError> {
        let body = serialised(&Mark { name: series.to_string() })?;
        // One that is there already says the same.
        self.write(&self.mark(series)?, body, WriteCondition::IfAbsent).await.map(drop)
    }

    pub async fn close(&self, series: &BlobRef) -> Result<(), JobError> {
        self.store.remove(&self.mark(series)?).await
    }

    /// The marks of the open series.
    pub async fn marks(&self) -> Result<Vec<BlobRef>, JobError> {
        let found = self.store.all_below(&self.results, OPEN, MOST_OPEN).await?;
        Ok(found.into_iter().map(|(mark, _)| mark).collect())
    }

    /// The series of a mark; `None` for one that is gone, and for what is none.
    pub async fn marked(&self, mark: &BlobRef) -> Result<Option<BlobRef>, JobError> {
        let Some((body, _)) = self.store.read(mark, MAX_MARK_BYTES).await? else { return Ok(None) };
        let named = serde_json::from_slice::<Mark>(&body).ok();
        Ok(named.and_then(|mark| BlobRef::parse(&mark.name).ok()))
    }

    /// Every series that was changed within `lately` of the last change of any; every one there ever was without.
    pub async fn all(&self, lately: Option<Duration>) -> Result<Vec<BlobRef>, JobError> {
        let found = self.store.all_below(&self.results, STATES, usize::MAX - 1).await?;
        // By the clock of storage alone.
        let last = found.iter().map(|(_, properties)| properties.last_modified).max();
        let since = last.zip(lately).map(|(last, lately)| last - lately);
        let recent = found
            .iter()
            .filter(|(_, properties)| since.is_none_or(|since| properties.last_modified >= since));
        let names = recent.filter_map(|(state, _)| {
            let name = state.name().strip_prefix(STATES)?.strip_suffix(".json")?;
            BlobRef::parse(name).ok()
        });
        Ok(names.collect())
    }

    fn named(&self, folder: &str, series: &BlobRef) -> Result<BlobRef, JobError> {
        BlobRef::new(self.results.as_str(), format!("{folder}{series}.json"))
    }

    pub fn mark(&self, series: &BlobRef) -> Result<BlobRef, JobError> {
        let digest = hex::encode(&Sha256::digest(series.to_string())[..16]);
        BlobRef::new(self.results.as_str(), format!("{OPEN}{digest}.json"))
    }

    async fn replace(&self, blob: &BlobRef, body: Bytes, seen: &Seen) -> Result<bool, JobError> {
        let condition = seen.clone().map_or(WriteCondition::IfAbsent, WriteCondition::IfMatch);
        self.write(blob, body, condition).await
    }

    async fn write(&self, blob: &BlobRef, body: Bytes, condition: WriteCondition) -> Result<bool, JobError> {
        let written = self.store.write(blob, body, &BTreeMap::new(), condition).await?;
        Ok(matches!(written, WriteOutcome::Written(_)))
    }
}

fn serialised(value: &impl Serialize) -> Result<Bytes, JobError> {
    let body = serde_json::to_vec(value).map_err(|error| {
        JobError::new(Stage::Store, ErrorCode::Internal, "what is kept of a series does not serialise")
            .with_source(error)
    })?;
    Ok(body.into())
}
