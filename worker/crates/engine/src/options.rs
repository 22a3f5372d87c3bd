//! How the engine uses the machine.

use std::time::Duration;

use crate::batcher::Limits;
use crate::provider::Provider;

/// How the engine uses the machine. `sessions * intra_threads` should not exceed the cores left to inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Inference threads; each owns one session of every model.
    pub sessions: usize,
    /// Threads inside one operator of one session, the session's own included.
    pub intra_threads: usize,
    /// Items in one batch at most.
    pub max_batch_items: usize,
    /// Bytes of input tensors in one batch at most; a larger item goes alone.
    pub max_batch_bytes: usize,
    /// How long an item may wait for company. Zero, the default, because a batch forms by itself while all sessions are
    /// busy.
    pub linger: Duration,
    pub provider: Provider,
    /// Whether the warm-up also runs the largest batch, so that the first full one is not slow. Where the first items wait
    /// for the engine anyway, this only makes them wait longer, and so does a warm-up of a graph that has run before: without
    /// this there is none.
    pub warm_batches: bool,
}

impl EngineOptions {
    /// One session with one thread for each of `cores`, batches of up to eight items or 64 MiB, no linger.
    pub fn for_cores(cores: usize) -> Self {
        Self {
            sessions: cores.max(1),
            intra_threads: 1,
            max_batch_items: 8,
            max_batch_bytes: 64 << 20,
            linger: Duration::ZERO,
            provider: Provider::Cpu,
            warm_batches: true,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { items: self.max_batch_items.max(1), bytes: self.max_batch_bytes, linger: self.linger }
    }
}
