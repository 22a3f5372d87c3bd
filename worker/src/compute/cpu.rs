//! The CPU pool: decoding and preprocessing off the reactor, on a fixed number of threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{NICENESS, be_nice};
use tokio::sync::oneshot;

/// A fixed pool. Work whose caller has gone away is skipped.
#[derive(Clone, Debug)]
pub struct CpuPool {
    pool: Arc<rayon_core::ThreadPool>,
}

impl CpuPool {
    pub fn new(threads: usize) -> Result<Self, JobError> {
        Self::of("decode", threads, |_| {})
    }

    /// For volumes, whose decoding and preparing takes seconds: threads of their own, of low priority, so that images wait for
    /// neither.
    pub fn of_volumes(threads: usize) -> Result<Self, JobError> {
        Self::of("volume", threads, |_| be_nice(NICENESS))
    }

    fn of(
        name: &'static str,
        threads: usize,
        begins: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Self, JobError> {
        let pool = rayon_core::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(move |n| format!("{name}-{n}"))
            .start_handler(begins)
            .build()
            .map_err(|error| {
                JobError::new(Stage::Start, ErrorCode::Internal, "cannot start the decode threads")
                    .with_source(error)
            })?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Runs `work` on the pool. A panic is contained and becomes `decode_failed`: it came from this input.
    pub async fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
    ) -> Result<T, JobError> {
        let (answer, answered) = oneshot::channel();
        let span = tracing::Span::current();
        self.pool.spawn(move || {
            if answer.is_closed() {
                return;
            }
            let _entered = span.entered();
            let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                Err(JobError::new(stage, ErrorCode::DecodeFailed, "reading this input made a decoder panic"))
            });
            // The caller may have gone away meanwhile; then nobody wants the answer.
            drop(answer.send(done));
        });
        answered.await.unwrap_or_else(|_| {
            Err(JobError::new(stage, ErrorCode::ShuttingDown, "the decode threads are closing"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_the_inputs_failure_and_the_pool_lives_on() {
        let pool = CpuPool::new(1).expect("one thread");
        let refused = pool.run(Stage::Decode, || -> Result<(), _> { panic!("bad input") }).await;
        assert_eq!(refused.expect_err("a panic").code, ErrorCode::DecodeFailed);
        assert_eq!(pool.run(Stage::Decode, || Ok(7)).await.expect("alive"), 7);
    }
}
