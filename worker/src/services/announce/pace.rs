//! How fast: by a rate, by what the queue already holds, and by what the broker refuses.

use std::time::Duration;

use tokio::time::Instant;

/// A refusal is followed by pauses that grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Between two looks at a queue that is full.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at a queue that is nearly full.
const LOOK_SOON: Duration = Duration::from_millis(100);

/// Says when the next announcement may go.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Option<Duration>,
    next_by_rate: Instant,
    max_backlog: u64,
    /// Announcements that still fit under `max_backlog`, as far as the last look tells.
    room: u64,
    next_look: Instant,
    refused_until: Option<Instant>,
    pause: Duration,
    /// Nothing was confirmed since the last refusal: one at a time, as a question.
    doubtful: bool,
}

impl Pace {
    pub fn new(rate: Option<u64>, max_backlog: u64) -> Self {
        let now = Instant::now();
        Self {
            interval: rate.map(|rate| Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX)),
            next_by_rate: now,
            max_backlog,
            room: 0,
            next_look: now,
            refused_until: None,
            pause: FIRST_PAUSE,
            doubtful: false,
        }
    }

    /// Takes a turn, if it is time.
    pub fn may_send(&mut self) -> bool {
        let now = Instant::now();
        if self.room == 0 || self.refused_until.is_some_and(|until| now < until) {
            return false;
        }
        if let Some(interval) = self.interval {
            if now < self.next_by_rate {
                return false;
            }
            // A tenth of a second may be made up for, so that the timer's grain costs nothing.
            let earliest = now.checked_sub(Duration::from_millis(100)).unwrap_or(now);
            self.next_by_rate = self.next_by_rate.max(earliest) + interval;
        }
        self.room -= 1;
        true
    }

    /// When to try again; `None` while the answer to a look is awaited.
    pub fn next_turn(&self) -> Option<Instant> {
        if self.room == 0 {
            return (Instant::now() < self.next_look).then_some(self.next_look);
        }
        let by_rate = self.interval.map(|_| self.next_by_rate);
        self.refused_until.max(by_rate)
    }

    pub fn window(&self, usual: usize) -> usize {
        if self.doubtful { 1 } else { usual }
    }

    pub fn ask_now(&mut self) {
        self.room = 0;
        self.next_look = Instant::now();
    }

    /// Whether it is time to look at the queue.
    pub fn wants_depth(&self) -> bool {
        self.room == 0 && Instant::now() >= self.next_look
    }

    /// The queue holds `depth`, and `on_their_way` are not confirmed. `false` when there is no room.
    pub fn depth(&mut self, depth: u64, on_their_way: u64) -> bool {
        self.room = self.max_backlog.saturating_sub(depth.saturating_add(on_their_way));
        let full = self.room == 0 && depth >= self.max_backlog;
        self.next_look = Instant::now() + if full { LOOK_AGAIN } else { LOOK_SOON };
        !full
    }

    pub fn confirmed(&mut self) {
        if self.refused_until.is_none_or(|until| Instant::now() >= until) {
            self.refused_until = None;
            self.pause = FIRST_PAUSE;
            self.doubtful = false;
        }
    }

    pub fn refused(&mut self) {
        self.doubtful = true;
        let now = Instant::now();
        // What was sent together is refused together, and counts once.
        if self.refused_until.is_none_or(|until| now >= until) {
            self.refused_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_backlog_allows() {
        let mut pace = Pace::new(None, 100);
        assert!(!pace.may_send(), "nothing goes before the first look");
        assert!(pace.wants_depth() && pace.depth(90, 7));
        assert_eq!((0..10).filter(|_| pace.may_send()).count(), 3);
        assert!(!pace.wants_depth(), "not in a row");
        tokio::time::advance(LOOK_SOON).await;
        assert!(pace.wants_depth() && !pace.depth(120, 0) && !pace.may_send());
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(pace.depth(0, 0) && pace.may_send());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_over_a_second() {
        let mut pace = Pace::new(Some(50), 1_000_000);
        pace.depth(0, 0);
        let mut sent = 0;
        for _ in 0..1_000 {
            while pace.may_send() {
                sent += 1;
            }
            tokio::time::advance(Duration::from_millis(7)).await;
        }
        assert!((345..=356).contains(&sent), "{sent} in seven seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_pause_longer_and_longer_and_end_with_a_confirmation() {
        let mut pace = Pace::new(None, 1_000);
        pace.depth(0, 0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert!(pace.may_send());
            pace.refused();
            pace.refused();
            assert!(!pace.may_send());
            assert_eq!(pace.window(2_000), 1);
            let until = pace.next_turn().expect("a time");
            waits.push((until - Instant::now()).as_millis());
            tokio::time::sleep_until(until).await;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        pace.confirmed();
        assert_eq!(pace.window(2_000), 2_000);
        assert!(pace.may_send());
    }
}
