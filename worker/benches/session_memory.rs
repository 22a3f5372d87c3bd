//! Resident memory with 1, 2 and 4 sessions: `cargo run --release -p nightread-tools --bin session_memory -- FOLDER...`
//!
//! Each folder is a model with a manifest. Every count is measured in a process of its own, after one run of one item in
//! each session; the memory of the process before any model is taken off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nightread_engine::{
    Engine, EngineOptions, Manifest, Precision, Provider, Runtime, Search, VerifiedModel, tune,
};

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn measure(folder: &str, precision: &str, sessions: &str) {
    let runtime = Runtime::load(&Search::new(None, Provider::Cpu)).unwrap();
    let manifest =
        Arc::new(Manifest::read(Path::new(folder)).unwrap_or_else(|problems| panic!("{problems}")));
    let model = VerifiedModel::open(&manifest, precision.parse::<Precision>().unwrap()).unwrap();
    let before = resident_mib();
    let sessions = sessions.parse().unwrap();
    let options = EngineOptions { max_batch_items: 1, ..EngineOptions::for_cores(sessions) };
    let engine = Engine::start(&runtime, vec![model.clone()], options).unwrap();
    for _ in 0..sessions {
        engine.infer(model.key(), tune::sample(&manifest)).wait().unwrap();
    }
    println!("{}, {sessions} sessions: {:.0} MiB", model.key(), resident_mib() - before);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder, precision, sessions] = arguments.as_slice()
        && flag == "--one"
    {
        return measure(folder, precision, sessions);
    }
    for folder in &arguments {
        let manifest = Manifest::read(Path::new(folder)).unwrap_or_else(|problems| panic!("{problems}"));
        for precision in manifest.precisions() {
            for sessions in ["1", "2", "4"] {
                let one = ["--one", folder.as_str(), precision.as_str(), sessions];
                let status = Command::new(std::env::current_exe().unwrap()).args(one).status();
                assert!(status.unwrap().success());
            }
        }
    }
}
