//! Transient storage failures are tried again in the process, with jitter, inside a budget of time.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use nightread_domain::JobError;
use nightread_domain::ports::{Guard, Guarded, StoreCall};

/// A store whose transient failures are retried.
pub type RetryingStore = Guarded<RetryBudget>;

/// How long one call may go on trying.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// From the first call on; what is left over goes through a delay queue, not through a sleeping delivery.
    pub total: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(4),
            total: Duration::from_secs(10),
        }
    }
}

/// Tries again what failed and may pass soon, but no probe: whoever probes wants to know how it is now.
impl Guard for RetryBudget {
    async fn around<T: Send, F: Future<Output = Result<T, JobError>> + Send>(
        &self,
        call: StoreCall<'_>,
        mut make: impl FnMut() -> F + Send,
    ) -> Result<T, JobError> {
        if matches!(call, StoreCall::Probe(_)) {
            return make().await;
        }
        let waits = ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_total_delay(Some(self.total))
            .without_max_times()
            .with_jitter();
        let started = Instant::now();
        make.retry(waits)
            // A storage that hangs may not hold a permit for many time-outs on end: what the calls themselves took counts
            // too. One that asks for more time than there is gets it from a delay queue.
            .when(|error: &JobError| {
                error.may_pass_soon()
                    && started.elapsed() + error.retry_after.unwrap_or_default() < self.total
            })
            .adjust(|error, wait| wait.map(|wait| error.retry_after.unwrap_or(wait)))
            .await
    }
}
