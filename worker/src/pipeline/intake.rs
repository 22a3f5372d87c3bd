//! What a worker does with deliveries: from a message to a job, and from what became of it to what becomes of the delivery.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use nightread_domain::announcement::{AllowedSources, Announced, Resolved, parse, split};
use nightread_domain::message::Attributes;
use nightread_domain::ports::Sink;
use nightread_domain::result::ErrorFacts;
use nightread_domain::{Disposition, ErrorCode, Intake, Job, JobError, Lane, Message, Stage, Study};
use tokio::sync::RwLock;
use tracing::Instrument;

use super::near_memory::Starts;
use super::process::{done_before, process};
use super::serving::{Decided, Handler, JobLimit, RunEnd, Serving, Stop};
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

/// What a run does while storage is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Takes nothing and probes until it answers: for the service.
    Wait,
    /// Ends and says why: somebody waits.
    End,
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

#[derive(Debug)]
struct Shared {
    run: Run,
    /// Read by every job, written by a quarantined message.
    alone: RwLock<()>,
    serving: Arc<Serving>,
}

impl Run {
    /// Consumes until the intake ends, a stop is asked for, or something fatal happens.
    pub async fn run(self, intake: Box<dyn Intake>) -> RunEnd {
        match self.tools.versions_agree().await {
            // Storage that is away is the jobs' to meet, and what they find there is judged again.
            Err(error) if error.is_fatal() => return RunEnd::Fatal(error),
            Ok(()) | Err(_) => {}
        }
        let serving = Arc::new(Serving {
            stop: self.stop.clone(),
            valve: self.valve.clone(),
            permits: self.tools.limits.jobs,
            drain_deadline: self.drain_deadline,
            limit: self.limit,
            fatal: Mutex::new(None),
        });
        let shared = Arc::new(Shared { alone: RwLock::new(()), serving: Arc::clone(&serving), run: self });
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
        let ended = serving.run(intake, shared).await;
        watching.abort();
        pausing.abort();
        ended
    }
}

#[async_trait]
impl Handler for Shared {
    type InFlight = InFlight;

    fn taken(&self, message: &Message) -> InFlight {
        InFlight::new(&self.run.observer, &message.attributes)
    }

    async fn decide(&self, message: &Message) -> Decided {
        self.decided(message).await
    }

    fn of_panic(&self) -> Disposition {
        tracing::error!("a job panicked; its message goes into quarantine");
        Disposition::Quarantine { started: true }
    }
}

impl Shared {
    async fn decided(&self, message: &Message) -> Decided {
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
        if quarantined && let Some(error) = self.given_up(message).await {
            match done_before(&job, message.attributes.lane, &self.run.tools).await {
                // A study that is stored is done, whatever became of its workers.
                Ok((processed, true)) => {
                    self.starts(message).forget().await;
                    return self.conclude(processed).await;
                }
                Ok((processed, false)) if processed.reports.is_empty() => return settled(dead(error)),
                // What some of its models stored goes on.
                Ok((processed, false)) => {
                    let disposition = dead(error);
                    return self.conclude(Processed { disposition, ..processed }).await;
                }
                // Whoever cannot ask cannot read either: the job fails for that reason.
                Err(_) => {}
            }
        }
        self.job(job, message).await
    }

    /// Why a quarantined message is not begun once more.
    async fn given_up(&self, message: &Message) -> Option<JobError> {
        let starts = message.attributes.delivery_count;
        // Whoever cannot ask for notes reads: the study's own error tells more.
        let for_memory = self.starts(message).judged(starts).await.unwrap_or_default();
        for_memory.or_else(|| (starts >= DEADLY_STARTS).then(|| died(starts)))
    }

    fn starts(&self, message: &Message) -> Starts<'_> {
        let tools = &self.run.tools;
        Starts::of(message, &*tools.results, &tools.results_container)
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
            let deliveries = attributes.delivery_count;
            let turn = deliveries.wrapping_add(job.attempt);
            let processed = if attributes.quarantined {
                let _alone = self.alone.write().await;
                let starts = self.starts(message);
                let processing = Box::pin(process(&job, attributes.lane, turn, &self.run.tools));
                let processed = starts.beside(deliveries, processing).await;
                match &processed.fatal {
                    // The worker ends for want of memory, which is what notes are of.
                    Some(facts) if facts.code == ErrorCode::MemoryRefused => starts.note(deliveries).await,
                    _ => starts.forget().await,
                }
                processed
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
            self.serving.die(error.clone());
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
        self.serving.die(JobError::new(stage, code, message));
        // An engine may have failed over this very input, or it be what there is no memory for. What is wrong with the world is no
        // job's fault.
        if matches!(code, ErrorCode::EngineFailed | ErrorCode::MemoryRefused | ErrorCode::Internal) {
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
}

fn died(starts: u32) -> JobError {
    let times = starts + QUARANTINE_DELIVERIES;
    let text = format!("handed out {times} times, the last {starts} alone, and never finished");
    JobError::new(Stage::Settle, ErrorCode::WorkerDied, text)
}

fn dead(error: JobError) -> Disposition {
    Disposition::DeadLetter { error }
}
