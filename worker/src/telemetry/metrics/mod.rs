//! How every metric is counted. Which there are: [`table`]. Labels come from closed sets, never from a message.

pub mod process;
pub mod table;
mod zero;

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{
    counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use nightread_domain::{Disposition, ErrorCode, Lane};

use self::table::{
    ASSEMBLED, BACKLOG_AGE, BACKLOG_MESSAGES, BACKLOG_SECONDS, BACKLOG_WORKERS, BATCH_ITEMS, BATCHES,
    BROKER_BLOCKED, BROKER_CERTIFICATE, BROKER_SESSIONS, BROKER_UP, BUILD_INFO, CONTAINER_UP, DEAD_LETTERS,
    DELIVERED_OBJECTS, DELIVERIES, DELIVERY_ERRORS, DELIVERY_SECONDS, EVENT_POLLS, EVENTS, EVENTS_IGNORED,
    JOB_ERRORS, JOB_SECONDS, JOBS, JOBS_IN_FLIGHT, Kind, MESSAGE_COST, MESSAGES, METRICS, Metric,
    OLDEST_JOB_AGE, OPEN_SERIES, OUTBOX, PATCHES, PAUSED, PUBLISH_FAILURES, QUEUE_WAITED, RELAYED, SETS,
    STAGE_SECONDS, STORAGE_OUTAGE, STORAGE_QUEUE, TARGET_UP, Teller, UNDELIVERED, WAITED, WEBHOOK,
};

use crate::flow::WORKER_VERSION;
use crate::flow::report::JobReport;
use crate::flow::valve::PauseReason;

/// Installs the recorder for this process; the handle renders the text form. What `teller` tells and is no matter of models
/// starts at 0 here.
pub fn install(teller: Teller) -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let handle = builder.install_recorder()?;
    METRICS.iter().filter(|metric| metric.told_by.contains(&teller)).for_each(describe);
    process::describe();
    gauge!(BUILD_INFO.name, "version" => WORKER_VERSION).set(1.0);
    zero::start(teller);
    Ok(handle)
}

/// What stands in the registry, and what the kernel tells of this process.
pub fn render(handle: &PrometheusHandle) -> String {
    process::collect();
    handle.render()
}

fn describe(metric: &Metric) {
    let (name, text) = (metric.name, metric.meaning.replace('`', ""));
    match (metric.kind, metric.unit) {
        (Kind::Counter, Some(unit)) => describe_counter!(name, unit, text),
        (Kind::Counter, None) => describe_counter!(name, text),
        (Kind::Gauge, Some(unit)) => describe_gauge!(name, unit, text),
        (Kind::Gauge, None) => describe_gauge!(name, text),
        (Kind::Histogram(_), Some(unit)) => describe_histogram!(name, unit, text),
        (Kind::Histogram(_), None) => describe_histogram!(name, text),
    }
}

/// The models that jobs may be read by are known: their series start.
pub fn models<'a>(names: impl Iterator<Item = &'a str>) {
    zero::models(names);
}

/// A delivery came into hand, so many seconds after it was announced.
pub fn delivery_taken(lane: Lane, age: Option<u64>) {
    gauge!(JOBS_IN_FLIGHT.name).increment(1.0);
    if let Some(age) = age {
        histogram!(WAITED.name, "lane" => lane.as_str()).record(age as f64);
    }
}

/// A delivery's handler is gone, whatever became of it.
pub fn delivery_left() {
    gauge!(JOBS_IN_FLIGHT.name).decrement(1.0);
}

