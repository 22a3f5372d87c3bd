//! How long volumes may take, so that no delivery outlasts the patience of its broker.

use std::time::{Duration, Instant};

use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};

/// A delivery that waits is settled again after at least so long.
const SOON: Duration = Duration::from_secs(5);

/// What a broker's patience with one delivery leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneTime {
    /// For one network's way over one study.
    pub network: Duration,
    /// For the delivery from its arrival on: waiting, fetching, decoding, and all networks.
    pub delivery: Duration,
}

impl LaneTime {
    /// `patience`: how long the broker lets a delivery be unacknowledged. A tenth of it is left for storing and settling.
    pub fn within(patience: Duration) -> Self {
        Self { network: patience / 2, delivery: patience / 10 * 9 }
    }
}

/// A delivery's time: whose settlement nobody waits for has as much as it likes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When the delivery came, and what it has from then on.
    limit: Option<(Instant, LaneTime)>,
    /// A network before this one was given up, and what it took would be taken again.
    pub gave_up: bool,
}

impl Clock {
    pub fn new(arrived: Option<Instant>, time: Option<LaneTime>) -> Self {
        Self { limit: arrived.zip(time), gave_up: false }
    }

    /// Whether a study whose next network takes `seconds` may wait for studies that take `ahead` seconds. One with nothing before it
    /// may always begin: what it takes is known when it has begun.
    ///
    /// # Errors
    /// `lane_time_spent`.
    pub fn may_wait(&self, ahead: f64, seconds: f64) -> Result<(), JobError> {
        let Some((arrived, time)) = self.limit else { return Ok(()) };
        admitted(time, arrived.elapsed(), duration(ahead), duration(seconds))
    }

    /// The turn of a network that begins now. `own`: what the study took in this delivery without waiting for others.
    pub fn turn(&self, own: Duration) -> Turn {
        let limit = self.limit.map(|(arrived, time)| (arrived.elapsed(), time));
        Turn { limit, own, gave_up: self.gave_up }
    }
}

/// As many seconds as an estimate says, and never so many that sums of them overflow.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, f64::from(u32::MAX))).unwrap_or_default()
}

fn admitted(time: LaneTime, held: Duration, ahead: Duration, own: Duration) -> Result<(), JobError> {
    // The first patch, by which both are reckoned, is the slowest: what takes longer than it may is given up when it runs.
    let (ahead, own) = (ahead.min(time.delivery), own.min(time.network));
    let ends = held + ahead + own;
    if ahead.is_zero() || ends <= time.delivery {
        return Ok(());
    }
    let text = format!(
        "volumes before it take {} s more and the study {} s; with {} s that it was in hand that is more than the {} s of a delivery (nine tenths of the consumer timeout of the lane volumes)",
        ahead.as_secs(),
        own.as_secs(),
        held.as_secs(),
        time.delivery.as_secs()
    );
    Err(waits(text).with_retry_after(ends.saturating_sub(time.delivery).max(SOON)))
}

fn waits(text: String) -> JobError {
    JobError::new(Stage::Infer, ErrorCode::LaneTimeSpent, text)
}

/// One network's way over a study.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// How long the delivery was here when the turn began, and what it has.
    limit: Option<(Duration, LaneTime)>,
    own: Duration,
    gave_up: bool,
}

