//! The one table of metrics. What is described to Prometheus and the reference page are made from it.

use metrics::Unit;

/// Which command tells a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    Run,
    Relay,
    Assemble,
    Deliver,
    Webhook,
    /// `nightread backlog --serve`.
    Backlog,
}

impl Teller {
    pub const ALL: [Self; 6] =
        [Self::Run, Self::Relay, Self::Assemble, Self::Deliver, Self::Webhook, Self::Backlog];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Relay => "relay",
            Self::Assemble => "assemble",
            Self::Deliver => "deliver",
            Self::Webhook => "webhook",
            Self::Backlog => "backlog",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As Prometheus calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Option<Unit>,
    pub labels: &'static [&'static str],
    pub told_by: &'static [Teller],
    /// For the reference; without backticks it is what Prometheus shows.
    pub meaning: &'static str,
}

/// From a millisecond (a tiny image's decode) to minutes (a scan), and fine where an image's job is slow but not stuck.
const WORK_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0,
    60.0, 120.0, 300.0, 600.0,
];

/// From a second, which is as fine as messages tell their time, to a day: a relabelling waits for a night.
const WAIT_SECONDS: &[f64] = &[
    1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
    14_400.0, 28_800.0, 43_200.0, 86_400.0,
];

macro_rules! metrics {
    ($($name:ident = $kind:expr, $text:literal, $unit:expr, [$($label:literal),*], [$($teller:ident),+], $meaning:literal;)*) => {
        $(pub const $name: Metric = Metric {
            name: $text,
            kind: $kind,
            unit: $unit,
            labels: &[$($label),*],
            told_by: &[$(Teller::$teller),+],
            meaning: $meaning,
        };)*

        /// Every metric, in the order of the reference.
        pub const METRICS: &[Metric] = &[$($name),*];
    };
}

use Kind::{Counter, Gauge, Histogram};
const SECONDS: Option<Unit> = Some(Unit::Seconds);