/// A job ended, with a report of each model's part, and its delivery is settled so.
pub fn job_ended(reports: &[JobReport], disposition: &Disposition) {
    // What was done once for all models is in each document.
    let mut shared = true;
    for report in reports {
        let (outcome, lane, model) = (report.outcome.as_str(), report.lane.as_str(), report.model.clone());
        counter!(JOBS.name, "outcome" => outcome, "lane" => lane, "model" => model).increment(1);
        if let Some(code) = report.outcome.code() {
            counter!(JOB_ERRORS.name, "outcome" => outcome, "code" => code.as_str()).increment(1);
        }
        histogram!(JOB_SECONDS.name, "lane" => lane).record(report.elapsed.as_secs_f64());
        // A document that was there already tells the times of somebody else's work.
        if report.fresh
            && let Some(document) = &report.document
        {
            for (stage, milliseconds) in &document.timing_ms {
                if stage == "total" || (!shared && matches!(stage.as_str(), "fetch" | "decode")) {
                    continue;
                }
                let seconds = Duration::from_secs_f64(milliseconds / 1e3).as_secs_f64();
                histogram!(STAGE_SECONDS.name, "stage" => stage.clone()).record(seconds);
            }
            shared = false;
        }
    }
    message_settled(disposition);
}

/// A message was settled.
pub fn message_settled(disposition: &Disposition) {
    let code = disposition.code().map_or("", |code| code.as_str());
    counter!(MESSAGES.name, "disposition" => disposition.as_str(), "code" => code).increment(1);
}

/// One patch of a volume.
pub fn patch_computed() {
    counter!(PATCHES.name).increment(1);
}

/// An event that is no job.
pub fn event_ignored(own_result: bool) {
    counter!(EVENTS_IGNORED.name, "kind" => if own_result { "own_result" } else { "other_type" })
        .increment(1);
}

pub fn storage_outage(open: bool) {
    gauge!(STORAGE_OUTAGE.name).set(f64::from(u8::from(open)));
}

/// A container of the settings lets jobs in, or does not.
pub fn container(name: &str, answers: bool) {
    gauge!(CONTAINER_UP.name, "container" => name.to_owned()).set(f64::from(u8::from(answers)));
}

/// The broker session came up or went down.
pub fn broker_session(up: bool) {
    gauge!(BROKER_UP.name).set(f64::from(u8::from(up)));
    if up {
        counter!(BROKER_SESSIONS.name).increment(1);
    }
}

/// The broker showed a certificate that ends then, in seconds since 1970.
pub fn broker_certificate(ends: i64) {
    gauge!(BROKER_CERTIFICATE.name).set(ends as f64);
}

/// The broker is short of memory or disk, as its last word says.
pub fn broker_blocked(blocked: bool) {
    gauge!(BROKER_BLOCKED.name).set(f64::from(u8::from(blocked)));
}

/// The broker did not take a message; it is tried again.
pub fn publish_failed() {
    counter!(PUBLISH_FAILURES.name).increment(1);
}

/// Whether nothing is taken for this reason.
pub fn paused(reason: PauseReason, yes: bool) {
    gauge!(PAUSED.name, "reason" => reason.as_str()).set(f64::from(u8::from(yes)));
}

/// A message was `recorded` in the outbox, or `told` from it.
pub fn outbox(what: &'static str) {
    counter!(OUTBOX.name, "event" => what).increment(1);
}

/// The broker has a message that was in the Storage queue for so long.
pub fn queue_waited(time: Duration) {
    histogram!(QUEUE_WAITED.name).record(time.as_secs_f64());
}

/// A message of the Storage queue was handled.
pub fn relayed(outcome: &'static str) {
    counter!(RELAYED.name, "outcome" => outcome).increment(1);
}

/// An event was handled by who assembles series.
pub fn assembled(outcome: &'static str) {
    counter!(ASSEMBLED.name, "outcome" => outcome).increment(1);
}

/// The broker has the announcement of a set, which may be the second.
pub fn set_announced(again: bool) {
    counter!(SETS.name, "outcome" => if again { "again" } else { "announced" }).increment(1);
}

/// So many series have something that is not announced yet.
pub fn open_series(count: u64) {
    gauge!(OPEN_SERIES.name).set(count as f64);
}

/// The archives that results may go to are known: their series start.
pub fn targets<'a>(names: impl Iterator<Item = &'a str>) {
    zero::targets(names);
}

