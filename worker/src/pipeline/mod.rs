//! From a delivery to a stored result. Read [`process`] first: it is the whole data flow on one screen.

mod artefacts;
mod beside;
pub mod breaker;
pub(crate) mod disposition;
mod document;
mod each;
pub(crate) mod fetching;
pub mod intake;
pub(crate) mod near_memory;
pub mod outage;
pub mod process;
pub(crate) mod resolving;
pub mod serving;
mod sinks;
pub mod store;
pub mod together;
pub mod tools;
pub mod version;
