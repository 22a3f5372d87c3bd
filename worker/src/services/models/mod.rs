//! Tools for whoever brings a network: a folder to begin with, a trial, and a comparison with the script that it came with.

pub mod check;
mod export;
pub mod list;
pub mod new;
pub mod parity;
pub mod push;
