//! What a queue carries: an untrusted body and the attributes that travel beside it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::job::Lane;

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
    /// Times the broker has handed this message out before (`x-delivery-count`), drains and kills included.
    pub delivery_count: u32,
    /// It lay among the suspects: reading it may kill a worker, so it runs alone, and `delivery_count` counts starts.
    pub suspect: bool,
    /// Taken out of the dead letters by a person: a failed-document is read again.
    pub redriven: bool,
    /// CloudEvents attributes in AMQP binary mode, without their `cloudEvents:` or `cloudEvents_` prefix.
    pub cloud_event: BTreeMap<String, String>,
}

impl Attributes {
    pub fn for_lane(lane: Lane) -> Self {
        Self {
            lane,
            message_id: None,
            correlation_id: None,
            content_type: None,
            traceparent: None,
            announced_at: None,
            attempt: 0,
            delivery_count: 0,
            suspect: false,
            redriven: false,
            cloud_event: BTreeMap::new(),
        }
    }
}
