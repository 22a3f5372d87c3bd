//! Nightread reads chest X-rays and resting-state fMRI as they land in storage.
//!
//! Start at [`pipeline::process`]: one straight-line function takes a job from announcement to stored result.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod commands;
pub mod contract;
pub mod pipeline;
pub mod privacy;
pub mod reference;
pub mod settings;
pub mod simulate;
pub mod telemetry;
pub mod trial;
