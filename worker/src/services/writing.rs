//! Metrics that are written to a receiver, beside being served.

use std::fs;
use std::time::Duration;

use nightread_domain::JobError;
use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::adapters::remote_write::RemoteWrite;
use crate::settings::Settings;
use crate::telemetry::metrics::table::Teller;

/// How long the last figures may take to be written when a service ends.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// A receiver, and how often it is written to.
#[derive(Debug)]
pub struct Writing {
    receiver: RemoteWrite,
    every: Duration,
}

impl Writing {
    /// `None` where the settings name no receiver.
    ///
    /// # Errors
    /// `settings_invalid` when no client can be made of them.
    pub fn of(settings: &Settings, teller: Teller) -> Result<Option<Self>, JobError> {
        let Some(write) = &settings.remote_write else { return Ok(None) };
        let job = format!("nightread-{}", teller.as_str());
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Two of them on one machine listen at two ports.
        let instance = format!("{}:{}", host.trim(), settings.listen.port());
        let receiver = RemoteWrite::new(write, settings.client_id.as_deref(), &job, &instance)?;
        Ok(Some(Self { receiver, every: write.every }))
    }

    /// Writes a text of metrics, as of now.
    ///
    /// # Errors
    /// What the receiver says.
    pub async fn once(&self, text: &str) -> Result<(), JobError> {
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        self.receiver.write(text, i64::try_from(now).unwrap_or_default()).await
    }

    /// Writes what `tell` gives until `stop`, and once more then. A receiver that is away is told of once, and again when it is
    /// back: what it missed is in the counters of the next time.
    pub(super) async fn go_on(self, tell: impl Fn() -> String, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_away = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            match self.once(&tell()).await {
                Ok(()) if was_away => {
                    tracing::info!("metrics are written again");
                    was_away = false;
                }
                Err(error) if !was_away => {
                    tracing::warn!(%error, "metrics are not written; they are tried again");
                    was_away = true;
                }
                Ok(()) | Err(_) => {}
            }
        }
        if let Ok(Err(error)) = tokio::time::timeout(LAST_PATIENCE, self.once(&tell())).await {
            tracing::warn!(%error, "the last metrics were not written");
        }
    }
}
