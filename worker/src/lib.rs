//! Nightread reads chest X-rays and resting-state fMRI as they land in storage.
//!
//! Start at [`pipeline::process`]: one straight-line function takes a job from announcement to stored result. A room knows
//! only those above it in this list.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod commands;
pub mod compute;
pub mod console;
pub mod contract;
pub mod flow;
pub mod pipeline;
pub mod readings;
pub mod reference;
pub mod services;
pub mod settings;
pub mod telemetry;