metrics! {
    JOBS = Counter, "nightread_jobs_total", None, ["outcome", "lane", "model"], [Run],
        "Jobs ended; where several models read a study, each one's part. `read`; `failed` (a failed-document says why); `already_done` (its result was there); `superseded` (a newer \
         version of the blob was read and stored meanwhile, so this result was dropped); `no_study` (the blob stands for a folder, or is a DICOM object \
         that holds no image: a report, a presentation, a segmentation, a result of ours that came back); `part_of_series` (one slice on a route that carries series, \
         which are announced as wholes); `unfinished` \
         (not ended: it comes again, through a delay or from its queue); `given_up` (a dead letter without a document). `model` is empty where none was chosen yet.";
    JOB_ERRORS = Counter, "nightread_job_errors_total", None, ["outcome", "code"], [Run],
        "Jobs that ended as `failed`, `unfinished` or `given_up`, by error code.";
    JOB_SECONDS = Histogram(WORK_SECONDS), "nightread_job_seconds", SECONDS, ["lane"], [Run],
        "Time of one job, from delivery to settled; where several models read a study, of each one's part, with what was done once for all.";
    WAITED = Histogram(WAIT_SECONDS), "nightread_wait_seconds", SECONDS, ["lane"], [Run],
        "Age of a message at its delivery, where its sender said when it was announced. What came through the relay counts from \
         when Event Grid put it into the Storage queue.";
    STAGE_SECONDS = Histogram(WORK_SECONDS), "nightread_stage_seconds", SECONDS, ["stage"], [Run],
        "Time of one stage of one job: `fetch` (with the digest) and `decode`, once for all models of a study, `preprocess`, `queue`, `infer`, `heatmaps`.";
    MESSAGES = Counter, "nightread_messages_total", None, ["disposition", "code"], [Run, Deliver],
        "Messages settled: `done`, `retried` (an attempt is counted), `postponed` (none is: the world was away), `dead_lettered`, \
         `quarantined` (handed out twice before, set aside to run alone), `split` (a batch, taken apart), `returned`.";
    PATCHES = Counter, "nightread_patches_total", None, [], [Run],
        "Patches of CT volumes that networks have gone over.";
    EVENTS_IGNORED = Counter, "nightread_events_ignored_total", None, ["kind"], [Run],
        "Events that are no job: `own_result`, `other_type`.";
    JOBS_IN_FLIGHT = Gauge, "nightread_jobs_in_flight", None, [], [Run, Deliver],
        "Deliveries being worked on.";
    STORAGE_OUTAGE = Gauge, "nightread_storage_outage", None, [], [Run],
        "1 while storage is away and intake pauses.";
    CONTAINER_UP = Gauge, "nightread_storage_container_up", None, ["container"], [Run],
        "1 while a container of the settings lets jobs in, 0 while its jobs wait.";
    PAUSED = Gauge, "nightread_paused", None, ["reason"], [Run, Deliver],
        "1 while nothing is taken: `storage`, `publishing`, `archives` (none of them answers; `nightread deliver`).";
    BROKER_UP = Gauge, "nightread_broker_up", None, [], [Run, Relay, Assemble, Deliver, Webhook],
        "1 while the broker session is up.";
    BROKER_SESSIONS = Counter, "nightread_broker_sessions_total", None, [], [Run, Relay, Assemble, Deliver, Webhook],
        "Broker sessions opened; growth means a flapping connection.";
    BROKER_CERTIFICATE = Gauge, "nightread_broker_certificate_expiry_timestamp_seconds", SECONDS, [], [Run, Relay, Assemble, Deliver, Webhook, Backlog],
        "When the certificate ends that the broker showed at the last connection, in seconds since 1970. Without TLS, and before the first connection, `+Inf`.";
    BROKER_BLOCKED = Gauge, "nightread_broker_blocked", None, [], [Run, Relay, Assemble, Deliver, Webhook],
        "1 while the broker is short of memory or disk and takes no messages from this connection.";
    PUBLISH_FAILURES = Counter, "nightread_publish_failures_total", None, [], [Run, Relay, Assemble, Deliver, Webhook],
        "Tries of a message that the broker did not take.";
    OUTBOX = Counter, "nightread_outbox_records_total", None, ["event"], [Run, Deliver],
        "Messages `recorded` with the results because the broker took none, and `told` from there.";
    BATCHES = Counter, "nightread_batches_total", None, [], [Run],
        "Batches that the inference engine ran.";
    BATCH_ITEMS = Counter, "nightread_batch_items_total", None, [], [Run],
        "Items in these batches; the ratio of both is the mean batch.";
    EVENT_POLLS = Counter, "nightread_scheduled_event_polls_total", None, ["outcome"], [Run],
        "Questions to the instance metadata service: `answered`, `failed`.";
    EVENTS = Counter, "nightread_scheduled_events_total", None, ["kind"], [Run],
        "Events that ended this worker: `preempt`, `terminate`, `reboot`, `redeploy`.";
    RELAYED = Counter, "nightread_relay_messages_total", None, ["outcome"], [Relay],
        "Messages of the Storage queue: `relayed`; `late` (relayed, but no longer this relay's when it was to be deleted: it may come twice); \
         `poisoned` (put aside into the poison queue); `left` (neither: it stays hidden for a while and comes again).";
    QUEUE_WAITED = Histogram(WAIT_SECONDS), "nightread_storage_queue_wait_seconds", SECONDS, [], [Relay],
        "Time that a message was in the Storage queue before the broker had it.";
    STORAGE_QUEUE = Gauge, "nightread_storage_queue_messages", None, ["queue"], [Relay, Assemble, Backlog],
        "Messages in the Storage queue (`main`) and in its `poison` queue, hidden ones included.";
    ASSEMBLED = Counter, "nightread_assemble_events_total", None, ["outcome"], [Assemble],
        "Events of the Storage queue: `added` (the file is kept with its series), `known` (it was, in this version), `passed_on` (no route of instances \
         leads there, or it is no DICOM file: announced to the workers as the relay does), `ignored` (no study), `gone` (the file is no more), `dead_lettered` (its \
         header cannot be read or names no series), `poisoned` (no event), `late` (done with, and may come once more), `left` (it comes again).";
    SETS = Counter, "nightread_assemble_sets_total", None, ["outcome"], [Assemble],
        "Versions of sets that were `announced`, and those that were announced `again` because the replica that had begun it did not end it: such a one may \
         have come twice.";
    OPEN_SERIES = Gauge, "nightread_assemble_open_series", None, [], [Assemble],
        "Series with something that is not announced yet.";
    DELIVERIES = Counter, "nightread_deliveries_total", None, ["target", "outcome"], [Deliver],
        "Results for an archive: `delivered` (it has every object); `known` (it had this content, and nothing was sent); `nothing` (no DICOM object is made of it); \
         `failed` (tried again, or a dead letter). `target` is empty for an order that names no archive of the settings.";
    DELIVERY_ERRORS = Counter, "nightread_delivery_errors_total", None, ["target", "code"], [Deliver],
        "Results that were not delivered, by error code; those too of which no object is made.";
    DELIVERED_OBJECTS = Counter, "nightread_delivered_objects_total", None, ["target", "kind"], [Deliver],
        "Objects that an archive said it has: `sr`, `sc`, `seg`.";
    DELIVERY_SECONDS = Histogram(WORK_SECONDS), "nightread_delivery_seconds", SECONDS, ["target"], [Deliver],
        "Time of one result, from its order to what the archive said.";
    TARGET_UP = Gauge, "nightread_delivery_target_up", None, ["target"], [Deliver],
        "1 while results are sent to an archive, 0 while it is away and they wait.";
    UNDELIVERED = Gauge, "nightread_undelivered", None, ["state"], [Deliver],
        "Results that are `waiting` in the queue of deliveries (those put off for a while wait elsewhere), and those given up, among its dead letters: `dead`.";
    WEBHOOK = Counter, "nightread_webhook_requests_total", None, ["kind", "status"], [Webhook],
        "Requests of the webhook: `post`, `options`, `other`.";
    BACKLOG_MESSAGES = Gauge, "nightread_backlog_messages", None, ["queue", "state"], [Backlog],
        "Messages of a queue of work, the quarantine too: `ready` or `unacknowledged`.";
    MESSAGE_COST = Gauge, "nightread_message_cost_seconds", SECONDS, ["queue"], [Backlog],
        "Seconds of one worker for one message.";
    BACKLOG_SECONDS = Gauge, "nightread_backlog_seconds_per_worker", SECONDS, [], [Backlog],
        "Seconds of work that wait for each worker.";
    BACKLOG_WORKERS = Gauge, "nightread_backlog_workers", None, [], [Backlog],
        "Workers that consume.";
    DEAD_LETTERS = Gauge, "nightread_dead_letters", None, [], [Backlog],
        "Dead letters.";
    OLDEST_JOB_AGE = Gauge, "nightread_oldest_job_age_seconds", SECONDS, [], [Backlog],
        "Age of the oldest job that a worker has or had lately, or that nobody takes.";
    BACKLOG_AGE = Gauge, "nightread_backlog_last_success_age_seconds", SECONDS, [], [Backlog],
        "Seconds since the last look that could count, or since the start before the first. While a look cannot count, this is the only \
         gauge of the backlog that is there: figures of a while ago are not shown as today's.";
    BUILD_INFO = Gauge, "nightread_build_info", None, ["version"], [Run, Relay, Assemble, Deliver, Webhook, Backlog],
        "1.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_buckets_rise() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }

    #[test]
    fn waits_are_told_to_a_day_and_finely_where_an_image_is_late() {
        for bounds in [WAIT_SECONDS, WORK_SECONDS] {
            let fine = bounds.iter().filter(|bound| (2.5..=30.0).contains(*bound)).count();
            assert!(fine >= 6, "{bounds:?}");
        }
        assert_eq!(WAIT_SECONDS.last(), Some(&86_400.0));
    }
}
