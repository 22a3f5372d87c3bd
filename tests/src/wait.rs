//! Patience with processes that have a pace of their own. Never an assertion on time: only a limit on hanging.

use std::future::Future;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine. `NIGHTREAD_TEST_PATIENCE` (seconds) makes it longer.
pub fn patience() -> Duration {
    let seconds = std::env::var("NIGHTREAD_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(120))
}

/// How long one question may take when patience is over.
const ONE_QUESTION: Duration = Duration::from_mins(1);

/// Asks again and again until the answer is `Some`; panics with `what` when patience ends.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    until_within(patience(), what, &mut ask).await
}

/// [`until`] with its own patience.
pub async fn until_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed()) + ONE_QUESTION;
        match tokio::time::timeout(left, ask()).await {
            Ok(Some(answer)) => return answer,
            Ok(None) => {}
            Err(late) => panic!("asked for {what}, and had no answer: {late}"),
        }
        assert!(start.elapsed() < patience, "waited {} s in vain for {what}", patience.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
