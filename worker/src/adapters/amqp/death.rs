//! What a dead letter is called.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use nightread_domain::{ErrorCode, Lane, Stage};

use super::names::FORMER_QUEUES;
use super::properties::{DEAD_AT, ERROR_CODE, ERROR_MESSAGE, STAGE, header, text};
use super::topology;

/// How a dead letter died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub code: ErrorCode,
    pub reason: Option<String>,
    pub stage: Option<Stage>,
    /// Seconds since 1970.
    pub at: Option<u64>,
}

/// Why a dead letter died. What the broker itself took out of a lane or from the quarantine has an entry in `x-death` that
/// says so, newest first; what a worker published has none, because copies leave them behind, and headers of ours. Entries of
/// other queues tell of earlier waits (every delay ends by expiring), and so may `x-first-death-reason`.
pub(super) fn death(properties: &BasicProperties) -> Death {
    if let Some(death) = header(properties, "x-death").and_then(newest_death) {
        return death;
    }
    let code = header(properties, ERROR_CODE).and_then(text);
    let known = code.and_then(|code| ErrorCode::ALL.iter().copied().find(|known| known.as_str() == code));
    let at = match header(properties, DEAD_AT) {
        Some(AMQPValue::Timestamp(at)) => Some(*at),
        _ => None,
    };
    Death {
        code: known.unwrap_or(ErrorCode::MessageRejected),
        reason: header(properties, ERROR_MESSAGE).and_then(text),
        stage: header(properties, STAGE).and_then(text).and_then(|name| stage_of(&name)),
        at,
    }
}

fn newest_death(history: &AMQPValue) -> Option<Death> {
    let AMQPValue::FieldArray(entries) = history else { return None };
    let (queue, why, at) = entries.as_slice().iter().find_map(death_of_work)?;
    let code = match why.as_str() {
        "delivery_limit" => ErrorCode::WorkerDied,
        "expired" => ErrorCode::MessageExpired,
        "maxlen" => ErrorCode::QueueFull,
        _ => ErrorCode::MessageRejected,
    };
    let reason = Some(format!("the broker took it out of {queue}: {why}"));
    Some(Death { code, reason, stage: None, at })
}

/// Queue, reason and time of an entry of `x-death`, if it is no end of a wait.
fn death_of_work(entry: &AMQPValue) -> Option<(String, String, Option<u64>)> {
    let AMQPValue::FieldTable(entry) = entry else { return None };
    let queue = entry.inner().get("queue").and_then(text)?;
    let why = entry.inner().get("reason").and_then(text)?;
    let at = match entry.inner().get("time") {
        Some(AMQPValue::Timestamp(at)) => Some(*at),
        _ => None,
    };
    is_of_work(&queue).then_some((queue, why, at))
}

fn is_of_work(queue: &str) -> bool {
    queue == topology::QUARANTINE_QUEUE
        || FORMER_QUEUES.iter().any(|former| former.queue == queue)
        || Lane::ALL.into_iter().any(|lane| topology::lane_queue(lane) == queue)
}

fn stage_of(name: &str) -> Option<Stage> {
    use Stage::{Announce, Decode, Fetch, Infer, Preprocess, Report, Settle, Start, Store};
    [Announce, Fetch, Decode, Preprocess, Infer, Report, Store, Settle, Start]
        .into_iter()
        .find(|stage| stage.as_str() == name)
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;
    use nightread_domain::JobError;

    use super::*;
    use crate::adapters::amqp::properties::{dead_headers, headers, long, with};

    /// An entry of `x-death`, as RabbitMQ writes it.
    fn died(queue: &str, why: &str, at: u64) -> AMQPValue {
        let mut entry = FieldTable::default();
        entry.insert("count".into(), AMQPValue::LongLongInt(1));
        entry.insert("reason".into(), long(why));
        entry.insert("queue".into(), long(queue));
        entry.insert("time".into(), AMQPValue::Timestamp(at));
        AMQPValue::FieldTable(entry)
    }

    fn delayed() -> AMQPValue {
        died("nightread.jobs.delay.5s", "expired", 5)
    }

    /// What a letter with these entries is called, which began as one that waited.
    fn death_of(entries: Vec<AMQPValue>) -> Death {
        let mut first = headers(&[
            ("x-death", AMQPValue::FieldArray(entries.into())),
            ("x-first-death-reason", long("expired")),
            ("x-first-death-queue", long("nightread.jobs.delay.5s")),
        ]);
        // Left by an earlier death, before somebody moved it back by hand.
        first = with(first, [(ERROR_CODE, long("no_route"))]);
        death(&first)
    }

    #[test]
    fn a_letter_is_called_by_its_newest_death_in_a_lane_or_in_quarantine() {
        for (queue, why, code) in [
            ("nightread.jobs.ingest", "delivery_limit", ErrorCode::WorkerDied),
            ("nightread.jobs.quarantine", "delivery_limit", ErrorCode::WorkerDied),
            ("nightread.jobs.bulk", "expired", ErrorCode::MessageExpired),
            ("nightread.jobs.volumes", "maxlen", ErrorCode::QueueFull),
            (FORMER_QUEUES[0].queue, "delivery_limit", ErrorCode::WorkerDied),
            (FORMER_QUEUES[1].queue, "delivery_limit", ErrorCode::WorkerDied),
            ("nightread.jobs.ingest", "rejected", ErrorCode::MessageRejected),
        ] {
            let found = death_of(vec![died(queue, why, 9), delayed()]);
            assert_eq!((found.code, found.at), (code, Some(9)), "{queue} {why}");
            assert!(found.reason.is_some_and(|reason| reason.contains(queue) && reason.contains(why)));
        }
        let newest = death_of(vec![
            delayed(),
            died("nightread.jobs.ingest", "expired", 8),
            died("nightread.jobs.ingest", "delivery_limit", 2),
        ]);
        assert_eq!(newest.code, ErrorCode::MessageExpired, "the newest of those that count");
        assert_eq!(death_of(vec![delayed()]).code, ErrorCode::NoRoute, "a delay that ended is no death");
    }

    #[test]
    fn a_letter_of_ours_says_why_and_a_strangers_says_nothing() {
        for strange in [long("history"), AMQPValue::FieldArray(vec![long("x")].into())] {
            assert_eq!(death(&headers(&[("x-death", strange)])).code, ErrorCode::MessageRejected);
        }
        let error = JobError::new(Stage::Fetch, ErrorCode::NoRoute, "why");
        let ours = with(BasicProperties::default(), dead_headers(Lane::Volumes, 2, 7, &error));
        let expected = Death {
            code: ErrorCode::NoRoute,
            reason: Some("why".to_owned()),
            stage: Some(Stage::Fetch),
            at: Some(7),
        };
        assert_eq!(death(&ours), expected);
    }
}
