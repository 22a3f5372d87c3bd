//! The processor: open models, decode threads, and how the cores are shared.

pub mod cpu;
pub mod digests;
mod ensemble;
pub mod models;
pub mod routes;
pub mod split;
pub mod verified;
pub mod volumes;
