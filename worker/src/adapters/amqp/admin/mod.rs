//! Looking at the broker and changing it: queues, rights, counts, dead letters, reports.

pub mod audit;
pub(super) mod dead;
pub(super) mod management;
pub(super) mod reports;
pub(super) mod rights;
