//! The runtimes in which work waits: what computes has threads of its own.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// For what moves the bytes of many jobs at once.
///
/// # Errors
/// When the system gives no threads or descriptors.
pub fn two_threads() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// For what asks a little, on the thread that waits for it.
///
/// # Errors
/// When the system gives no descriptors.
pub fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
