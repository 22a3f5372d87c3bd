//! Starts that came near the end of a worker's memory. The kernel kills without a word, and whoever takes the message next knows
//! only that a worker died: so one that reads a quarantined message alone leaves a note with the results when little memory is left.

use std::collections::BTreeMap;
use std::time::Duration;

use nightread_domain::{BlobRef, BlobStore, ErrorCode, JobError, Message, Stage, WriteCondition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::flow::memory::{self, MemoryUse};

/// Where the notes lie in the results container. No model's name begins so.
pub(crate) const STARTS: &str = "_starts/";

/// From this share on a note is written. Memory is filled at some gigabytes a second: what is left has to take longer than writing
/// a blob. A worker that dies for another reason with so much in use is told as one that wanted memory, with the figures.
const NEAR: f64 = 0.75;

/// Between two looks, which cost some files of the kernel's each.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A drain does not wait longer for a note while storage is away.
const PATIENCE: Duration = Duration::from_secs(10);

const NOTE_BYTES: u64 = 4 << 10;

/// What was in use of what there was when it was written, and the most that the worker could have; in bytes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Note {
    used: u64,
    limit: u64,
    most: u64,
}

/// The notes of one message, whatever copy of it.
#[derive(Debug)]
pub(super) struct Starts<'s> {
    store: &'s dyn BlobStore,
    container: &'s str,
    folder: String,
}

impl<'s> Starts<'s> {
    pub fn of(message: &Message, store: &'s dyn BlobStore, container: &'s str) -> Self {
        let digest = hex::encode(&Sha256::digest(&message.body)[..16]);
        Self { store, container, folder: format!("{STARTS}{digest}/") }
    }

    /// `exceeds_memory` where two starts before this one came near the end of no less memory than this worker has. Notes of
    /// this start and later ones are of a message that was taken out of the dead letters since, and go.
    pub async fn judged(&self, start: u32) -> Result<Option<JobError>, JobError> {
        let mut notes = Vec::new();
        for blob in self.store.some_below(self.container, &self.folder).await? {
            let number = blob.name().rsplit('/').next().and_then(|name| name.parse::<u32>().ok());
            if number.is_none_or(|number| number >= start) {
                self.store.remove(&blob).await?;
            } else if let Some((body, _)) = self.store.read(&blob, NOTE_BYTES).await? {
                notes.extend(serde_json::from_slice::<Note>(&body).ok());
            }
        }
        Ok(exceeds(&notes, memory::most().unwrap_or_default()))
    }

    /// Does `work`, and leaves the note once little memory is left meanwhile. A note that is on its way when the work ends is waited
    /// for: it would arrive after [`Self::forget`] looked for it.
    pub async fn beside<T>(&self, start: u32, work: impl Future<Output = T>) -> T {
        let ended = CancellationToken::new();
        let work = async {
            let done = work.await;
            ended.cancel();
            done
        };
        tokio::join!(work, self.watch(start, &ended, memory::in_use)).0
    }

    async fn watch(&self, start: u32, ended: &CancellationToken, in_use: impl Fn() -> Option<MemoryUse>) {
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        let found = loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = looks.tick() => {}
            }
            if let Some(found) = in_use().filter(|found| found.share() >= NEAR) {
                break found;
            }
        };
        self.tell(start, found).await;
    }

    /// Leaves the note of a start that ends because the system gives no more memory, however much was in use when it was asked.
    pub async fn note(&self, start: u32) {
        let most = memory::most().unwrap_or_default();
        self.tell(start, memory::in_use().unwrap_or(MemoryUse { used: 0, limit: most })).await;
    }

    async fn tell(&self, start: u32, MemoryUse { used, limit }: MemoryUse) {
        tracing::warn!(used, limit, start, "little memory is left while a study is read alone");
        let note = Note { used, limit, most: memory::most().unwrap_or(limit) };
        match tokio::time::timeout(PATIENCE, self.write(start, note)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "that little memory was left is not noted"),
            Err(_) => tracing::warn!("that little memory was left is not noted in time"),
        }
    }

    async fn write(&self, start: u32, note: Note) -> Result<(), JobError> {
        let blob = BlobRef::new(self.container, format!("{}{start}", self.folder))?;
        let body = serde_json::to_vec(&note).map_err(|error| {
            JobError::new(Stage::Store, ErrorCode::Internal, "a note does not serialise").with_source(error)
        })?;
        self.store.write(&blob, body.into(), &BTreeMap::new(), WriteCondition::IfAbsent).await?;
        Ok(())
    }

    /// The worker lived: nothing is to be remembered.
    pub async fn forget(&self) {
        // What stays counts for a later start of the same message alone.
        let told = |error| tracing::warn!(%error, folder = self.folder, "notes of starts stay");
        let notes = self.store.some_below(self.container, &self.folder).await;
        for blob in notes.map_err(told).unwrap_or_default() {
            if let Err(error) = self.store.remove(&blob).await {
                told(error);
            }
        }
    }
}

