//! Nightread reads chest X-rays and resting-state fMRI as they land in storage.
//!
//! Start at [`pipeline::process`]: one straight-line function takes a job from announcement to stored result. The rooms stand
//! in order: each knows only those above it in this file, which a test holds.

/// What lets work through and what holds it back.
pub mod flow;

/// From what was typed to what it means.
pub mod settings;

/// What the worker tells about itself.
pub mod telemetry;

/// The outside world: broker, storage, Azure.
pub mod adapters;

/// Open models, decode threads, and how the cores are shared.
pub mod compute;

/// From bytes to a payload, task by task.
pub mod readings;

/// From a delivery to a stored result.
pub mod pipeline;

/// What can be typed.
pub mod cli;

/// What people read.
pub mod console;

/// Composes what all jobs share: settings in, a ready pipeline out.
pub mod app;

/// The work behind the commands.
pub mod services;

/// What others may rely on, as JSON.
pub mod contract;

/// The reference pages that are made from the code.
pub mod reference;

/// One entry for each subcommand.
pub mod commands;
