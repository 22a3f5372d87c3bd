//! Who gets the next permit. Pure: no clock, no broker.
//!
//! An arriving image never waits behind a relabelling or a scan: one permit is never given to bulk or volumes, volumes
//! stay out of ingest's share, and while images arrive, bulk keeps to its own. When none do, bulk may have the rest.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Lane, PerLane};

/// Images that came this lately keep bulk to its share.
pub const INGEST_ACTIVE: Duration = Duration::from_secs(15);

/// A worker's permits, and how the lanes share them.
#[derive(Clone, Debug)]
pub struct PermitShares {
    permits: usize,
    weights: PerLane<u64>,
    most_volumes: usize,
    credit: PerLane<i128>,
}

impl PermitShares {
    /// A weight of 0 counts as 1: no lane is shut off by arithmetic.
    pub fn new(permits: usize, weights: PerLane<u64>) -> Self {
        Self {
            permits: permits.max(1),
            weights: weights.map(|weight| weight.max(1)),
            most_volumes: usize::MAX,
            credit: PerLane::default(),
        }
    }

    /// No more volumes in hand than this, whatever the shares allow; at least one.
    #[must_use]
    pub fn with_volumes(self, most: usize) -> Self {
        Self { most_volumes: most.max(1), ..self }
    }

    /// The lane to take from: `ready` has something waiting, `in_flight` is what each has out, `ingest_active` says
    /// whether images arrived lately. Among those allowed, turns go by weight.
    pub fn next(
        &mut self,
        ready: PerLane<bool>,
        in_flight: PerLane<usize>,
        ingest_active: bool,
    ) -> Option<Lane> {
        let allowed = PerLane::from_fn(|lane| ready[lane] && self.may_take(lane, in_flight, ingest_active));
        let turn: u64 =
            Lane::ALL.into_iter().filter(|lane| allowed[*lane]).map(|lane| self.weights[lane]).sum();
        for lane in Lane::ALL {
            if allowed[lane] {
                self.credit[lane] += i128::from(self.weights[lane]);
            } else if !ready[lane] {
                // Credit is for waiting, not for being empty: an idle lane must not come back with a claim.
                self.credit[lane] = 0;
            }
        }
        let chosen = Lane::ALL
            .into_iter()
            .filter(|lane| allowed[*lane])
            .max_by_key(|lane| (self.credit[*lane], Reverse(*lane)))?;
        self.credit[chosen] -= i128::from(turn);
        Some(chosen)
    }

    /// How many messages a lane may have unsettled at the broker.
    pub fn prefetch(&self, lane: Lane) -> u16 {
        let most = match lane {
            Lane::Ingest | Lane::Bulk => self.permits,
            Lane::Volumes => self.volumes(),
        };
        u16::try_from(most).unwrap_or(u16::MAX)
    }

    fn may_take(&self, lane: Lane, in_flight: PerLane<usize>, ingest_active: bool) -> bool {
        let background = in_flight.bulk + in_flight.volumes;
        // With a single permit there is none to keep free.
        let background_fits = background + 1 < self.permits || (self.permits == 1 && background == 0);
        match lane {
            Lane::Ingest => true,
            Lane::Volumes => background_fits && in_flight.volumes < self.volumes(),
            Lane::Bulk if ingest_active => background_fits && in_flight.bulk < self.share(lane),
            Lane::Bulk => background_fits,
        }
    }

    fn share(&self, lane: Lane) -> usize {
        let total: u128 = self.weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let share = self.permits as u128 * u128::from(self.weights[lane]) / total.max(1);
        usize::try_from(share).unwrap_or(self.permits).max(1)
    }

