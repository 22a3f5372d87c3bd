//! One lane's queue: first come, first served; what comes back goes to the front, in its old order.

use std::collections::{BTreeSet, VecDeque};

/// Jobs are numbered in order of arrival, so what comes back is older than everything that was never taken.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneQueue {
    fresh: VecDeque<usize>,
    returned: BTreeSet<usize>,
}

impl LaneQueue {
    pub fn arrive(&mut self, job: usize) {
        self.fresh.push_back(job);
    }

    pub fn come_back(&mut self, job: usize) {
        self.returned.insert(job);
    }

    pub fn take(&mut self) -> Option<usize> {
        self.returned.pop_first().or_else(|| self.fresh.pop_front())
    }

    pub fn len(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }
}
