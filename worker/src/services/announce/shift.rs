//! A night's work in the lane `bulk`, which has an hour at which it ends. What an earlier night left is brought back first. At the
//! hour what still lies in the lane is parked, so that workers, and whoever scales them, have only the day's work before them.

use std::time::Duration;

use anyhow::Result;
use nightread_domain::{JobError, Lane};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::progress;
use super::publisher::PublishEnd;
use crate::adapters::amqp::{Parking, RabbitOptions};
use crate::cli::announce::AnnounceArgs;

/// Between two looks at a lane that workers empty, and between two tries at a broker that does not answer.
const LOOK: Duration = Duration::from_secs(2);

/// From its first announcement to its hour.
pub(super) struct Shift {
    /// `None`: there is no hour, or another lane's work is announced.
    parking: Option<Parking>,
    patience: Duration,
    /// Cancelled by a signal.
    asked: CancellationToken,
    /// Cancelled by a signal, and at the hour.
    stop: CancellationToken,
}

impl Shift {
    pub fn new(
        args: &AnnounceArgs,
        options: RabbitOptions,
        asked: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        let has_end = args.finish_by.is_some() && Lane::from(args.lane()) == Lane::Bulk;
        let parking = has_end.then(|| Parking::new(options));
        Self { parking, patience: Duration::from_secs(args.broker_patience), asked, stop }
    }

    /// Brings back what is parked: how many messages.
    ///
    /// # Errors
    /// `broker_rejected` where the login may not; what the broker says.
    pub async fn begin(&self) -> Result<u64> {
        let Some(parking) = &self.parking else { return Ok(0) };
        let brought_back = parking.bring_back().await?;
        if brought_back > 0 {
            progress::says(&format!("{brought_back} jobs that were parked are back in their lane"));
        }
        Ok(brought_back)
    }

    /// Waits until the lane is empty, or parks at the hour what is left in it. How it ended, and how many messages are parked.
    ///
    /// # Errors
    /// When the broker does not answer for too long at the hour. What was not parked by then lies in its lane.
    pub async fn end(&self, ended: PublishEnd) -> Result<(PublishEnd, u64)> {
        let Some(parking) = &self.parking else { return Ok((ended, 0)) };
        if ended == PublishEnd::Finished && self.is_emptied(parking).await {
            return Ok((PublishEnd::Finished, 0));
        }
        if self.asked.is_cancelled() {
            return Ok((PublishEnd::Stopped, 0));
        }
        let parked = tokio::select! {
            parked = self.park(parking) => parked?,
            () = self.asked.cancelled() => return Ok((PublishEnd::Stopped, 0)),
        };
        // Workers may have taken the last of them in the same moment.
        Ok((if parked > 0 { PublishEnd::Stopped } else { ended }, parked))
    }

    /// Whether the lane is empty before the hour, or before a signal. A broker that does not answer may do so later.
    async fn is_emptied(&self, parking: &Parking) -> bool {
        loop {
            match parking.waiting().await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the lane cannot be looked at; it is tried again"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    async fn park(&self, parking: &Parking) -> Result<u64, JobError> {
        let until = Instant::now() + self.patience;
        loop {
            match parking.park().await {
                Err(error) if error.is_transient() && Instant::now() < until => {
                    tracing::warn!(%error, "the lane cannot be parked; it is tried again");
                    tokio::time::sleep(LOOK).await;
                }
                parked => return parked,
            }
        }
    }
}
