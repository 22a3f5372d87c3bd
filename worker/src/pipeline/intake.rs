//! The intake loop: takes deliveries while there are permits, and alone settles them. Nothing is done by default:
//! a delivery dropped on any path goes back to its queue.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use nightread_domain::announcement::{AllowedSources, Announced, Resolved, parse, split};
use nightread_domain::message::Attributes;
use nightread_domain::ports::Sink;
use nightread_domain::result::ErrorFacts;
use nightread_domain::{
    Delivery, Disposition, ErrorCode, Intake, Job, JobError, Lane, Message, Notice, Settlement, Stage, Study,
};
use tokio::sync::{RwLock, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::process::{done_before, process};
use super::sinks;
use super::together::Processed;
use super::tools::Tools;
use crate::flow::observer::Observer;
use crate::flow::valve::{Pause, PauseReason, Valve};
use crate::telemetry::traces;

/// From this many earlier deliveries on, a message may kill workers and runs alone. Most are innocent:
/// drains and kills hand out again whatever was prefetched.
const QUARANTINE_DELIVERIES: u32 = 2;

/// At this many starts in quarantine it is given up. Quarantined messages are prefetched singly, so that nothing but a start counts.
const DEADLY_STARTS: u32 = 8;

/// What giving back may take once everything is to be given back: the machine may have seconds.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(3);

/// What a run does while storage is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Takes nothing and probes until it answers: for the service.
    Wait,
    /// Ends and says why: somebody waits.
    End,
}

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

/// One worker's run over one intake.
#[derive(Debug)]
pub struct Run {
    pub tools: Arc<Tools>,
    pub allowed: AllowedSources,
    pub observer: Arc<dyn Observer>,
    /// Told of every document that stands, in this order.
    pub sinks: Vec<Arc<dyn Sink>>,
    pub stop: Stop,
    /// Closed while work would be in vain. The intake obeys it too.
    pub valve: Valve,
    pub drain_deadline: Duration,
    pub outage: Outage,
    pub limit: Option<JobLimit>,
}

/// Counts a delivery while it is in flight, also when its handler panics.
struct InFlight {
    observer: Arc<dyn Observer>,
    lane: Lane,
    announced_at: Option<u64>,
}

impl InFlight {
    fn new(observer: &Arc<dyn Observer>, message: &Attributes) -> Self {
        observer.delivery_taken(message);
        Self { observer: Arc::clone(observer), lane: message.lane, announced_at: message.announced_at }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.observer.delivery_left(self.lane, self.announced_at);
    }
}

/// What a message asks for: work, or nothing but to be settled.
#[derive(Debug)]
enum Step {
    Job(Job),
    Settle(Disposition),
}

/// What becomes of a delivery, and what is to be told first.
type Decided = (Disposition, Vec<Notice>);

#[derive(Debug)]
struct Shared {
    run: Run,
    /// Read by every job, written by a quarantined message.
    alone: RwLock<()>,
    fatal: Mutex<Option<JobError>>,
}

impl Run {
    /// Consumes until the intake ends, a stop is asked for, or something fatal happens.
    pub async fn run(self, mut intake: Box<dyn Intake>) -> RunEnd {
        match self.tools.versions_agree().await {
            // Storage that is away is the jobs' to meet, and what they find there is judged again.
            Err(error) if error.is_fatal() => return RunEnd::Fatal(error),
            Ok(()) | Err(_) => {}
        }
        let permits = Arc::new(Semaphore::new(self.tools.limits.jobs));
        let shared = Arc::new(Shared { alone: RwLock::new(()), fatal: Mutex::new(None), run: self });
        let stop = shared.run.stop.clone();
        let watching = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let tools = &shared.run.tools;
                tools.outages.watch(tools.limits.probe_interval, &*shared.run.observer).await;
            }
        });
        let pausing = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { shared.follow_outages().await }
        });
        let jobs = TaskTracker::new();
        let mut taken_so_far = 0;
        while shared.wants_more(taken_so_far) {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
                shared.run.valve.opened().await;
                match intake.next().await {
                    Ok(delivery) => delivery.map(|delivery| (permit, delivery)),
                    Err(error) => {
                        shared.die(error);
                        None
                    }
                }
            };
            let taken = tokio::select! {
                biased;
                () = stop.drain.cancelled() => None,
                () = stop.abandon.cancelled() => None,
                taken = next => taken,
                () = shared.nothing_comes(&jobs) => None,
            };
            let Some((permit, delivery)) = taken else { break };
            taken_so_far += 1;
            let handler = Arc::clone(&shared);
            jobs.spawn(async move {
                let _counted = InFlight::new(&handler.run.observer, &delivery.message.attributes);
                handler.handle(delivery).await;
                drop(permit);
            });
        }
        intake.stop().await;
        jobs.close();
        if shared.run.limit.is_some() {
            // Its jobs are what it is for: only who stops it hurries them.
            tokio::select! {
                () = jobs.wait() => {}
                () = stop.drain.cancelled() => {}
                () = stop.abandon.cancelled() => {}
            }
        }
        let finished = timeout(shared.run.drain_deadline, jobs.wait()).await.is_ok();
        if !finished {
            tracing::warn!("the drain deadline passed; returning what is in flight");
            stop.abandon.cancel();
            // Handlers see the token and drop their deliveries; this wait is short.
            jobs.wait().await;
        }
        watching.abort();
        pausing.abort();
        match shared.fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => RunEnd::Fatal(error),
            None if stop.abandon.is_cancelled() => RunEnd::GaveBack,
            None => RunEnd::Drained,
        }
    }
}

