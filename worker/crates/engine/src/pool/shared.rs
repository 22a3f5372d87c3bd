//! What the inference threads and their callers share: the batcher, and whether the engine serves.

use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::batcher::{Batch, Batcher};
use crate::inference::Reply;
use crate::outputs::{Arrays, Outputs};

/// What one inference thread owns: something that computes batches of the model with the given number.
pub(crate) trait Runner {
    fn run(&mut self, model: usize, items: &[&[f32]]) -> Result<Vec<Arrays>, JobError>;
}

/// Whether the engine serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// Takes nothing new; finishes what is queued.
    Draining,
    Closed,
    /// A session panicked: nothing it would compute can be trusted. The worker should return its deliveries and exit.
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Ticket {
    pub tensor: Vec<f32>,
    pub reply: Reply,
}

#[derive(Debug)]
pub(crate) struct State {
    pub batcher: Batcher<usize, Ticket>,
    pub health: Health,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub state: Mutex<State>,
    pub work: Condvar,
    pub batches: AtomicU64,
    pub items: AtomicU64,
}

impl Ticket {
    /// Whether nobody waits for the answer any more.
    fn is_cancelled(&self) -> bool {
        self.reply.is_canceled()
    }

    pub fn answer(self, result: Result<Outputs, JobError>) {
        // The caller may have gone away meanwhile.
        let _ = self.reply.send(result);
    }
}

impl Shared {
    /// Nothing panics under this lock; a poisoned one would still hold a whole state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the engine: what waits is answered with `answer`. A failure is never hidden by a later closing.
    pub fn stop(&self, health: Health, answer: impl Fn() -> JobError) {
        let left = {
            let mut state = self.lock();
            if !matches!(state.health, Health::Failed(_)) {
                state.health = health;
            }
            state.batcher.drain()
        };
        self.work.notify_all();
        for ticket in left {
            ticket.answer(Err(answer()));
        }
    }

    pub fn next_batch(&self) -> Option<Batch<usize, Ticket>> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.health {
                Health::Ready => {
                    if let Some(batch) = state.batcher.take(now, Ticket::is_cancelled) {
                        return Some(batch);
                    }
                }
                Health::Draining => return state.batcher.take_now(Ticket::is_cancelled),
                Health::Closed | Health::Failed(_) => return None,
            }
            state = match state.batcher.next_deadline() {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let wait = deadline.saturating_duration_since(now);
                    self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

pub(crate) fn failed(reason: &str) -> JobError {
    JobError::new(Stage::Infer, ErrorCode::EngineFailed, reason)
}
