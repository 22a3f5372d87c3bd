//! What of Azure is no blob store: queues, metrics, and what is about to happen to this machine.

pub mod imds;
pub mod monitor;
pub mod queue;
