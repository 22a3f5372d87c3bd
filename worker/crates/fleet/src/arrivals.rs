//! When jobs arrive.

use std::time::Duration;

use nightread_domain::Lane;
use rand::rngs::StdRng;

use super::service::{exponential, seconds};

const HOUR: Duration = Duration::from_hours(1);

/// One source of jobs. Times are those since the simulation began.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// `count` jobs at once.
    Bulk { lane: Lane, count: usize, at: Duration },
    /// A Poisson process whose rate, in jobs an hour, depends on the hour of the day.
    Hourly { lane: Lane, rates: [f64; 24] },
    /// What was recorded.
    Trace(Vec<Arrival>),
}

/// One job that arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    pub at: Duration,
    pub lane: Lane,
    /// Time of one slot that it takes, where that is known; otherwise drawn from the lane's.
    pub work: Option<Duration>,
}

impl Arrivals {
    /// Every arrival before `end`; the simulation begins at this time of day.
    pub(super) fn draw(&self, time_of_day: Duration, end: Duration, random: &mut StdRng) -> Vec<Arrival> {
        match self {
            Self::Bulk { lane, count, at } if *at < end => {
                vec![Arrival { at: *at, lane: *lane, work: None }; *count]
            }
            Self::Bulk { .. } => Vec::new(),
            Self::Hourly { lane, rates } => {
                let times = poisson(rates, time_of_day, end, random).into_iter();
                times.map(|at| Arrival { at, lane: *lane, work: None }).collect()
            }
            Self::Trace(arrivals) => arrivals.iter().copied().filter(|arrival| arrival.at < end).collect(),
        }
    }

    /// Jobs of this lane whose work must be drawn.
    pub fn draws_work_of(&self, wanted: Lane) -> bool {
        match self {
            Self::Bulk { lane, .. } | Self::Hourly { lane, .. } => *lane == wanted,
            Self::Trace(arrivals) => {
                arrivals.iter().any(|arrival| arrival.lane == wanted && arrival.work.is_none())
            }
        }
    }
}

/// Exact for rates that are constant within each hour: unit exponentials are spent on the integral of the rate.
fn poisson(
    rates: &[f64; 24],
    time_of_day: Duration,
    end: Duration,
    random: &mut impl rand::Rng,
) -> Vec<Duration> {
    let mut arrivals = Vec::new();
    let (mut now, mut left) = (Duration::ZERO, exponential(random));
    while now < end {
        let clock = time_of_day + now;
        let rate = rates[(clock.as_secs() / 3600 % 24) as usize] / 3600.0;
        let until_next = HOUR.saturating_sub(Duration::from_nanos(
            u64::try_from(clock.as_nanos() % HOUR.as_nanos()).unwrap_or_default(),
        ));
        let inside = rate * until_next.as_secs_f64();
        if left >= inside {
            left -= inside;
            now += until_next;
            continue;
        }
        now += seconds(left / rate);
        if now < end {
            arrivals.push(now);
        }
        left = exponential(random);
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn rates_hold_in_their_hours() {
        let mut rates = [0.0; 24];
        (rates[1], rates[2], rates[23]) = (1_000.0, 4_000.0, 2_000.0);
        let source = Arrivals::Hourly { lane: Lane::Ingest, rates };
        let events = source.draw(HOUR * 23, HOUR * 24 * 10, &mut StdRng::seed_from_u64(3));
        let mut by_hour = [0_usize; 24];
        for Arrival { at, .. } in &events {
            by_hour[((at.as_secs() / 3600 + 23) % 24) as usize] += 1;
        }
        for (hour, rate) in rates.into_iter().enumerate() {
            let expected = rate * 10.0;
            // Five standard deviations of a Poisson count.
            assert!(
                (by_hour[hour] as f64 - expected).abs() <= 5.0 * expected.sqrt(),
                "hour {hour}: {by_hour:?}"
            );
        }
        assert!(events.is_sorted_by_key(|arrival| arrival.at));
    }
}
