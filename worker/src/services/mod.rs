//! What runs until it is told to stop, or until all is done: the work behind the commands.

pub mod announce;
pub(crate) mod assemble;
pub mod autotune;
pub mod backlog;
pub(crate) mod bench;
pub mod check;
pub mod dead;
pub(crate) mod deliver;
pub mod dicom;
mod events;
pub mod health;
pub mod models;
pub(crate) mod pages;
pub(crate) mod prepare;
pub(crate) mod process;
pub mod relay;
pub mod results;
pub(crate) mod simulate;
pub(crate) mod walk;
pub mod webhook;
pub(crate) mod worker;
pub mod writing;
