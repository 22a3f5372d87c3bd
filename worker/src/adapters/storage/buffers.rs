//! Memory for the bytes of blobs that is used again. Of fresh memory the system clears every page when it is first touched, which takes
//! as long as copying a blob into it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nightread_domain::{ErrorCode, JobError, Stage};

/// Kept while nobody needs them: one comes back while the next blob is on its way.
const FREE: usize = 2;

/// Smaller ones are the allocator's business, larger ones go back to the system.
const LEAST: usize = 256 << 10;
const MOST: usize = 16 << 20;

/// Buffers that blobs were read into, free again.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer in use; dropped, it is free again.
struct Lent {
    buffer: Vec<u8>,
    buffers: Buffers,
}

impl Buffers {
    /// One with room for so many bytes, which the caller knows to be within the limits. What it holds is of another blob: to be
    /// cleared, or written over to the last byte.
    ///
    /// # Errors
    /// `memory_refused`: where the system has no memory for it, the worker is short of it, and the blob is not too large.
    pub fn take(&self, bytes: u64) -> Result<Vec<u8>, JobError> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        // A larger one would take more memory than was planned for the blob.
        let most = size.saturating_add(2 << 20);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = free.iter().position(|buffer| (size..=most).contains(&buffer.capacity())) {
            return Ok(free.swap_remove(at));
        }
        drop(free);
        let mut buffer = Vec::new();
        // Room for the next, which may be a little larger. Pages that nobody touches take none.
        let room = if (LEAST..=MOST).contains(&size) { size.next_multiple_of(1 << 20) } else { size };
        buffer.try_reserve_exact(room).map_err(|error| {
            let text = format!("the system gives this worker no memory for the {bytes} bytes of the blob");
            JobError::new(Stage::Fetch, ErrorCode::MemoryRefused, text).with_source(error)
        })?;
        Ok(buffer)
    }

    /// The bytes in a buffer, which is free again when nobody has them any more.
    pub fn lend(&self, buffer: Vec<u8>) -> Bytes {
        if (LEAST..=MOST).contains(&buffer.capacity()) {
            Bytes::from_owner(Lent { buffer, buffers: self.clone() })
        } else {
            buffer.into()
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.buffers.free.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that came back last is likely the right size for what comes next.
        if free.len() == FREE {
            drop(free.remove(0));
        }
        free.push(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::ErrorClass;

    use super::*;

    const MIB: usize = 1 << 20;

    fn full(buffers: &Buffers, bytes: usize, value: u8) -> Bytes {
        let mut buffer = buffers.take(bytes as u64).expect("memory");
        buffer.clear();
        buffer.resize(bytes, value);
        buffers.lend(buffer)
    }

    #[test]
    fn a_buffer_is_used_again_when_nobody_has_its_bytes() {
        let buffers = Buffers::default();
        let first = full(&buffers, 3 * MIB + 1, 1);
        let place = first.as_ptr();
        let part = first.slice(2 * MIB..);
        drop(first);
        let second = full(&buffers, 3 * MIB, 2);
        assert_ne!(second.as_ptr(), place, "somebody has the first still");
        assert!(part.iter().all(|byte| *byte == 1));
        drop(part);
        // A little more than the first had.
        let third = full(&buffers, 3 * MIB + 7, 3);
        assert_eq!((third.as_ptr(), third.len()), (place, 3 * MIB + 7));
        assert!(second.iter().all(|byte| *byte == 2));
    }

    #[test]
    fn few_are_kept_and_none_that_is_small_or_large() {
        let buffers = Buffers::default();
        let many: Vec<_> = (0..5).map(|_| full(&buffers, MIB, 0)).collect();
        drop(many);
        drop(full(&buffers, 1, 0));
        drop(full(&buffers, 20 * MIB, 0));
        assert_eq!(buffers.free.lock().unwrap().iter().map(Vec::capacity).collect::<Vec<_>>(), [MIB; FREE]);
        // One that is far too large would hold more memory than was planned.
        let all: Vec<_> = (0..FREE).map(|_| full(&buffers, 8 * MIB, 0)).collect();
        drop(all);
        assert!(buffers.take(MIB as u64).expect("memory").capacity() < 4 * MIB);
        assert_eq!(buffers.take(8 * MIB as u64).expect("memory").capacity(), 8 * MIB);
    }

    #[test]
    fn a_worker_without_memory_blames_itself_and_no_blob() {
        let error = Buffers::default().take(1 << 60).expect_err("nobody has so much");
        assert_eq!((error.code, error.class), (ErrorCode::MemoryRefused, ErrorClass::Fatal));
        assert!(error.to_string().contains(&(1_u64 << 60).to_string()), "{error}");
    }
}