impl Turn {
    /// A study that would outlast its delivery is given up while it can still be told why. `elapsed`: since the turn began; `left`:
    /// what the rest will take.
    ///
    /// # Errors
    /// `exceeds_lane_time` where the study takes too long by itself; `lane_time_spent` where others took its time.
    pub fn check(&self, elapsed: Duration, left: Duration) -> Result<(), JobError> {
        let Some((before, LaneTime { network, delivery })) = self.limit else { return Ok(()) };
        // One slow patch at the start says nothing of the rest: a tenth of the time is gone before anything is concluded.
        let all = if elapsed > network / 10 { elapsed + left } else { elapsed };
        let too_long = |text: String| JobError::new(Stage::Infer, ErrorCode::ExceedsLaneTime, text);
        if all > network {
            return Err(too_long(format!(
                "the network would take {} s for the study on this machine, and may take {} s (half of the consumer timeout of the lane volumes)",
                all.as_secs(),
                network.as_secs()
            )));
        }
        if before + all <= delivery {
            return Ok(());
        }
        if self.own + all > delivery {
            return Err(too_long(format!(
                "the study would take {} s on this machine, {} s of them to be fetched and decoded, and a delivery may take {} s (nine tenths of the consumer timeout of the lane volumes)",
                (self.own + all).as_secs(),
                self.own.as_secs(),
                delivery.as_secs()
            )));
        }
        let text = format!(
            "the delivery is {} s old and the study takes {} s more, where it may take {} s in all (nine tenths of the consumer timeout of the lane volumes)",
            (before + elapsed).as_secs(),
            all.saturating_sub(elapsed).as_secs(),
            delivery.as_secs()
        );
        if self.gave_up {
            // As it is, that would be so each time: the attempt that this costs changes the order of the networks.
            return Err(too_long(text).with_class(ErrorClass::Transient));
        }
        Err(waits(text).with_retry_after(SOON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(count: u64) -> Duration {
        Duration::from_mins(count)
    }

    fn usual() -> LaneTime {
        LaneTime::within(minutes(30))
    }

    fn turn(before: Duration, own: Duration) -> Turn {
        Turn { limit: Some((before, usual())), own, gave_up: false }
    }

    fn told(result: Result<(), JobError>) -> Option<(ErrorCode, ErrorClass)> {
        result.err().map(|error| (error.code, error.class))
    }

    const TOO_LONG: Option<(ErrorCode, ErrorClass)> =
        Some((ErrorCode::ExceedsLaneTime, ErrorClass::Permanent));
    const WAITS: Option<(ErrorCode, ErrorClass)> = Some((ErrorCode::LaneTimeSpent, ErrorClass::Transient));

    #[test]
    fn what_others_took_is_no_fault_of_the_study() {
        // Ten minutes each: two in one delivery, and the third in another.
        for (before, expected) in [(1, None), (11, None), (21, WAITS), (27, WAITS)] {
            let second = turn(minutes(before), minutes(1)).check(minutes(2), minutes(8));
            assert_eq!(told(second), expected, "after {before} minutes");
        }
        let alone = turn(minutes(1), minutes(1)).check(minutes(2), minutes(14));
        assert_eq!(told(alone.clone()), TOO_LONG);
        let words = alone.expect_err("too long").message;
        assert!(words.contains("would take 960 s") && words.contains("may take 900 s"), "{words}");
        let late = turn(minutes(20), minutes(1)).check(minutes(2), minutes(14)).expect_err("too long");
        assert_eq!((late.code, late.message), (ErrorCode::ExceedsLaneTime, words), "of its own time alone");
    }

    #[test]
    fn one_slow_patch_says_nothing_and_a_time_that_is_over_is() {
        let begins = turn(minutes(1), minutes(1));
        assert_eq!(told(begins.check(minutes(1), minutes(500))), None);
        assert_eq!(told(begins.check(minutes(2), minutes(500))), TOO_LONG);
        let late = turn(minutes(26), minutes(1));
        assert_eq!(told(late.check(Duration::from_secs(10), minutes(500))), None);
        assert_eq!(told(late.check(minutes(1) + Duration::from_secs(1), Duration::from_secs(1))), WAITS);
    }

    #[test]
    fn what_would_be_so_each_time_does_not_wait_for_ever() {
        // Fetching alone takes so long.
        assert_eq!(told(turn(minutes(20), minutes(20)).check(minutes(2), minutes(8))), TOO_LONG);
        // A network that is given up each time: the next attempt has another order.
        let after = Turn { gave_up: true, ..turn(minutes(20), minutes(1)) };
        let error = after.check(minutes(2), minutes(8)).expect_err("no time");
        assert_eq!((error.code, error.class), (ErrorCode::ExceedsLaneTime, ErrorClass::Transient));
        // Nobody waits for it.
        let free = Clock::new(None, Some(usual())).turn(Duration::ZERO);
        assert_eq!(told(free.check(minutes(500), minutes(500))), None);
        assert_eq!(told(Clock::new(None, Some(usual())).may_wait(1e9, 1e9)), None);
        assert_eq!(told(Clock::new(Some(Instant::now()), None).may_wait(1e9, 1e9)), None);
    }

    #[test]
    fn a_study_waits_elsewhere_for_what_is_before_it_where_its_delivery_would_not_last() {
        let ends = |held, ahead, own| admitted(usual(), minutes(held), minutes(ahead), minutes(own));
        assert_eq!(told(ends(0, 10, 10)), None);
        assert_eq!(told(ends(0, 14, 14)), WAITS);
        assert_eq!(told(ends(8, 10, 10)), WAITS, "what it waited counts from its arrival on");
        assert_eq!(told(ends(26, 0, 14)), None, "nothing is before it");
        assert_eq!(
            told(ends(0, 12, 500)),
            None,
            "an estimate by the slowest patch keeps nothing out for ever"
        );
        let wait = ends(0, 20, 10).expect_err("it waits").retry_after;
        assert_eq!(wait, Some(minutes(3)));
        let wait = ends(0, 5_000, 1).expect_err("it waits").retry_after;
        assert_eq!(
            wait,
            Some(minutes(1)),
            "what is before it is not in hand for longer than a delivery may be"
        );
        let now = Clock::new(Some(Instant::now()), Some(usual()));
        assert_eq!(told(now.may_wait(f64::INFINITY, 60.0)), WAITS);
        assert_eq!(told(now.may_wait(60.0, f64::NAN)), None);
        assert_eq!(told(now.may_wait(0.0, f64::MAX)), None);
    }
}