    /// What ingest leaves.
    fn volumes(&self) -> usize {
        self.permits.saturating_sub(self.share(Lane::Ingest)).clamp(1, self.most_volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEIGHTS: PerLane<u64> = PerLane { ingest: 6, bulk: 3, volumes: 1 };

    fn each<T: Clone>(value: T) -> PerLane<T> {
        PerLane::from_fn(|_| value.clone())
    }

    #[test]
    fn with_every_lane_full_turns_go_by_weight() {
        let mut shares = PermitShares::new(100, WEIGHTS);
        let mut taken = each(0);
        for _ in 0..1_000 {
            let lane = shares.next(each(true), each(0), true).expect("all are ready");
            taken[lane] += 1;
        }
        assert_eq!(taken, PerLane { ingest: 600, bulk: 300, volumes: 100 });
    }

    #[test]
    fn bulk_takes_what_nobody_wants_but_leaves_one_permit() {
        let mut shares = PermitShares::new(8, WEIGHTS);
        let mut in_flight = each(0);
        let mut ready = PerLane { ingest: false, bulk: true, volumes: false };
        while let Some(lane) = shares.next(ready, in_flight, false) {
            in_flight[lane] += 1;
        }
        assert_eq!(in_flight, PerLane { ingest: 0, bulk: 7, volumes: 0 });
        in_flight = each(0);
        ready.volumes = true;
        while let Some(lane) = shares.next(ready, in_flight, true) {
            in_flight[lane] += 1;
        }
        let expected = PerLane { ingest: 0, bulk: 2, volumes: 4 };
        assert_eq!(in_flight, expected, "shares of 8 by 6:3:1, volumes up to what ingest leaves");
    }

    #[test]
    fn no_more_volumes_are_taken_or_asked_for_than_may_be_in_hand() {
        let mut shares = PermitShares::new(32, WEIGHTS);
        assert_eq!(shares.prefetch(Lane::Volumes), 13, "what ingest leaves");
        shares = shares.with_volumes(2);
        assert_eq!(Lane::ALL.map(|lane| shares.prefetch(lane)), [32, 32, 2]);
        let mut in_flight = each(0);
        let ready = PerLane { ingest: false, bulk: false, volumes: true };
        while let Some(lane) = shares.next(ready, in_flight, false) {
            in_flight[lane] += 1;
        }
        assert_eq!(in_flight, PerLane { ingest: 0, bulk: 0, volumes: 2 });
        let few = PermitShares::new(2, WEIGHTS).with_volumes(5);
        assert_eq!(few.prefetch(Lane::Volumes), 1, "never more than the shares allow");
        assert_eq!(PermitShares::new(32, WEIGHTS).with_volumes(0).prefetch(Lane::Volumes), 1);
    }

    #[test]
    fn a_worker_with_one_permit_still_serves_every_lane() {
        for lane in Lane::ALL {
            let mut shares = PermitShares::new(1, WEIGHTS);
            let mut ready = each(false);
            ready[lane] = true;
            assert_eq!(shares.next(ready, each(0), true), Some(lane));
        }
    }

    proptest! {
        #[test]
        fn ingest_is_never_kept_waiting_and_bulk_and_volumes_never_fill_the_worker(
            permits in 1_usize..40,
            weights in prop::array::uniform3(0_u64..10),
            most_volumes in prop::sample::select(&[1, 2, usize::MAX]),
            steps in prop::collection::vec(
                (any::<[bool; 3]>(), any::<bool>(), prop::sample::select(&Lane::ALL)),
                1..300,
            ),
        ) {
            let mut shares = PermitShares::new(permits, weights.into()).with_volumes(most_volumes);
            let mut in_flight = each(0_usize);
            let mut ingest_waits = 0;
            for (ready, active, ends) in steps {
                let ready = PerLane::from(ready);
                if in_flight.iter().map(|(_, count)| count).sum::<usize>() < permits {
                    let chosen = shares.next(ready, in_flight, active);
                    if let Some(lane) = chosen {
                        prop_assert!(ready[lane]);
                        in_flight[lane] += 1;
                    }
                    prop_assert!(!ready.ingest || chosen.is_some(), "a waiting image and a free permit");
                    ingest_waits =
                        if ready.ingest && chosen != Some(Lane::Ingest) { ingest_waits + 1 } else { 0 };
                    let rounds = weights.iter().map(|weight| weight.max(&1)).sum::<u64>();
                    prop_assert!(ingest_waits <= rounds, "a turn comes within one round");
                }
                prop_assert!(permits == 1 || in_flight.bulk + in_flight.volumes < permits);
                prop_assert!(in_flight.volumes <= usize::from(shares.prefetch(Lane::Volumes)));
                in_flight[ends] = in_flight[ends].saturating_sub(1);
            }
        }
    }
}
