//! `nightread results`: what was read, for people.

pub(crate) mod compare;
pub mod documents;
pub mod filter;
mod names;
pub(crate) mod output;
mod reading;
pub(crate) mod report;
pub mod source;
pub(crate) mod table;
