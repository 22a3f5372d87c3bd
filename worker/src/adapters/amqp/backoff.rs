//! The pauses between two tries to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);

/// A session that held for so long was a sound one: the next try to connect is an early one again.
const SOUND_SESSION: Duration = Duration::from_secs(30);

/// How long is waited at most before the next try.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub fn new(longest: Duration) -> Self {
        Self { next: FIRST, longest }
    }

    /// After a session that consumed for so long, or after none. One that did not hold is no sign that the next will.
    pub fn after(&mut self, held: Option<Duration>) -> Duration {
        if held.is_some_and(|held| held >= SOUND_SESSION) {
            self.next = FIRST;
        }
        let wait = self.next.min(self.longest);
        self.next = (wait * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_also_after_sessions_that_did_not_hold_and_begin_anew_after_one_that_did() {
        let longest = Duration::from_secs(15);
        let short = Some(Duration::from_millis(29_999));
        for held in [None, Some(Duration::ZERO), short] {
            let mut backoff = Backoff::new(longest);
            let pauses: Vec<_> = (0..9).map(|_| backoff.after(held).as_millis()).collect();
            assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000], "{held:?}");
            assert_eq!(backoff.after(Some(SOUND_SESSION)), FIRST);
            assert_eq!(backoff.after(held), FIRST * 2);
        }
    }
}