impl Shared {
    fn wants_more(&self, taken: usize) -> bool {
        self.run.limit.is_none_or(|limit| taken < limit.jobs.get())
    }

    /// Ends when a run of so many jobs has waited in vain; never while one of them is in flight.
    async fn nothing_comes(&self, jobs: &TaskTracker) {
        let Some(limit) = self.run.limit else { return std::future::pending().await };
        loop {
            tokio::time::sleep(limit.patience).await;
            if jobs.is_empty() {
                tracing::info!("no further delivery came");
                return;
            }
        }
    }

    async fn handle(self: Arc<Self>, delivery: Delivery) {
        let Delivery { message, mut settlement } = delivery;
        let abandoned = self.run.stop.abandon.cancelled();
        let decided = tokio::select! {
            biased;
            () = abandoned => {
                let _ = timeout(GIVE_BACK_PATIENCE, settlement.settle(Disposition::Return)).await;
                return;
            }
            decided = AssertUnwindSafe(self.decide(&message)).catch_unwind() => decided,
        };
        let (disposition, notices) = decided.unwrap_or_else(|_panic| {
            tracing::error!("a job panicked; its message goes into quarantine");
            (Disposition::Quarantine { started: true }, Vec::new())
        });
        settlement.tell_first(notices);
        if let Disposition::DeadLetter { error } = &disposition {
            let id = message.attributes.message_id.as_deref().unwrap_or("");
            tracing::warn!(message_id = id, code = %error.code, %error, "dead-lettered");
        }
        self.settle(settlement, disposition).await;
    }

    /// As long as it takes, but for a worker that must go: what is dropped comes again.
    async fn settle(&self, settlement: Box<dyn Settlement>, disposition: Disposition) {
        let what = disposition.as_str();
        let late = async {
            self.run.stop.abandon.cancelled().await;
            tokio::time::sleep(GIVE_BACK_PATIENCE).await;
        };
        tokio::select! {
            settled = settlement.settle(disposition) => if let Err(error) = settled {
                // The message comes again and finds its result.
                tracing::warn!(%error, disposition = what, "a delivery was not settled");
            },
            () = late => tracing::warn!(disposition = what, "a delivery was not settled in time"),
        }
    }

    async fn decide(&self, message: &Message) -> Decided {
        let settled = |disposition: Disposition| {
            self.run.observer.message_settled(&disposition);
            (disposition, Vec::new())
        };
        let Attributes { quarantined, delivery_count, .. } = message.attributes;
        if !quarantined && delivery_count >= QUARANTINE_DELIVERIES {
            return settled(Disposition::Quarantine { started: false });
        }
        let job = match self.job_of(message) {
            Ok(Step::Job(job)) => job,
            Ok(Step::Settle(disposition)) => return settled(disposition),
            Err(error) => return settled(dead(error)),
        };
        if quarantined && delivery_count >= DEADLY_STARTS {
            match done_before(&job, message.attributes.lane, &self.run.tools).await {
                // A study that is stored is done, whatever became of its workers.
                Ok((processed, true)) => return self.conclude(processed).await,
                Ok((processed, false)) if processed.reports.is_empty() => {
                    return settled(dead(given_up(delivery_count)));
                }
                // What some of its models stored goes on.
                Ok((processed, false)) => {
                    let disposition = dead(given_up(delivery_count));
                    return self.conclude(Processed { disposition, ..processed }).await;
                }
                // Whoever cannot ask cannot read either: the job fails for that reason.
                Err(_) => {}
            }
        }
        self.job(job, message).await
    }

