//! Every metric there is, with its unit and labels. Labels come from closed sets, never from a message.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use nightread_domain::{Disposition, Lane};

use crate::pipeline::process::{Report, WORKER_VERSION};
use crate::pipeline::valve::PauseReason;

const JOBS: &str = "nightread_jobs_total";
const STAGE_SECONDS: &str = "nightread_stage_seconds";
const JOB_SECONDS: &str = "nightread_job_seconds";
const WAIT_SECONDS: &str = "nightread_wait_seconds";
const MESSAGES: &str = "nightread_messages_total";
const EVENTS_IGNORED: &str = "nightread_events_ignored_total";
const JOBS_IN_HAND: &str = "nightread_jobs_in_hand";
const STORAGE_OUTAGE: &str = "nightread_storage_outage";
const CONTAINER_UP: &str = "nightread_storage_container_up";
const BROKER_UP: &str = "nightread_broker_up";
const BROKER_SESSIONS: &str = "nightread_broker_sessions_total";
const BROKER_BLOCKED: &str = "nightread_broker_blocked";
const PUBLISH_FAILURES: &str = "nightread_publish_failures_total";
const PAUSED: &str = "nightread_paused";
const OUTBOX: &str = "nightread_outbox_records_total";
const BATCH_ITEMS: &str = "nightread_batch_items_total";
const BATCHES: &str = "nightread_batches_total";
const RELAYED: &str = "nightread_relay_messages_total";
const WEBHOOK: &str = "nightread_webhook_requests_total";
const STORAGE_QUEUE: &str = "nightread_storage_queue_messages";
const BUILD_INFO: &str = "nightread_build_info";
const EVENT_POLLS: &str = "nightread_scheduled_event_polls_total";
const EVENTS: &str = "nightread_scheduled_events_total";
const BACKLOG_MESSAGES: &str = "nightread_backlog_messages";
const BACKLOG_SECONDS: &str = "nightread_backlog_seconds_per_worker";
const BACKLOG_WORKERS: &str = "nightread_backlog_workers";
const MESSAGE_COST: &str = "nightread_message_cost_seconds";
const DEAD_LETTERS: &str = "nightread_dead_letters";
const OLDEST_JOB_AGE: &str = "nightread_oldest_job_age_seconds";

/// From a millisecond (a tiny picture's decode) to minutes (a scan).
const SECONDS_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

/// Installs the recorder for this process; the handle renders the text form.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    describe();
    gauge!(BUILD_INFO, "version" => WORKER_VERSION).set(1.0);
    Ok(handle)
}

fn describe() {
    describe_counter!(JOBS, "jobs ended, by outcome, error code and lane");
    describe_histogram!(STAGE_SECONDS, Unit::Seconds, "time of one stage of one job");
    describe_histogram!(JOB_SECONDS, Unit::Seconds, "time of one job, from delivery to settled, by lane");
    describe_histogram!(WAIT_SECONDS, Unit::Seconds, "age of a message at its delivery, by lane");
    describe_counter!(MESSAGES, "messages settled, by disposition and error code");
    describe_counter!(EVENTS_IGNORED, "events that are no job: own results, and event types of no concern");
    describe_gauge!(JOBS_IN_HAND, "jobs being worked on");
    describe_gauge!(STORAGE_OUTAGE, "1 while storage is away and intake pauses");
    describe_gauge!(CONTAINER_UP, "1 while a container of the settings lets jobs in, 0 while its jobs wait");
    describe_gauge!(BROKER_UP, "1 while the broker session is up");
    describe_counter!(BROKER_SESSIONS, "broker sessions opened");
    describe_gauge!(BROKER_BLOCKED, "1 while the broker is short of memory or disk and takes no messages");
    describe_counter!(PUBLISH_FAILURES, "messages that the broker did not take at the first or a later try");
    describe_gauge!(PAUSED, "1 while nothing is taken for this reason");
    describe_counter!(
        OUTBOX,
        "messages recorded with the results because the broker took none, and told later"
    );
    describe_counter!(BATCH_ITEMS, "items that went through the inference engine");
    describe_counter!(BATCHES, "batches that the inference engine ran");
    describe_counter!(RELAYED, "messages taken from the Storage queue, by outcome");
    describe_counter!(WEBHOOK, "requests of the webhook, by what was asked and how it was answered");
    describe_gauge!(
        STORAGE_QUEUE,
        "messages in the Storage queue and its poison queue, hidden ones included"
    );
    describe_counter!(EVENT_POLLS, "questions to the instance metadata service for scheduled events");
    describe_counter!(EVENTS, "scheduled events that ended this worker, by kind");
    describe_gauge!(BACKLOG_MESSAGES, "messages of a queue of work, ready or unacknowledged");
    describe_gauge!(BACKLOG_SECONDS, Unit::Seconds, "seconds of work that wait for each worker");
    describe_gauge!(BACKLOG_WORKERS, "workers that consume");
    describe_gauge!(MESSAGE_COST, Unit::Seconds, "seconds of one worker for one message of a queue");
    describe_gauge!(DEAD_LETTERS, "dead letters");
    describe_gauge!(
        OLDEST_JOB_AGE,
        Unit::Seconds,
        "age of the oldest job that a worker saw or that nobody takes"
    );
    describe_gauge!(BUILD_INFO, "1, labelled with the version of this worker");
}

/// A delivery came into hand, so many seconds after it was announced.
pub fn delivery_taken(lane: Lane, age: Option<u64>) {
    gauge!(JOBS_IN_HAND).increment(1.0);
    if let Some(age) = age {
        histogram!(WAIT_SECONDS, "lane" => lane.as_str()).record(age as f64);
    }
}

