//! The loop that takes deliveries while there are permits, and alone settles them: of workers, and of whoever sends results on. Nothing is
//! done by default: a delivery dropped on any path goes back to its queue.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use nightread_domain::{Delivery, Disposition, Intake, JobError, Message, Notice, Settlement};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::flow::valve::Valve;

/// What giving back may take once everything is to be given back: the machine may have seconds.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(3);

/// After what a run ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct JobLimit {
    /// So many deliveries are taken.
    pub jobs: NonZeroUsize,
    /// So long it waits for the next one.
    pub patience: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub enum RunEnd {
    /// The queue had no more, or a drain finished what was in flight.
    Drained,
    /// The drain deadline passed, or a second signal came; what was in flight went back.
    GaveBack,
    /// The worker cannot go on.
    Fatal(JobError),
}

/// The signals a run listens to.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take nothing more, finish what is in flight.
    pub drain: CancellationToken,
    /// Give everything back at once.
    pub abandon: CancellationToken,
    /// Why it stops by itself, if it does.
    pub cause: Arc<OnceLock<String>>,
}

/// What becomes of a delivery, and what is to be told first.
pub type Decided = (Disposition, Vec<Notice>);

/// What is done with deliveries.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Counts a delivery from when it is taken until it is dropped.
    type InFlight: Send + 'static;

    fn taken(&self, message: &Message) -> Self::InFlight;

    async fn decide(&self, message: &Message) -> Decided;

    /// Of a message over which [`Self::decide`] panicked.
    fn of_panic(&self) -> Disposition;
}

/// One run over one intake.
#[derive(Debug)]
pub struct Serving {
    pub stop: Stop,
    /// Closed while work would be in vain. The intake obeys it too.
    pub valve: Valve,
    /// Deliveries in flight at one time.
    pub permits: usize,
    pub drain_deadline: Duration,
    pub limit: Option<JobLimit>,
    pub fatal: Mutex<Option<JobError>>,
}

impl Serving {
    /// Consumes until the intake ends, a stop is asked for, or something fatal happens.
    pub async fn run<H: Handler>(self: Arc<Self>, mut intake: Box<dyn Intake>, handler: Arc<H>) -> RunEnd {
        let permits = Arc::new(Semaphore::new(self.permits));
        let jobs = TaskTracker::new();
        let mut taken_so_far = 0;
        while self.limit.is_none_or(|limit| taken_so_far < limit.jobs.get()) {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
                self.valve.opened().await;
                match intake.next().await {
                    Ok(delivery) => delivery.map(|delivery| (permit, delivery)),
                    Err(error) => {
                        self.die(error);
                        None
                    }
                }
            };
            let taken = tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => None,
                () = self.stop.abandon.cancelled() => None,
                taken = next => taken,
                () = self.nothing_comes(&jobs) => None,
            };
            let Some((permit, delivery)) = taken else { break };
            taken_so_far += 1;
            let (serving, handler) = (Arc::clone(&self), Arc::clone(&handler));
            jobs.spawn(async move {
                let _counted = handler.taken(&delivery.message);
                serving.handle(&*handler, delivery).await;
                drop(permit);
            });
        }
        intake.stop().await;
        self.drained(&jobs).await;
        match self.fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => RunEnd::Fatal(error),
            None if self.stop.abandon.is_cancelled() => RunEnd::GaveBack,
            None => RunEnd::Drained,
        }
    }

    /// Lets what is in flight end, until the deadline.
    async fn drained(&self, jobs: &TaskTracker) {
        jobs.close();
        if self.limit.is_some() {
            // Its jobs are what it is for: only who stops it hurries them.
            tokio::select! {
                () = jobs.wait() => {}
                () = self.stop.drain.cancelled() => {}
                () = self.stop.abandon.cancelled() => {}
            }
        }
        if timeout(self.drain_deadline, jobs.wait()).await.is_err() {
            tracing::warn!("the drain deadline passed; returning what is in flight");
            self.stop.abandon.cancel();
            // Handlers see the token and drop their deliveries; this wait is short.
            jobs.wait().await;
        }
    }

    /// Ends when a run of so many jobs has waited in vain; never while one of them is in flight.
    async fn nothing_comes(&self, jobs: &TaskTracker) {
        let Some(limit) = self.limit else { return std::future::pending().await };
        loop {
            tokio::time::sleep(limit.patience).await;
            if jobs.is_empty() {
                tracing::info!("no further delivery came");
                return;
            }
        }
    }

    async fn handle(&self, handler: &impl Handler, delivery: Delivery) {
        let Delivery { message, mut settlement } = delivery;
        let decided = tokio::select! {
            biased;
            () = self.stop.abandon.cancelled() => {
                let _ = timeout(GIVE_BACK_PATIENCE, settlement.settle(Disposition::Return)).await;
                return;
            }
            decided = AssertUnwindSafe(handler.decide(&message)).catch_unwind() => decided,
        };
        let (disposition, notices) = decided.unwrap_or_else(|_panic| (handler.of_panic(), Vec::new()));
        settlement.tell_first(notices);
        if let Disposition::DeadLetter { error } = &disposition {
            let id = message.attributes.message_id.as_deref().unwrap_or("");
            tracing::warn!(message_id = id, code = %error.code, %error, "dead-lettered");
        }
        self.settle(settlement, disposition).await;
    }

    /// As long as it takes, but for a process that must go: what is dropped comes again.
    async fn settle(&self, settlement: Box<dyn Settlement>, disposition: Disposition) {
        let what = disposition.as_str();
        let late = async {
            self.stop.abandon.cancelled().await;
            tokio::time::sleep(GIVE_BACK_PATIENCE).await;
        };
        tokio::select! {
            settled = settlement.settle(disposition) => if let Err(error) = settled {
                // The message comes again and finds what was done.
                tracing::warn!(%error, disposition = what, "a delivery was not settled");
            },
            () = late => tracing::warn!(disposition = what, "a delivery was not settled in time"),
        }
    }

    /// The first fatal error is the cause of the exit; what follows is its echo.
    pub fn die(&self, error: JobError) {
        tracing::error!(%error, "the worker cannot go on");
        self.stop.cause.get_or_init(|| error.to_string());
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.drain.cancel();
    }
}