    fn job_of(&self, message: &Message) -> Result<Step, JobError> {
        // A batch is taken apart first, so that one bad event does not take the others with it.
        if let Some(parts) = split(message)? {
            return Ok(Step::Settle(Disposition::Split(parts)));
        }
        for announced in parse(message)? {
            match announced {
                Announced::Ignored { event_type } => self.run.observer.event_ignored(&event_type),
                Announced::Job(announcement) => match announcement.resolve(&self.run.allowed)? {
                    Resolved::Blob(source) => {
                        return Ok(Step::Job(Job::new(source, &announcement, &message.attributes)));
                    }
                    Resolved::Series(series) => {
                        let study = Study::Announced(series);
                        return Ok(Step::Job(Job::new(study, &announcement, &message.attributes)));
                    }
                    Resolved::OwnResult => self.run.observer.event_ignored("own_result"),
                },
            }
        }
        Ok(Step::Settle(Disposition::Done))
    }

    async fn job(&self, job: Job, message: &Message) -> Decided {
        let attributes = &message.attributes;
        // Ids only: a blob's name may hold what a log must not.
        let span = tracing::info_span!(
            "job",
            message_id = attributes.message_id.as_deref().unwrap_or(""),
            correlation_id = job.correlation_id.as_deref().unwrap_or(""),
            lane = attributes.lane.as_str(),
            attempt = job.attempt,
            deliveries = attributes.delivery_count,
        );
        traces::adopt(&span, attributes.traceparent.as_deref());
        async {
            let turn = attributes.delivery_count;
            let processed = if attributes.quarantined {
                let _alone = self.alone.write().await;
                process(&job, attributes.lane, turn, &self.run.tools).await
            } else {
                let _beside_others = self.alone.read().await;
                process(&job, attributes.lane, turn, &self.run.tools).await
            };
            self.conclude(processed).await
        }
        .instrument(span)
        .await
    }

    /// Takes what is stored further, tells the observer, and has the last word.
    async fn conclude(&self, processed: Processed) -> Decided {
        let Processed { disposition, reports, fatal } = processed;
        // Whoever waits for this run is told at once.
        if let (Outage::End, Disposition::Postpone { error, .. }) = (self.run.outage, &disposition) {
            self.die(error.clone());
            self.run.stop.abandon.cancel();
        }
        let disposition = match (disposition, fatal) {
            (Disposition::Return, Some(facts)) => self.cannot_go_on(facts),
            (other, _) => other,
        };
        let (disposition, notices) = sinks::deliver(&self.run.sinks, &reports, disposition).await;
        for report in &reports {
            tracing::info!(
                outcome = report.outcome.as_str(),
                model = report.model,
                code = report.outcome.code().map_or("", ErrorCode::as_str),
                error = report.error.as_ref().map(|facts| facts.message.as_str()),
                disposition = disposition.as_str(),
                elapsed_ms = report.elapsed.as_secs_f64() * 1e3,
                "job ended"
            );
        }
        self.run.observer.job_ended(&reports, &disposition);
        (disposition, notices)
    }

    fn cannot_go_on(&self, facts: ErrorFacts) -> Disposition {
        let ErrorFacts { stage, code, message } = facts;
        self.die(JobError::new(stage, code, message));
        // An engine may have failed over this very input. What is wrong with the world is no job's fault.
        if matches!(code, ErrorCode::EngineFailed | ErrorCode::Internal) {
            Disposition::Quarantine { started: true }
        } else {
            Disposition::Return
        }
    }

    /// Takes nothing while no job can end.
    async fn follow_outages(&self) {
        let mut pauses = self.run.tools.outages.pauses();
        let mut held: Option<Pause> = None;
        loop {
            let why = pauses.borrow_and_update().as_ref().map(ToString::to_string);
            // The old one goes when the new one is there, so that nothing is taken between them.
            let pause = why.map(|why| self.run.valve.pause(PauseReason::Storage, why));
            drop(std::mem::replace(&mut held, pause));
            if pauses.changed().await.is_err() {
                return;
            }
        }
    }

    /// The first fatal error is the cause of the exit; what follows is its echo.
    fn die(&self, error: JobError) {
        tracing::error!(%error, "the worker cannot go on");
        self.run.stop.cause.get_or_init(|| error.to_string());
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.run.stop.drain.cancel();
    }
}

fn given_up(starts: u32) -> JobError {
    let times = starts + QUARANTINE_DELIVERIES;
    let text = format!("handed out {times} times, the last {starts} alone, and never finished");
    JobError::new(Stage::Settle, ErrorCode::WorkerDied, text)
}

fn dead(error: JobError) -> Disposition {
    Disposition::DeadLetter { error }
}
