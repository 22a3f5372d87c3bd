//! `nightread results`: what was read, for people.

pub mod documents;
pub mod filter;
pub mod source;
pub(crate) mod table;
