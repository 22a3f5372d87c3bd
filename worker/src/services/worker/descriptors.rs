//! File descriptors: what a worker takes of them at most, and what the system gives. Without one it can neither read nor
//! write, which would look like an outage of storage that never ends.

use nightread_domain::{ErrorCode, JobError, Stage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::services::health;
use crate::settings::Settings;
use crate::settings::validate::cores;

/// Runtime, reactors, models, log and the broker's connections: an idle worker has 24 to 28.
const IDLE: u64 = 40;

/// The source and the result, each a connection or a file, and what is asked between them.
const EACH_JOB: u64 = 3;

/// Two pipes to the child that decodes, and their other ends while it starts.
const EACH_DECODE_THREAD: u64 = 6;

/// Sees that this process may have as many as it can need, and raises its own limit where the system lets it.
pub(in crate::services) fn claim(settings: &Settings) -> Result<(), JobError> {
    let (jobs, threads) = (settings.limits.jobs as u64, decode_threads(settings));
    let needed = needed(jobs, threads);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|allowed| allowed >= needed) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    if most >= needed {
        let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
        return setrlimit(Resource::Nofile, raised).map_err(|error| {
            JobError::new(
                Stage::Start,
                ErrorCode::TooFewDescriptors,
                "the limit of file descriptors cannot be raised",
            )
            .with_source(error)
        });
    }
    let words = format!(
        "this process may open {most} file descriptors (LimitNOFILE, ulimit -n), and needs up to {needed} for {jobs} jobs, \
         {threads} decode threads and {} connections of the health endpoints: raise the limit, or lower [limits] jobs",
        health::MAX_CONNECTIONS
    );
    Err(JobError::new(Stage::Start, ErrorCode::TooFewDescriptors, words))
}

fn decode_threads(settings: &Settings) -> u64 {
    settings.engine.decode_threads.unwrap_or_else(cores) as u64
}

fn needed(jobs: u64, decode_threads: u64) -> u64 {
    IDLE + health::MAX_CONNECTIONS as u64 + EACH_JOB * jobs + EACH_DECODE_THREAD * decode_threads
}
