//! Azure's instance metadata service: what is about to happen to this machine.
//!
//! Every machine of a placement group is told about all of them, so only events that name this machine count. Asking
//! for the first time switches the service on and may take two minutes; a day without a question switches it off again,
//! so the asking never ends. Nothing depends on it for correctness: a machine that vanishes unannounced loses no study.

mod event;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nightread_domain::{ErrorClass, ErrorCode, JobError, Stage};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::adapters::tls;

pub use self::event::{Event, EventKind, EventSource};
pub use self::watch::{EvictionWatch, Notice};

pub const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const NAME: &str = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";

/// The first answer may take two minutes.
const FIRST_TIMEOUT: Duration = Duration::from_secs(150);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A document has a few hundred bytes for each event.
const MAX_BYTES: usize = 1024 * 1024;

/// The service at its address.
#[derive(Debug)]
pub struct Imds {
    client: Client,
    endpoint: String,
    answered: AtomicBool,
}

impl Imds {
    /// `http://169.254.169.254`, or where a test listens. Contacts nobody.
    pub fn new(endpoint: &str) -> Result<Self, JobError> {
        // It is this machine's own host that answers; a proxy would ask about the proxy's machine.
        let client = tls::client(Client::builder().no_proxy())?;
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Self { client, endpoint, answered: AtomicBool::new(false) })
    }

    async fn ask(&self, request: RequestBuilder, timeout: Duration) -> Result<Vec<u8>, JobError> {
        let sent = request.header("Metadata", "true").timeout(timeout).send().await;
        let mut response = sent.map_err(|error| away("it does not answer").with_source(error))?;
        if !response.status().is_success() {
            return Err(away(format!("it says {}", response.status())));
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if body.len() + piece.len() <= MAX_BYTES => body.extend_from_slice(&piece),
                Ok(Some(_)) => return Err(away("it says too much")),
                Ok(None) => return Ok(body),
                Err(error) => return Err(away("it stopped in the middle").with_source(error)),
            }
        }
    }
}

#[async_trait]
impl EventSource for Imds {
    async fn name(&self) -> Result<String, JobError> {
        let body = self.ask(self.client.get(format!("{}{NAME}", self.endpoint)), TIMEOUT).await?;
        let name = String::from_utf8(body).map_err(|_| away("the machine's name is not text"))?;
        match name.trim() {
            "" => Err(away("the machine has no name")),
            name if name.len() > 256 || name.contains(char::is_whitespace) => {
                Err(away("the machine's name is no name"))
            }
            name => Ok(name.to_owned()),
        }
    }

    async fn events(&self) -> Result<Vec<Event>, JobError> {
        let timeout = if self.answered.load(Ordering::Relaxed) { TIMEOUT } else { FIRST_TIMEOUT };
        let body = self.ask(self.client.get(format!("{}{EVENTS}", self.endpoint)), timeout).await?;
        let events = parse(&body)?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(events)
    }

    async fn approve(&self, event_id: &str) -> Result<(), JobError> {
        let body = json!({ "StartRequests": [{ "EventId": event_id }] }).to_string();
        let request = self.client.post(format!("{}{EVENTS}", self.endpoint));
        let request = request.header("content-type", "application/json").body(body);
        self.ask(request, TIMEOUT).await.map(drop)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    events: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    event_id: String,
    event_type: String,
    resources: Vec<String>,
    #[serde(default)]
    event_status: String,
    #[serde(default)]
    not_before: String,
}

/// An event of an unknown form or kind is passed over, so that it hides no other.
fn parse(body: &[u8]) -> Result<Vec<Event>, JobError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| away("its answer is no list of events").with_source(error))?;
    Ok(document.events.into_iter().filter_map(event).collect())
}

fn event(value: Value) -> Option<Event> {
    let raw: Raw = serde_json::from_value(value).ok()?;
    Some(Event {
        kind: EventKind::of(&raw.event_type)?,
        id: raw.event_id,
        resources: raw.resources,
        started: raw.event_status == "Started",
        not_before: OffsetDateTime::parse(&raw.not_before, &Rfc2822).ok(),
    })
}

fn away(what: impl fmt::Display) -> JobError {
    let text = format!("the instance metadata service: {what}");
    JobError::new(Stage::Start, ErrorCode::Internal, text).with_class(ErrorClass::Transient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_is_read_and_odd_events_hide_no_other() {
        let body = br#"{"DocumentIncarnation": 2, "Events": [
            {"EventId": "freeze", "EventType": "Thaw", "Resources": ["a"]}, 17, {"EventType": "Reboot"},
            {"EventId": "602d9444", "EventType": "Preempt", "ResourceType": "VirtualMachine", "Resources": ["workers_0"],
             "EventStatus": "Scheduled", "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT", "Description": "",
             "EventSource": "Platform", "DurationInSeconds": -1},
            {"EventId": "b", "EventType": "Terminate", "Resources": ["workers_1"], "EventStatus": "Started", "NotBefore": ""}]}"#;
        let events = parse(body).expect("a document");
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].kind, events[0].started), (EventKind::Preempt, false));
        assert_eq!(events[0].not_before.map(OffsetDateTime::unix_timestamp), Some(1_474_309_787));
        assert_eq!(
            (events[1].kind, events[1].started, events[1].not_before),
            (EventKind::Terminate, true, None)
        );
        for garbage in [&b""[..], b"<html>", b"[]", br#"{"Events": {}}"#, &[0xff; 100]] {
            assert!(parse(garbage).expect_err("garbage").is_transient());
        }
    }
}
