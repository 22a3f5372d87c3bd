//! What lets work through and what holds it back; what is told of work that ended.

pub mod budget;
pub mod failpoint;
pub mod observer;
pub mod report;
pub mod timing;
pub mod valve;

/// Version written into every document; a new one reads failed studies again.
pub const WORKER_VERSION: &str = env!("CARGO_PKG_VERSION");