/// What was to be done for an archive is done, or was not.
pub fn delivery_ended(target: &str, outcome: &'static str, code: Option<ErrorCode>, time: Duration) {
    counter!(DELIVERIES.name, "target" => target.to_owned(), "outcome" => outcome).increment(1);
    if let Some(code) = code {
        counter!(DELIVERY_ERRORS.name, "target" => target.to_owned(), "code" => code.as_str()).increment(1);
    }
    histogram!(DELIVERY_SECONDS.name, "target" => target.to_owned()).record(time.as_secs_f64());
}

/// An archive has an object.
pub fn object_delivered(target: &str, kind: &'static str) {
    counter!(DELIVERED_OBJECTS.name, "target" => target.to_owned(), "kind" => kind).increment(1);
}

/// Whether results are sent to an archive.
pub fn target_up(target: &str, up: bool) {
    gauge!(TARGET_UP.name, "target" => target.to_owned()).set(f64::from(u8::from(up)));
}

/// So many results have not reached their archives.
pub fn undelivered(state: &'static str, count: u32) {
    gauge!(UNDELIVERED.name, "state" => state).set(f64::from(count));
}

/// A delivery in flight; dropped, it is not any more.
#[derive(Debug)]
pub struct InFlight(());

impl InFlight {
    pub fn begun() -> Self {
        gauge!(JOBS_IN_FLIGHT.name).increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        delivery_left();
    }
}

/// A request of the webhook was answered.
pub fn webhook_answered(kind: &'static str, status: u16) {
    counter!(WEBHOOK.name, "kind" => kind, "status" => status.to_string()).increment(1);
}

/// How much the Storage queue holds; of the poison queue, where it may be asked.
pub fn storage_queue(depth: u64, poison: Option<u64>) {
    gauge!(STORAGE_QUEUE.name, "queue" => "main").set(depth as f64);
    if let Some(poison) = poison {
        gauge!(STORAGE_QUEUE.name, "queue" => "poison").set(poison as f64);
    }
}

/// Totals of the engine, read when the metrics are rendered.
pub fn engine_totals(items: u64, batches: u64) {
    counter!(BATCH_ITEMS.name).absolute(items);
    counter!(BATCHES.name).absolute(batches);
}

/// The metadata service was asked, and answered or not.
pub fn events_asked(answered: bool) {
    counter!(EVENT_POLLS.name, "outcome" => if answered { "answered" } else { "failed" }).increment(1);
}

/// An event that ends this worker was announced.
pub fn event_announced(kind: &'static str) {
    counter!(EVENTS.name, "kind" => kind).increment(1);
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

/// These figures as text, beside what [`render`] gives: made anew of every look, so that no figure outlives what it tells of.
pub fn backlog(figures: &BacklogFigures) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        let told = [
            BACKLOG_MESSAGES,
            MESSAGE_COST,
            BACKLOG_SECONDS,
            BACKLOG_WORKERS,
            DEAD_LETTERS,
            OLDEST_JOB_AGE,
            STORAGE_QUEUE,
        ];
        told.iter().for_each(describe);
        set_backlog(figures);
    });
    recorder.handle().render()
}

/// So long ago a look at the backlog could count.
pub fn backlog_seen(age: Duration) {
    gauge!(BACKLOG_AGE.name).set(age.as_secs_f64());
}

fn set_backlog(figures: &BacklogFigures) {
    for (state, counts) in [("ready", &figures.ready), ("unacknowledged", &figures.unacknowledged)] {
        for (queue, count) in counts {
            gauge!(BACKLOG_MESSAGES.name, "queue" => queue.clone(), "state" => state).set(*count);
        }
    }
    for (queue, seconds) in &figures.seconds_each {
        gauge!(MESSAGE_COST.name, "queue" => queue.clone()).set(*seconds);
    }
    gauge!(BACKLOG_SECONDS.name).set(figures.seconds_per_worker);
    gauge!(BACKLOG_WORKERS.name).set(figures.workers as f64);
    gauge!(DEAD_LETTERS.name).set(figures.dead_letters as f64);
    gauge!(OLDEST_JOB_AGE.name).set(figures.oldest_job_age_seconds as f64);
    if let Some(messages) = figures.storage_queue {
        storage_queue(messages, None);
    }
}
