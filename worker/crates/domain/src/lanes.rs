//! Who gets the next permit. Pure: no clock, no broker.
//!
//! An arriving picture never waits behind a relabelling or a scan: one permit is never given to bulk or fmri, scans
//! stay out of ingest's share, and while pictures arrive, bulk keeps to its own. When none do, bulk may have the rest.

use std::time::Duration;

use crate::Lane;

/// Pictures that came this lately keep bulk to its share.
pub const INGEST_ACTIVE: Duration = Duration::from_secs(15);

/// Three lanes and the permits they share.
#[derive(Clone, Debug)]
pub struct Lanes {
    permits: usize,
    weights: [u64; 3],
    credit: [i128; 3],
}

impl Lanes {
    /// A weight of 0 counts as 1: no lane is shut off by arithmetic.
    pub fn new(permits: usize, weights: [u64; 3]) -> Self {
        Self { permits: permits.max(1), weights: weights.map(|weight| weight.max(1)), credit: [0; 3] }
    }

    /// The lane to take from: `ready` has something waiting, `in_hand` is what each has out, `ingest_active` says
    /// whether pictures arrived lately. Among those allowed, turns go by weight.
    pub fn next(&mut self, ready: [bool; 3], in_hand: [usize; 3], ingest_active: bool) -> Option<Lane> {
        let allowed =
            Lane::ALL.map(|lane| ready[lane as usize] && self.may_take(lane, in_hand, ingest_active));
        let turn: u64 = (0..3).filter(|lane| allowed[*lane]).map(|lane| self.weights[lane]).sum();
        for lane in 0..3 {
            if allowed[lane] {
                self.credit[lane] += i128::from(self.weights[lane]);
            } else if !ready[lane] {
                // Credit is for waiting, not for being empty: an idle lane must not come back with a claim.
                self.credit[lane] = 0;
            }
        }
        let chosen = Lane::ALL
            .into_iter()
            .filter(|lane| allowed[*lane as usize])
            .max_by_key(|lane| (self.credit[*lane as usize], std::cmp::Reverse(*lane as usize)))?;
        self.credit[chosen as usize] -= i128::from(turn);
        Some(chosen)
    }

    /// How many messages a lane may have unsettled at the broker.
    pub fn prefetch(&self, lane: Lane) -> u16 {
        let most = match lane {
            Lane::Ingest | Lane::Bulk => self.permits,
            Lane::Fmri => self.outside_ingest(),
        };
        u16::try_from(most).unwrap_or(u16::MAX)
    }

    fn may_take(&self, lane: Lane, in_hand: [usize; 3], ingest_active: bool) -> bool {
        let background = in_hand[Lane::Bulk as usize] + in_hand[Lane::Fmri as usize];
        // With a single permit there is none to keep free.
        let background_fits = background + 1 < self.permits || (self.permits == 1 && background == 0);
        match lane {
            Lane::Ingest => true,
            Lane::Fmri => background_fits && in_hand[lane as usize] < self.outside_ingest(),
            Lane::Bulk if ingest_active => background_fits && in_hand[lane as usize] < self.share(lane),
            Lane::Bulk => background_fits,
        }
    }

    fn share(&self, lane: Lane) -> usize {
        let total: u128 = self.weights.iter().copied().map(u128::from).sum();
        let share = self.permits as u128 * u128::from(self.weights[lane as usize]) / total.max(1);
        usize::try_from(share).unwrap_or(self.permits).max(1)
    }

    fn outside_ingest(&self) -> usize {
        self.permits.saturating_sub(self.share(Lane::Ingest)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn with_every_lane_full_turns_go_by_weight() {
        let mut lanes = Lanes::new(100, [6, 3, 1]);
        let mut taken = [0; 3];
        for _ in 0..1_000 {
            let lane = lanes.next([true; 3], [0; 3], true).expect("all are ready");
            taken[lane as usize] += 1;
        }
        assert_eq!(taken, [600, 300, 100]);
    }

    #[test]
    fn bulk_takes_what_nobody_wants_but_leaves_one_permit() {
        let mut lanes = Lanes::new(8, [6, 3, 1]);
        let mut in_hand = [0; 3];
        while let Some(lane) = lanes.next([false, true, false], in_hand, false) {
            in_hand[lane as usize] += 1;
        }
        assert_eq!(in_hand, [0, 7, 0]);
        in_hand = [0; 3];
        while let Some(lane) = lanes.next([false, true, true], in_hand, true) {
            in_hand[lane as usize] += 1;
        }
        assert_eq!(in_hand, [0, 2, 4], "shares of 8 by 6:3:1, scans up to what ingest leaves");
    }

    #[test]
    fn a_worker_with_one_permit_still_serves_every_lane() {
        for lane in Lane::ALL {
            let mut lanes = Lanes::new(1, [6, 3, 1]);
            let mut ready = [false; 3];
            ready[lane as usize] = true;
            assert_eq!(lanes.next(ready, [0; 3], true), Some(lane));
        }
    }

    proptest! {
        #[test]
        fn ingest_is_never_kept_waiting_and_bulk_and_fmri_never_fill_the_worker(
            permits in 1_usize..40,
            weights in prop::array::uniform3(0_u64..10),
            steps in prop::collection::vec((any::<[bool; 3]>(), any::<bool>(), 0_usize..3), 1..300),
        ) {
            let mut lanes = Lanes::new(permits, weights);
            let mut in_hand = [0_usize; 3];
            let mut ingest_waits = 0;
            for (ready, active, ends) in steps {
                if in_hand.iter().sum::<usize>() < permits {
                    let chosen = lanes.next(ready, in_hand, active);
                    if let Some(lane) = chosen {
                        prop_assert!(ready[lane as usize]);
                        in_hand[lane as usize] += 1;
                    }
                    prop_assert!(!ready[0] || chosen.is_some(), "a waiting picture and a free permit");
                    ingest_waits = if ready[0] && chosen != Some(Lane::Ingest) { ingest_waits + 1 } else { 0 };
                    let rounds = weights.iter().map(|weight| weight.max(&1)).sum::<u64>();
                    prop_assert!(ingest_waits <= rounds, "a turn comes within one round");
                }
                prop_assert!(permits == 1 || in_hand[1] + in_hand[2] < permits);
                in_hand[ends] = in_hand[ends].saturating_sub(1);
            }
        }
    }
}
