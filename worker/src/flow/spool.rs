//! Room on a local disk for blobs that are kept in files while they are read, and its bound.

use std::io::{self, Read};
use std::sync::Arc;

use nightread_domain::body::Kept;
use nightread_domain::{Body, ErrorCode, JobError, Stage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Granularity of the permits, so that terabytes fit the semaphore's counter.
const PERMIT_BYTES: u64 = 1 << 20;

/// So many bytes of blobs may lie in spooled files at a time.
#[derive(Debug)]
pub struct SpoolBudget {
    /// Blobs of more bytes than this are kept in files.
    memory_bytes: u64,
    /// `None` where storage is a folder: its own files are read, and nothing is spooled.
    bytes: Option<u64>,
    free: Arc<Semaphore>,
}

impl SpoolBudget {
    /// `memory_bytes`: larger blobs are kept in files. `bytes`: of all these together; `None` where none is spooled.
    pub fn new(memory_bytes: u64, bytes: Option<u64>) -> Self {
        Self { memory_bytes, bytes, free: Arc::new(Semaphore::new(permits(bytes.unwrap_or(0)) as usize)) }
    }

    /// Room for all blobs of one study, of these sizes in bytes, taken at once and before the first of them comes: of two studies
    /// that held some of it and waited for more, each would wait for the other. It is taken before room in memory
    /// ([`ByteBudget`](super::budget::ByteBudget)), for which studies wait that have files already.
    ///
    /// # Errors
    /// `blob_too_large` for more than there is room at all; `shutting_down` when the worker is closing.
    pub async fn room_for(&self, blobs: impl Iterator<Item = u64>) -> Result<SpoolRoom, JobError> {
        let kept = kept(self.memory_bytes, blobs);
        let room = |bytes, held| SpoolRoom { memory_bytes: self.memory_bytes, bytes, held };
        let most = match self.bytes {
            None => return Ok(room(u64::MAX, None)),
            Some(_) if kept == 0 => return Ok(room(0, None)),
            Some(most) => most,
        };
        if kept > most {
            let text = format!(
                "blobs of {kept} bytes are too large for memory and would be kept on this machine's disk; {most} bytes are allowed \
                 there ([limits] spool_bytes)"
            );
            return Err(JobError::new(Stage::Fetch, ErrorCode::BlobTooLarge, text));
        }
        let held = Arc::clone(&self.free).acquire_many_owned(permits(kept)).await;
        let held =
            held.map_err(|_| JobError::new(Stage::Fetch, ErrorCode::ShuttingDown, "the worker is closing"))?;
        Ok(room(kept, Some(Arc::new(held))))
    }
}

/// Permits for so many bytes.
fn permits(bytes: u64) -> u32 {
    bytes.div_ceil(PERMIT_BYTES).min(u64::from(u32::MAX >> 3)) as u32
}

/// Bytes of those that are too large for memory.
fn kept(memory_bytes: u64, blobs: impl Iterator<Item = u64>) -> u64 {
    blobs.filter(|bytes| *bytes > memory_bytes).fold(0, u64::saturating_add)
}

/// Room that the files of one study share; free again when the last of them is gone.
#[derive(Clone, Debug)]
pub struct SpoolRoom {
    memory_bytes: u64,
    bytes: u64,
    held: Option<Arc<OwnedSemaphorePermit>>,
}

impl SpoolRoom {
    /// Whether blobs of these sizes have room here, too.
    pub fn suffices(&self, blobs: impl Iterator<Item = u64>) -> bool {
        kept(self.memory_bytes, blobs) <= self.bytes
    }

    /// A blob that was fetched into this room: where it lies in a file, that holds the room.
    pub fn hold(&self, body: Body) -> Body {
        match (body, &self.held) {
            (Body::Kept(kept), Some(room)) => Body::Kept(Arc::new(Holding { kept, _room: Arc::clone(room) })),
            (body, _) => body,
        }
    }
}

/// A file that holds its study's room.
#[derive(Debug)]
struct Holding {
    // Dropped in this order: the bytes are gone when their room is free.
    kept: Arc<dyn Kept>,
    _room: Arc<OwnedSemaphorePermit>,
}

impl Kept for Holding {
    fn bytes(&self) -> u64 {
        self.kept.bytes()
    }

    fn sha256(&self) -> &str {
        self.kept.sha256()
    }

    fn open(&self) -> Box<dyn Read + Send + '_> {
        self.kept.open()
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        self.kept.is_unchanged()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[derive(Debug)]
    struct File;

    impl Kept for File {
        fn bytes(&self) -> u64 {
            3 * MIB
        }

        fn sha256(&self) -> &'static str {
            ""
        }

        fn open(&self) -> Box<dyn Read + Send + '_> {
            Box::new(&[][..])
        }

        fn is_unchanged(&self) -> io::Result<bool> {
            Ok(true)
        }
    }

    /// Blobs of these sizes in MiB; those of one MiB fit memory.
    fn of(sizes: &[u64]) -> impl Iterator<Item = u64> {
        sizes.iter().map(|size| size * MIB)
    }

    #[tokio::test]
    async fn a_study_has_room_for_all_its_files_or_for_none() {
        let budget = SpoolBudget::new(MIB, Some(8 * MIB));
        let one = budget.room_for(of(&[3, 1, 3])).await.expect("room");
        assert!(one.suffices(of(&[2, 4])) && !one.suffices(of(&[7])));
        // Two MiB are left, and are nobody's while the second waits for six.
        let second = budget.room_for(of(&[3, 3]));
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        assert!(budget.room_for(of(&[1, 1])).now_or_never().is_some(), "what fits memory waits for nobody");
        let (first, last) = (one.hold(Body::Kept(Arc::new(File))), one.hold(Body::Kept(Arc::new(File))));
        drop((one, first));
        assert!(second.as_mut().now_or_never().is_none(), "a file is there");
        drop(last);
        assert!(second.now_or_never().expect("no wait").is_ok());
    }

    #[tokio::test]
    async fn more_than_all_the_room_is_refused_in_words() {
        let budget = SpoolBudget::new(MIB, Some(8 * MIB));
        let refused = budget.room_for(of(&[3, 3, 3])).await.expect_err("nine of eight");
        assert_eq!(refused.code, ErrorCode::BlobTooLarge);
        assert!(refused.message.contains("[limits] spool_bytes"), "{refused}");
        assert!(!refused.is_transient());
        budget.room_for(of(&[4, 4])).await.expect("all of it");
        // What lies in a folder takes no room of a spool.
        let own = SpoolBudget::new(MIB, None).room_for(of(&[3, 3, 3])).await.expect("no bound");
        assert!(own.suffices(of(&[1000])));
    }
}
