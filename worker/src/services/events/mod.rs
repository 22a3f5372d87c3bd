//! Events of new blobs from outside: what a message holds, the queue that it comes from, and how well its service does.

pub(super) mod envelope;
pub(super) mod queue;
pub(super) mod vitals;
