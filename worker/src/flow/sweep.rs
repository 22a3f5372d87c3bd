//! How far a volume is, for whoever watches a terminal.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Patches of the volume in turn that the network went over, of how many. One number, so that both are of the same volume.
#[derive(Debug, Default)]
pub struct SweepProgress(AtomicU64);

impl SweepProgress {
    /// `done` of `all` patches; all of them: no volume is in turn.
    pub fn set(&self, done: u32, all: u32) {
        let both = if done < all { u64::from(done) << 32 | u64::from(all) } else { 0 };
        self.0.store(both, Ordering::Relaxed);
    }

    /// The volume is left, read or not.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<(u32, u32)> {
        let both = self.0.load(Ordering::Relaxed);
        (both > 0).then_some(((both >> 32) as u32, both as u32))
    }
}

/// Nothing where no volume is in turn.
impl fmt::Display for SweepProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some((done, all)) => write!(f, "a volume: patch {} of {all}", done + 1),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_volume_in_turn_is_told() {
        let progress = SweepProgress::default();
        assert_eq!(progress.to_string(), "");
        progress.set(0, 48);
        assert_eq!(progress.to_string(), "a volume: patch 1 of 48");
        progress.set(47, 48);
        assert_eq!(progress.to_string(), "a volume: patch 48 of 48");
        progress.set(48, 48);
        assert_eq!(progress.to_string(), "");
        progress.set(1, 2);
        progress.clear();
        assert_eq!(progress.to_string(), "");
    }
}
