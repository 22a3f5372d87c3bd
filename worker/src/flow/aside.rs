//! Work that waits or computes, beside the reactor.

use nightread_domain::{ErrorCode, JobError, Stage};

/// What stores have run so.
pub const STORAGE_TASK: &str = "a storage task";

/// Runs `work` on a thread that may be busy for long. Where it panics that is `internal` at `stage`, and tells `what` it was.
pub async fn blocking<T: Send + 'static>(
    stage: Stage,
    what: &'static str,
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| {
        Err(JobError::new(stage, ErrorCode::Internal, format!("{what} panicked")).with_source(panicked))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_whose() {
        assert_eq!(blocking(Stage::Start, "a sum", || Ok(2)).await.unwrap(), 2);
        let failed = blocking(Stage::Fetch, "a storage task", || -> Result<(), _> { panic!("on purpose") });
        let failed = failed.await.unwrap_err();
        assert_eq!((failed.code, failed.stage), (ErrorCode::Internal, Stage::Fetch));
        let told = failed.in_full();
        assert!(told.contains("a storage task panicked") && told.contains("on purpose"), "{told}");
    }
}
