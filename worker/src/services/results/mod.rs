//! `nightread results`: what was read, for people.

pub(crate) mod compare;
pub mod documents;
pub mod filter;
pub mod source;
pub(crate) mod table;
