//! What lets work through and what holds it back; what is told of work that ended.

use std::time::{SystemTime, UNIX_EPOCH};

pub mod aside;
pub mod budget;
pub mod failpoint;
pub mod memory;
pub mod observer;
pub mod outlook;
pub mod report;
pub mod spool;
pub mod sweep;
pub mod timing;
pub mod valve;

/// Version written into every document; a new one reads failed studies again.
pub const WORKER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
