//! From a delivery to a stored result. Read [`process`] first: it is the whole data flow on one screen.

pub mod breaker;
pub mod cpu;
pub mod failpoint;
pub mod intake;
pub mod models;
pub mod outage;
pub mod process;
pub mod reading;
pub mod report;
pub mod split;
pub mod store;
pub mod valve;
pub mod version;
mod waiting;
