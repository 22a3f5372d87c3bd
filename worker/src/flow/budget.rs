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
    pub async fn room_for(&self, bytes: u64) -> Result<Room<'_>, JobError> {
        Ok(Room { budget: self, held: Some(self.permits_for(bytes).await?) })
    }

    /// Room for a study that may not take less than it needs.
    ///
    /// # Errors
    /// `exceeds_memory` where all the room there is does not suffice; as [`ByteBudget::room_for`].
    pub async fn whole_room_for(&self, bytes: u64) -> Result<Room<'_>, JobError> {
        self.holds(bytes)?;
        self.room_for(bytes).await
    }

    /// Whether there is so much room at all, free or not.
    ///
    /// # Errors
    /// `exceeds_memory` where there is not.
    pub fn holds(&self, bytes: u64) -> Result<(), JobError> {
        let all = self.permits * PERMIT_BYTES;
        if bytes > all {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let text = format!(
                "the study needs {} MiB of memory, by its headers; {} MiB are allowed ([limits] volume_bytes)",
                mib(bytes),
                mib(all)
            );
            return Err(JobError::new(Stage::Decode, ErrorCode::ExceedsMemory, text));
        }
        Ok(())
    }

    async fn permits_for(&self, bytes: u64) -> Result<SemaphorePermit<'_>, JobError> {
        let wanted = bytes.div_ceil(PERMIT_BYTES).clamp(1, self.permits) as u32;
        self.free
            .acquire_many(wanted)
            .await
            .map_err(|_| JobError::new(Stage::Fetch, ErrorCode::ShuttingDown, "the worker is closing"))
    }
}

/// Room that a study has. Dropped, it is free again.
#[derive(Debug)]
pub struct Room<'b> {
    budget: &'b ByteBudget,
    held: Option<SemaphorePermit<'b>>,
}

impl Room<'_> {
    /// Gives back what is more than room for so many bytes.
    pub fn lower(&mut self, bytes: u64) {
        let needed = bytes.div_ceil(PERMIT_BYTES).max(1);
        if let Some(held) = &mut self.held {
            let more = (held.num_permits() as u64).saturating_sub(needed);
            drop(held.split(more as usize));
        }
    }

    /// Takes room for so many bytes instead, in all. Whoever waits for room holds none: two studies that both waited for more
    /// would wait for each other.
    ///
    /// # Errors
    /// As [`ByteBudget::room_for`].
    pub async fn exchange(&mut self, bytes: u64) -> Result<(), JobError> {
        self.held = None;
        self.held = Some(self.budget.permits_for(bytes).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_more_room_holds_none() {
        let budget = ByteBudget::new(10 * PERMIT_BYTES);
        let mut one = budget.room_for(6 * PERMIT_BYTES).await.expect("room");
        let mut other = budget.room_for(4 * PERMIT_BYTES).await.expect("room");
        // Together they ask for more than there is: in turn both get it.
        let (first, second) = tokio::join!(
            async {
                one.exchange(9 * PERMIT_BYTES).await.expect("room");
                drop(one);
            },
            async {
                other.exchange(10 * PERMIT_BYTES).await.expect("room");
                drop(other);
            }
        );
        assert_eq!((first, second, budget.free.available_permits()), ((), (), 10));
        let refused = budget.whole_room_for(10 * PERMIT_BYTES + 1).await.expect_err("more than all");
        assert_eq!(refused.code, ErrorCode::ExceedsMemory);
        let mut third = budget.whole_room_for(10 * PERMIT_BYTES).await.expect("all of it");
        third.exchange(11 * PERMIT_BYTES).await.expect("all of it");
        third.lower(20 * PERMIT_BYTES);
        assert_eq!(budget.free.available_permits(), 0, "no more than was held");
        third.lower(3 * PERMIT_BYTES + 1);
        assert_eq!(budget.free.available_permits(), 6);
        drop(third);
        assert_eq!(budget.free.available_permits(), 10);
    }
}
