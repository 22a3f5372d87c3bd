//! Bytes in flight, and their bound.

use nightread_domain::{ErrorCode, JobError, Stage};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Granularity of the permits, so that terabytes fit the semaphore's counter.
const PERMIT_BYTES: u64 = 4096;

/// So many bytes may be in flight at a time.
#[derive(Debug)]
pub struct ByteBudget {
    permits: u64,
    free: Semaphore,
}

impl ByteBudget {
    pub fn new(bytes: u64) -> Self {
        let permits = (bytes / PERMIT_BYTES).clamp(1, u64::from(u32::MAX >> 3));
        Self { permits, free: Semaphore::new(permits as usize) }
    }

    /// Room for so many bytes, taken before they come. More than all the room takes all of it.
    ///
    /// # Errors
    /// `shutting_down` when the worker is closing.
    pub async fn room_for(&self, bytes: u64) -> Result<SemaphorePermit<'_>, JobError> {
        let wanted = bytes.div_ceil(PERMIT_BYTES).clamp(1, self.permits) as u32;
        self.free
            .acquire_many(wanted)
            .await
            .map_err(|_| JobError::new(Stage::Fetch, ErrorCode::ShuttingDown, "the worker is closing"))
    }
}
