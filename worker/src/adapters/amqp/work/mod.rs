//! Taking deliveries, settling them, and publishing what a settlement publishes.

pub(super) mod bulk;
pub(super) mod courier;
pub(super) mod intake;
pub(super) mod outbox;
pub(super) mod results;
mod session;
mod settlement;
pub(super) mod shared;
