//! The machine's own end: announced by Azure, followed by a drain, approved when nothing is in flight.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nightread_domain::JobError;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::adapters::azure::imds::{EvictionWatch, Imds, Notice};
use crate::pipeline::serving::Stop;

/// What is still in flight so long before the end goes back, while there is a connection to send it over.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Watches over this machine while the worker runs.
#[derive(Debug)]
pub(super) struct Machine {
    watch: Arc<EvictionWatch<Imds>>,
    noticed: Arc<OnceLock<Notice>>,
    watching: JoinHandle<()>,
}

impl Machine {
    /// Drains by `stop` when the machine is about to go.
    pub fn watch(endpoint: &str, stop: Stop) -> Result<Self, JobError> {
        let watch = Arc::new(EvictionWatch::new(Imds::new(endpoint)?));
        let noticed = Arc::new(OnceLock::new());
        let (watcher, note) = (Arc::clone(&watch), Arc::clone(&noticed));
        let watching = tokio::spawn(async move {
            let notice = watcher.notice().await;
            tracing::warn!(kind = notice.kind.as_str(), "this machine is about to go; draining");
            let left = notice.not_before.map(|at| at - OffsetDateTime::now_utc());
            // Set once: the watch ends here.
            let _first = note.set(notice);
            stop.drain.cancel();
            if let Some(left) = left {
                let left = Duration::try_from(left).unwrap_or_default();
                tokio::time::sleep(left.saturating_sub(LAST_MOMENT)).await;
                stop.abandon.cancel();
            }
        });
        Ok(Self { watch, noticed, watching })
    }

    /// Ends the watch. If the machine is about to go, says that it may: nothing is in flight any more.
    pub async fn let_go(self) {
        self.watching.abort();
        if let Some(notice) = self.noticed.get()
            && let Err(error) = self.watch.approve(notice).await
        {
            tracing::warn!(%error, "the event was not approved; it begins at its time");
        }
    }
}