/// `most`: that this worker can have, in bytes. Those that had less say nothing of what it can read.
fn exceeds(notes: &[Note], most: u64) -> Option<JobError> {
    let told: Vec<_> = notes.iter().filter(|note| note.most >= most).collect();
    let [_, .., last] = told.as_slice() else { return None };
    let [used, limit] = [last.used, last.limit].map(|bytes| bytes >> 20);
    let text = format!(
        "{} workers died while they read it alone and little memory was left: {used} of {limit} MiB in use when last heard of",
        told.len()
    );
    Some(JobError::new(Stage::Settle, ErrorCode::ExceedsMemory, text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nightread_domain::Lane;
    use nightread_domain::message::Attributes;
    use nightread_domain::ports::{Guard, Guarded, StoreCall};

    use super::*;
    use crate::adapters::storage::folder::FolderStore;

    fn message(body: &'static str) -> Message {
        Message { body: body.into(), attributes: Attributes::for_lane(Lane::Volumes) }
    }

    #[test]
    fn two_deaths_with_as_much_memory_as_here_are_enough() {
        const GIB: u64 = 1 << 30;
        let note = |limit| Note { used: limit / 10 * 9, limit, most: limit };
        // Of a machine that was full beside a group with a bound of its own.
        let narrow = Note { used: 15 * GIB, limit: 16 * GIB, most: 2 * GIB };
        for (notes, most, is_told) in [
            (vec![], 4 * GIB, false),
            (vec![note(4 * GIB)], 4 * GIB, false),
            (vec![note(4 * GIB), note(4 * GIB)], 4 * GIB, true),
            (vec![note(8 * GIB), note(4 * GIB)], 4 * GIB, true),
            (vec![note(8 * GIB), note(4 * GIB)], 6 * GIB, false),
            (vec![note(4 * GIB), note(4 * GIB)], 8 * GIB, false),
            (vec![narrow, narrow], 4 * GIB, false),
            (vec![narrow, narrow], 2 * GIB, true),
        ] {
            let told = exceeds(&notes, most);
            assert_eq!(told.is_some(), is_told, "{notes:?} {most}");
            assert!(told.is_none_or(|error| error.code == ErrorCode::ExceedsMemory));
        }
    }

    #[tokio::test]
    async fn notes_are_of_one_message_and_of_starts_before_this_one() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("results")).expect("a container");
        let store = FolderStore::new([("results".to_owned(), folder.path().join("results"))]);
        let [one, other] = [message("one"), message("other")];
        let starts = Starts::of(&one, &store, "results");
        let much = Note { used: u64::MAX / 2, limit: u64::MAX, most: u64::MAX };
        for start in 0..3 {
            starts.write(start, much).await.expect("written");
        }
        assert!(Starts::of(&other, &store, "results").judged(8).await.expect("read").is_none());
        assert!(starts.judged(3).await.expect("read").is_some());
        assert!(starts.judged(1).await.expect("read").is_none(), "one start before it");
        assert!(starts.judged(3).await.expect("read").is_none(), "the later ones are gone");
        starts.write(1, much).await.expect("written");
        assert!(starts.judged(2).await.expect("read").is_some());
        starts.forget().await;
        assert!(starts.judged(2).await.expect("read").is_none());
    }

    /// A store that takes its time to write.
    #[derive(Debug)]
    struct Slow;

    impl Guard for Slow {
        async fn around<T: Send, F: Future<Output = Result<T, JobError>> + Send>(
            &self,
            call: StoreCall<'_>,
            mut make: impl FnMut() -> F + Send,
        ) -> Result<T, JobError> {
            if matches!(call, StoreCall::Write(..)) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            make().await
        }
    }

    #[tokio::test]
    async fn a_note_on_its_way_when_the_work_ends_is_there_to_be_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("results")).expect("a container");
        let store = FolderStore::new([("results".to_owned(), folder.path().join("results"))]);
        let store = Guarded::new(Arc::new(store), Slow);
        let message = message("one");
        let starts = Starts::of(&message, &store, "results");
        let notes = || async { store.some_below("results", STARTS).await.expect("a listing").len() };
        let full = || Some(MemoryUse { used: 9, limit: 10 });
        let ended = CancellationToken::new();
        let work = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ended.cancel();
        };
        tokio::join!(work, starts.watch(0, &ended, full));
        assert_eq!(notes().await, 1);
        starts.forget().await;
        assert_eq!(notes().await, 0);
        // With memory to spare it looks until the work ends.
        starts.watch(1, &ended, || Some(MemoryUse { used: 1, limit: 10 })).await;
        assert_eq!(notes().await, 0);
    }
}
