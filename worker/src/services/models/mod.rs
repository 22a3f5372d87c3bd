//! Tools for whoever brings a network: a folder to begin with, a trial, a comparison with the script that it came with, and the gate
//! of bf16.

pub mod check;
mod export;
pub mod gate;
pub mod list;
pub mod new;
pub mod parity;
pub mod push;