/// A delivery's handler is gone, whatever became of it.
pub fn delivery_left() {
    gauge!(JOBS_IN_HAND).decrement(1.0);
}

/// A job ended and its delivery is settled so.
pub fn job_ended(report: &Report, disposition: &Disposition) {
    let code = report.outcome.code().map_or("", |code| code.as_str());
    let lane = report.lane.as_str();
    counter!(JOBS, "outcome" => report.outcome.as_str(), "code" => code, "lane" => lane).increment(1);
    histogram!(JOB_SECONDS, "lane" => lane).record(report.elapsed.as_secs_f64());
    // A document that was there already tells the times of somebody else's work.
    if report.is_fresh()
        && let Some(document) = &report.document
    {
        for (stage, milliseconds) in document.timing_ms.iter().filter(|(stage, _)| *stage != "total") {
            let seconds = Duration::from_secs_f64(milliseconds / 1e3).as_secs_f64();
            histogram!(STAGE_SECONDS, "stage" => stage.clone()).record(seconds);
        }
    }
    message_settled(disposition);
}

/// A message was settled.
pub fn message_settled(disposition: &Disposition) {
    let code = disposition.code().map_or("", |code| code.as_str());
    counter!(MESSAGES, "disposition" => disposition.as_str(), "code" => code).increment(1);
}

/// An event that is no job.
pub fn event_ignored(own_result: bool) {
    counter!(EVENTS_IGNORED, "kind" => if own_result { "own_result" } else { "other_type" }).increment(1);
}

pub fn storage_outage(open: bool) {
    gauge!(STORAGE_OUTAGE).set(f64::from(u8::from(open)));
}

/// A container of the settings lets jobs in, or does not.
pub fn container(name: &str, answers: bool) {
    gauge!(CONTAINER_UP, "container" => name.to_owned()).set(f64::from(u8::from(answers)));
}

/// The broker session came up or went down.
pub fn broker_session(up: bool) {
    gauge!(BROKER_UP).set(f64::from(u8::from(up)));
    if up {
        counter!(BROKER_SESSIONS).increment(1);
    }
}

/// The broker is short of memory or disk, as its last word says.
pub fn broker_blocked(blocked: bool) {
    gauge!(BROKER_BLOCKED).set(f64::from(u8::from(blocked)));
}

/// The broker did not take a message; it is tried again.
pub fn publish_failed() {
    counter!(PUBLISH_FAILURES).increment(1);
}

/// Whether nothing is taken for this reason.
pub fn paused(reason: PauseReason, yes: bool) {
    gauge!(PAUSED, "reason" => reason.as_str()).set(f64::from(u8::from(yes)));
}

/// A message was `recorded` in the outbox, or `told` from it.
pub fn outbox(what: &'static str) {
    counter!(OUTBOX, "event" => what).increment(1);
}

/// A message of the Storage queue was handled.
pub fn relayed(outcome: &'static str) {
    counter!(RELAYED, "outcome" => outcome).increment(1);
}

/// A request of the webhook was answered.
pub fn webhook_answered(kind: &'static str, status: u16) {
    counter!(WEBHOOK, "kind" => kind, "status" => status.to_string()).increment(1);
}

/// How much the Storage queue holds; of the poison queue, where it may be asked.
pub fn storage_queue(depth: u64, poison: Option<u64>) {
    gauge!(STORAGE_QUEUE, "queue" => "main").set(depth as f64);
    if let Some(poison) = poison {
        gauge!(STORAGE_QUEUE, "queue" => "poison").set(poison as f64);
    }
}

/// Totals of the engine, read when the metrics are rendered.
pub fn engine_totals(items: u64, batches: u64) {
    counter!(BATCH_ITEMS).absolute(items);
    counter!(BATCHES).absolute(batches);
}

/// The metadata service was asked, and answered or not.
pub fn events_asked(answered: bool) {
    counter!(EVENT_POLLS, "outcome" => if answered { "answered" } else { "failed" }).increment(1);
}

/// An event that ends this worker was announced.
pub fn event_announced(kind: &'static str) {
    counter!(EVENTS, "kind" => kind).increment(1);
}

/// What `nightread backlog` found, queue by queue.
#[derive(Clone, Debug, Default)]
pub struct BacklogFigures {
    pub ready: BTreeMap<String, f64>,
    pub unacknowledged: BTreeMap<String, f64>,
    pub seconds_each: BTreeMap<String, f64>,
    pub seconds_per_worker: f64,
    pub workers: u64,
    pub dead_letters: u64,
    pub oldest_job_age_seconds: u64,
    pub storage_queue: Option<u64>,
}

pub fn backlog(figures: &BacklogFigures) {
    for (state, counts) in [("ready", &figures.ready), ("unacknowledged", &figures.unacknowledged)] {
        for (queue, count) in counts {
            gauge!(BACKLOG_MESSAGES, "queue" => queue.clone(), "state" => state).set(*count);
        }
    }
    for (queue, seconds) in &figures.seconds_each {
        gauge!(MESSAGE_COST, "queue" => queue.clone()).set(*seconds);
    }
    gauge!(BACKLOG_SECONDS).set(figures.seconds_per_worker);
    gauge!(BACKLOG_WORKERS).set(figures.workers as f64);
    gauge!(DEAD_LETTERS).set(figures.dead_letters as f64);
    gauge!(OLDEST_JOB_AGE).set(figures.oldest_job_age_seconds as f64);
    if let Some(messages) = figures.storage_queue {
        storage_queue(messages, None);
    }
}
