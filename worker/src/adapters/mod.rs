//! The outside world, named by technology: each adapter implements a port of the domain and classifies its own errors.

pub mod azure_monitor;
pub mod http;
pub mod imds;
pub mod queue;
pub mod storage;
pub mod tls;
