//! The harness: real parts, started privately on free ports and stopped with the process that started them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

pub mod account;
pub mod announcing;
pub mod archive;
mod arriving;
pub mod assembling;
pub mod azurite;
pub mod bench;
pub mod beside;
pub mod cable;
pub mod cgroup;
pub mod chaos;
pub mod cluster;
pub mod cluster_storm;
pub mod commands;
pub mod contract;
pub mod delivering;
pub mod disk;
pub mod ear;
pub mod images;
pub mod lies;
pub mod little;
pub mod little_room;
pub mod measure;
pub mod mixed;
mod node;
pub mod orthanc;
pub mod parts;
pub mod prometheus;
pub mod proxy;
pub mod queues;
pub mod rabbit;
pub mod radiographs;
pub mod server;
pub mod simulated;
pub mod slices;
pub mod volumes;
pub mod wait;
pub mod worker;
