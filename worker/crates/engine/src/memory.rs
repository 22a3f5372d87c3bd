//! What the system says of this thread and process.

use std::fs;

/// Raises the niceness of this thread, and of those it starts, by as much. Where the system refuses, it stays.
pub fn be_nice(by: i32) {
    let thread = rustix::thread::gettid();
    let before = rustix::process::getpriority_process(Some(thread)).unwrap_or(0);
    if let Err(error) = rustix::process::setpriority_process(Some(thread), before + by) {
        tracing::warn!(%error, "a thread of volumes keeps its priority");
    }
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.as_deref().and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}
