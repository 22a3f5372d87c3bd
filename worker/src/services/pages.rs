//! Listings to their end: patience with storage, and no page twice.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use nightread_domain::{ErrorCode, JobError, Stage};

/// A refusal may be a role that has not spread yet, or a mistake: not worth the patience of an outage.
const REFUSAL_PATIENCE: Duration = Duration::from_mins(1);

/// Storage may be away for a while; a list of a hundred million names is not given up for that.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, JobError>>>(
    call: impl FnMut() -> F,
) -> Result<T, JobError> {
    let waits = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .with_total_delay(Some(Duration::from_mins(10)))
        .without_max_times()
        .with_jitter();
    let started = Instant::now();
    call.retry(waits)
        .when(|error: &JobError| {
            error.may_pass_soon() || (error.code.is_refusal() && started.elapsed() < REFUSAL_PATIENCE)
        })
        .notify(|error, wait| {
            tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "storage does not answer; trying again");
        })
        .await
}

/// Sees to it that a listing ends: what leads back to a page that was there before is asked for again, and not believed.
#[derive(Debug, Default)]
pub(crate) struct PageWalk {
    been: HashSet<String>,
    repeats: u32,
}

impl PageWalk {
    /// Pages in a row that lead nowhere before the listing is given up.
    const MOST_REPEATS: u32 = 5;

    /// Whether the page at `marker` leads on. `false`: it is a page of before, and has to be asked for again.
    pub fn leads_on(&mut self, marker: Option<&str>, next: Option<&str>) -> Result<bool, JobError> {
        self.been.extend(marker.map(str::to_owned));
        if next.is_none_or(|next| !self.been.contains(next)) {
            self.repeats = 0;
            return Ok(true);
        }
        self.repeats += 1;
        if self.repeats > Self::MOST_REPEATS {
            let told = "the listing leads back to where it was";
            return Err(JobError::new(Stage::Fetch, ErrorCode::StorageRejected, told));
        }
        tracing::warn!("storage's listing gave a page of before; asking again");
        Ok(false)
    }
}
