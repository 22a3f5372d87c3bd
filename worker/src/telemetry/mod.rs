//! What the worker tells about itself.

pub mod ledger;
pub mod logs;
pub mod metrics;
pub mod traces;
