//! What a queue carries: an untrusted body and the attributes that travel beside it.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use crate::lanes::Lane;

/// One message as any queue adapter delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub body: Bytes,
    pub attributes: Attributes,
}

/// The properties and headers this project reads or writes; adapters map them to their own wire form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub lane: Lane,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub content_type: Option<String>,
    /// W3C trace context of the announcer.
    pub traceparent: Option<String>,
    /// When it was first published, in seconds since 1970; a copy keeps it. `None` when its sender did not say.
    pub announced_at: Option<u64>,
    /// Real failures so far (our own header).
    pub attempt: u32,
    /// Since when its container has not let us in, in seconds since 1970 (our own header).
    pub refused_since: Option<u64>,
    /// Times the broker has handed this message out before (`x-delivery-count`), drains and kills included.
    pub delivery_count: u32,
    /// It lay in quarantine: reading it may kill a worker, so it runs alone, and `delivery_count` counts starts.
    pub quarantined: bool,
    /// Taken out of the dead letters by a person: a failed-document is read again.
    pub redriven: bool,
    /// When it came here. The patience of whoever handed it out runs from then on; `None` where nobody waits.
    pub arrived: Option<Instant>,
    /// CloudEvents attributes in AMQP binary mode, without their `cloudEvents:` or `cloudEvents_` prefix.
    pub cloud_event: BTreeMap<String, String>,
}

/// The year 2000. Senders without a clock say less.
const NO_TIME_BEFORE: u64 = 946_684_800;

impl Attributes {
    /// Seconds since it was announced, where that can be believed: 0 is no time, and nothing is announced in the future.
    /// `clock`: seconds since 1970.
    pub fn age(&self, clock: u64) -> Option<u64> {
        let at = self.announced_at.filter(|at| *at >= NO_TIME_BEFORE)?;
        clock.checked_sub(at)
    }

    pub fn for_lane(lane: Lane) -> Self {
        Self {
            lane,
            message_id: None,
            correlation_id: None,
            content_type: None,
            traceparent: None,
            announced_at: None,
            attempt: 0,
            refused_since: None,
            delivery_count: 0,
            quarantined: false,
            redriven: false,
            arrived: None,
            cloud_event: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_that_can_be_meant_make_an_age() {
        const CLOCK: u64 = 1_800_000_000;
        for (announced_at, age) in [
            (None, None),
            (Some(0), None),
            (Some(1), None),
            (Some(CLOCK), Some(0)),
            (Some(CLOCK - 90), Some(90)),
            (Some(CLOCK + 1), None),
            (Some(4_102_444_800), None),
            // Milliseconds.
            (Some(CLOCK * 1_000), None),
            (Some(u64::MAX), None),
        ] {
            let attributes = Attributes { announced_at, ..Attributes::for_lane(Lane::Ingest) };
            assert_eq!(attributes.age(CLOCK), age, "{announced_at:?}");
        }
    }
}
