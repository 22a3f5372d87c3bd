//! The inference threads: each owns its sessions and pulls batches from the one shared batcher.

mod serve;
mod shared;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nightread_domain::JobError;

use self::serve::serve;
pub use self::shared::Health;
pub(crate) use self::shared::Runner;
use self::shared::{Shared, State, Ticket, failed};
use crate::batcher::{Batcher, Limits};
use crate::inference::{Inference, closed};
use crate::panics;

/// What to do with the items that wait when the engine closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Compute them; the threads end when the queue is empty.
    Drain,
    /// Answer them with `engine_closed`.
    Fail,
}

/// Counters since the start, for metrics. A batch whose members were run again singly counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub batches: u64,
    /// Items that ran in those batches.
    pub items: u64,
}

/// The threads and their queue. Dropped, it fails what waits (unless it drains already) and joins the threads.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts one thread for each runner; each warms its runner up. Returns when all are ready, or with the first error.
    pub(crate) fn start<R: Runner + Send + 'static>(
        runners: Vec<R>,
        limits: Limits,
        warm_up: impl Fn(&mut R) -> Result<(), JobError> + Send + Sync + 'static,
    ) -> Result<Self, JobError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { batcher: Batcher::new(limits), health: Health::Ready }),
            work: Condvar::new(),
            batches: AtomicU64::new(0),
            items: AtomicU64::new(0),
        });
        let count = runners.len();
        let mut pool = Self { shared, threads: Vec::with_capacity(count) };
        let warm_up = Arc::new(warm_up);
        let (ready, started) = mpsc::channel();
        for (index, mut runner) in runners.into_iter().enumerate() {
            let (shared, warm_up, ready) = (Arc::clone(&pool.shared), Arc::clone(&warm_up), ready.clone());
            let builder = thread::Builder::new().name(format!("inference-{index}"));
            let thread = builder.spawn(move || {
                let warm =
                    panics::contained(|| warm_up(&mut runner)).unwrap_or_else(|panic| Err(failed(&panic)));
                let serves = warm.is_ok();
                let _ = ready.send(warm);
                drop((ready, warm_up));
                if serves {
                    serve_all(&shared, &mut runner);
                }
            });
            pool.threads.push(thread.map_err(|error| failed(&format!("cannot start a thread: {error}")))?);
        }
        drop(ready);
        // Every thread answers once; an early end of the channel would mean that one died unseen.
        for _ in 0..count {
            started.recv().unwrap_or_else(|_| Err(failed("an inference thread died while starting")))?;
        }
        Ok(pool)
    }

    /// Queues a tensor for a model.
    pub(crate) fn infer(&self, model: usize, tensor: Vec<f32>) -> Inference {
        let bytes = size_of_val(tensor.as_slice());
        let (reply, inference) = Inference::waiting();
        {
            let mut state = self.shared.lock();
            match &state.health {
                Health::Ready => state.batcher.push(model, Ticket { tensor, reply }, bytes, Instant::now()),
                Health::Failed(reason) => return Inference::refused(failed(reason)),
                Health::Draining | Health::Closed => {
                    return Inference::refused(closed("the engine is closing"));
                }
            }
        }
        self.shared.work.notify_one();
        inference
    }

    pub(crate) fn health(&self) -> Health {
        self.shared.lock().health.clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            batches: self.shared.batches.load(Ordering::Relaxed),
            items: self.shared.items.load(Ordering::Relaxed),
        }
    }

    /// Takes nothing new from now on. Does not wait: dropping the pool does.
    pub(crate) fn close(&self, how: Close) {
        match how {
            Close::Drain => {
                let mut state = self.shared.lock();
                if state.health == Health::Ready {
                    state.health = Health::Draining;
                }
                drop(state);
                self.shared.work.notify_all();
            }
            Close::Fail => {
                self.shared.stop(Health::Closed, || closed("the engine closed before the item was computed"));
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.health() == Health::Ready {
            self.close(Close::Fail);
        }
        for thread in self.threads.drain(..) {
            // The body contains its panics, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

fn serve_all(shared: &Shared, runner: &mut impl Runner) {
    while let Some(batch) = shared.next_batch() {
        if let Err(reason) = serve(shared, runner, batch) {
            tracing::error!(reason, "a session panicked, the engine stops");
            shared.stop(Health::Failed(reason.clone()), || failed(&reason));
            return;
        }
    }
}

#[cfg(test)]
mod tests;
