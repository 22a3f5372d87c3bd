//! The processor: open models, decode threads, and how the cores are shared.

pub mod cpu;
pub mod models;
pub mod split;
pub mod volumes;
