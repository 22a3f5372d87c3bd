//! One job: read this study with that model.

use std::time::Instant;

use crate::announcement::Announcement;
use crate::message::Attributes;
use crate::study::Study;

/// A unit of work, made from one announcement and the message that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub study: Study,
    /// The model named by the announcement; otherwise routing decides.
    pub model: Option<String>,
    /// Read again although a result exists.
    pub force: bool,
    /// Read again when the existing result is a failed-document (set on redrive).
    pub reread_failed: bool,
    pub correlation_id: Option<String>,
    /// Real failures so far, counted by us and not by the broker.
    pub attempt: u32,
    /// Since when its container has not let us in, in seconds since 1970.
    pub refused_since: Option<u64>,
    /// When its delivery came here; `None` where nobody waits for it to be settled.
    pub arrived: Option<Instant>,
}

impl Job {
    /// Of a study that nobody announced, for the first time.
    pub fn of(study: impl Into<Study>) -> Self {
        Self {
            study: study.into(),
            model: None,
            force: false,
            reread_failed: false,
            correlation_id: None,
            attempt: 0,
            refused_since: None,
            arrived: None,
        }
    }

    pub fn new(study: impl Into<Study>, announcement: &Announcement, attributes: &Attributes) -> Self {
        Self {
            model: announcement.model.clone(),
            force: announcement.force,
            reread_failed: attributes.redriven,
            correlation_id: announcement.correlation_id.clone().or_else(|| attributes.correlation_id.clone()),
            attempt: attributes.attempt,
            refused_since: attributes.refused_since,
            arrived: attributes.arrived,
            ..Self::of(study)
        }
    }
}
