//! Looking at the broker and changing it: queues, rights, counts, dead letters, reports, what is parked.

pub mod audit;
pub(super) mod dead;
pub(super) mod management;
pub(super) mod parked;
pub(super) mod reports;
pub(super) mod rights;
