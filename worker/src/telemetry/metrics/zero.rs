//! Closed label sets start at 0. A series that begins with its first event has no increase at that event, so that an alert on
//! the first dead letter would not fire.

use metrics::{counter, gauge, histogram};
use nightread_domain::{Disposition, ErrorClass, ErrorCode, Lane};

use super::table::{
    ASSEMBLED, BACKLOG_AGE, BROKER_BLOCKED, BROKER_CERTIFICATE, BROKER_SESSIONS, BROKER_UP,
    DELIVERED_OBJECTS, DELIVERIES, DELIVERY_ERRORS, DELIVERY_SECONDS, EVENT_POLLS, EVENTS, EVENTS_IGNORED,
    JOB_ERRORS, JOB_SECONDS, JOBS, JOBS_IN_FLIGHT, MESSAGES, OPEN_SERIES, OUTBOX, PATCHES, PAUSED,
    PUBLISH_FAILURES, QUEUE_WAITED, RELAYED, SETS, STAGE_SECONDS, STORAGE_OUTAGE, TARGET_UP, Teller,
    UNDELIVERED, WAITED, WEBHOOK,
};
use crate::flow::report::Outcome;
use crate::flow::valve::PauseReason;

/// Stages that a document times.
const STAGES: [&str; 7] = ["fetch", "decode", "preprocess", "queue", "infer", "heatmaps", "segments"];
const RELAY_OUTCOMES: [&str; 4] = ["relayed", "late", "poisoned", "left"];
const ASSEMBLE_OUTCOMES: [&str; 9] =
    ["added", "known", "passed_on", "ignored", "gone", "dead_lettered", "poisoned", "late", "left"];
/// What becomes of an order.
const DELIVERY_OUTCOMES: [&str; 4] = ["delivered", "known", "nothing", "failed"];
const EVENT_KINDS: [&str; 4] = ["preempt", "terminate", "reboot", "redeploy"];

/// What answers the webhook has. Others that HTTP knows are none of ours.
const STATUSES: [(&str, &[u16]); 3] = [
    ("post", &[200, 204, 400, 401, 408, 413, 415, 503]),
    ("options", &[200, 401, 403]),
    ("other", &[401, 405]),
];

pub(super) fn start(teller: Teller) {
    // No day is near before a broker has shown one.
    gauge!(BROKER_CERTIFICATE.name).set(f64::INFINITY);
    if teller != Teller::Backlog {
        counter!(BROKER_SESSIONS.name).absolute(0);
        counter!(PUBLISH_FAILURES.name).absolute(0);
        gauge!(BROKER_UP.name).set(0.0);
        gauge!(BROKER_BLOCKED.name).set(0.0);
    }
    match teller {
        Teller::Run => run(),
        Teller::Relay => relay(),
        Teller::Assemble => assemble(),
        Teller::Deliver => deliver(),
        Teller::Webhook => {
            for (kind, statuses) in STATUSES {
                for status in statuses {
                    counter!(WEBHOOK.name, "kind" => kind, "status" => status.to_string()).absolute(0);
                }
            }
        }
        Teller::Backlog => gauge!(BACKLOG_AGE.name).set(0.0),
    }
}

/// Of every model that may be named, and of jobs for which none was chosen.
pub(super) fn models<'a>(names: impl Iterator<Item = &'a str>) {
    for model in names.chain([""]) {
        for outcome in Outcome::LABELS {
            for lane in Lane::ALL {
                let model = model.to_owned();
                counter!(JOBS.name, "outcome" => outcome, "lane" => lane.as_str(), "model" => model)
                    .absolute(0);
            }
        }
    }
}

/// Of every archive of the settings, and of orders that name none of them.
pub(super) fn targets<'a>(names: impl Iterator<Item = &'a str>) {
    for target in names.chain([""]) {
        let target = || target.to_owned();
        for outcome in DELIVERY_OUTCOMES {
            counter!(DELIVERIES.name, "target" => target(), "outcome" => outcome).absolute(0);
        }
        for code in ErrorCode::ALL.iter().copied().filter(|code| code.class() != ErrorClass::Fatal) {
            counter!(DELIVERY_ERRORS.name, "target" => target(), "code" => code.as_str()).absolute(0);
        }
        let _empty = histogram!(DELIVERY_SECONDS.name, "target" => target());
        if target().is_empty() {
            continue;
        }
        for kind in ["sr", "sc", "seg"] {
            counter!(DELIVERED_OBJECTS.name, "target" => target(), "kind" => kind).absolute(0);
        }
        gauge!(TARGET_UP.name, "target" => target()).set(1.0);
    }
}

fn deliver() {
    messages();
    for state in ["waiting", "dead"] {
        gauge!(UNDELIVERED.name, "state" => state).set(0.0);
    }
}

fn run() {
    counter!(PATCHES.name).absolute(0);
    messages();
    for code in ErrorCode::ALL.iter().copied().filter(|code| code.class() != ErrorClass::Fatal) {
        for outcome in Outcome::WITH_CODE {
            counter!(JOB_ERRORS.name, "outcome" => outcome, "code" => code.as_str()).absolute(0);
        }
    }
    for kind in ["own_result", "other_type"] {
        counter!(EVENTS_IGNORED.name, "kind" => kind).absolute(0);
    }
    for outcome in ["answered", "failed"] {
        counter!(EVENT_POLLS.name, "outcome" => outcome).absolute(0);
    }
    for kind in EVENT_KINDS {
        counter!(EVENTS.name, "kind" => kind).absolute(0);
    }
    gauge!(STORAGE_OUTAGE.name).set(0.0);
    for lane in Lane::ALL {
        // Asked for, a histogram is there.
        let _empty = histogram!(JOB_SECONDS.name, "lane" => lane.as_str());
        let _empty = histogram!(WAITED.name, "lane" => lane.as_str());
    }
    for stage in STAGES {
        let _empty = histogram!(STAGE_SECONDS.name, "stage" => stage);
    }
}

/// Of whoever takes messages from a queue of work.
fn messages() {
    for code in ErrorCode::ALL.iter().copied().filter(|code| code.class() != ErrorClass::Fatal) {
        for disposition in Disposition::WITH_CODE {
            counter!(MESSAGES.name, "disposition" => disposition, "code" => code.as_str()).absolute(0);
        }
    }
    for disposition in Disposition::WITHOUT_CODE {
        counter!(MESSAGES.name, "disposition" => disposition, "code" => "").absolute(0);
    }
    for event in ["recorded", "told"] {
        counter!(OUTBOX.name, "event" => event).absolute(0);
    }
    for reason in PauseReason::ALL {
        gauge!(PAUSED.name, "reason" => reason.as_str()).set(0.0);
    }
    gauge!(JOBS_IN_FLIGHT.name).set(0.0);
}

fn assemble() {
    for outcome in ASSEMBLE_OUTCOMES {
        counter!(ASSEMBLED.name, "outcome" => outcome).absolute(0);
    }
    for outcome in ["announced", "again"] {
        counter!(SETS.name, "outcome" => outcome).absolute(0);
    }
    gauge!(OPEN_SERIES.name).set(0.0);
}

fn relay() {
    for outcome in RELAY_OUTCOMES {
        counter!(RELAYED.name, "outcome" => outcome).absolute(0);
    }
    let _empty = histogram!(QUEUE_WAITED.name);
}
