//! Tells an outage from a bad blob. Pure: the caller brings the events and acts on the answers.

/// Opens after a run of transient failures on different blobs, closes when a probe passes.
#[derive(Clone, Debug)]
pub struct Breaker {
    threshold: u32,
    in_a_row: u32,
    open: bool,
}

impl Breaker {
    /// `threshold`: how many transient failures in a row, with no success between, mean an outage.
    pub fn new(threshold: u32) -> Self {
        Self { threshold: threshold.max(1), in_a_row: 0, open: false }
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// A call to storage worked, or failed for a reason of its own (404 proves that storage answers).
    pub fn answered(&mut self) {
        // While open only a probe closes it: late answers of the time before prove nothing.
        if !self.open {
            self.in_a_row = 0;
        }
    }

    /// A transient failure outlived its retries. True when this one opened the breaker.
    pub fn failed(&mut self) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let opens = !self.open && self.in_a_row >= self.threshold;
        self.open |= opens;
        opens
    }

    /// What failed proves an outage by itself. True when this opened the breaker.
    pub fn open_now(&mut self) -> bool {
        !std::mem::replace(&mut self.open, true)
    }

    pub fn probe_passed(&mut self) {
        self.open = false;
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Answered,
        Failed,
        ProbePassed,
    }

    proptest! {
        #[test]
        fn it_is_open_exactly_from_the_nth_failure_in_a_row_to_the_next_probe(
            threshold in 1_u32..6,
            events in prop::collection::vec(prop_oneof![
                Just(Event::Answered), Just(Event::Failed), Just(Event::ProbePassed)
            ], 0..60),
        ) {
            let mut breaker = Breaker::new(threshold);
            let (mut run, mut open) = (0, false);
            for event in events {
                match event {
                    Event::Answered => { breaker.answered(); if !open { run = 0; } }
                    Event::Failed => { let opened = breaker.failed(); run += 1;
                        prop_assert_eq!(opened, !open && run >= threshold);
                        open |= run >= threshold;
                    }
                    Event::ProbePassed => { breaker.probe_passed(); run = 0; open = false; }
                }
                prop_assert_eq!(breaker.is_open(), open);
            }
        }
    }
}
