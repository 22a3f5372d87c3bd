//! Between the wire's properties and headers and the domain's [`Attributes`], and what a copy must not carry.

use std::collections::BTreeMap;

use crate::flow::unix_now;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use nightread_domain::message::Attributes;
use nightread_domain::{JobError, Lane};

pub(super) const ATTEMPT: &str = "attempt";
pub(super) const REDRIVEN: &str = "redriven";
pub(super) const LANE: &str = "lane";
pub(super) const ERROR_CODE: &str = "error-code";
pub(super) const ERROR_MESSAGE: &str = "error-message";
pub(super) const STAGE: &str = "stage";
pub(super) const DEAD_AT: &str = "dead-at";
/// Since when the container of its blob has not let anybody in.
pub(super) const REFUSED_SINCE: &str = "refused-since";
/// How often a quarantined message was started, as far as the broker does not count it.
const STARTS: &str = "starts";
const LAST_ERROR: &str = "last-error";
const DELIVERY_COUNT: &str = "x-delivery-count";
const TRACEPARENT: &str = "traceparent";
const PERSISTENT: u8 = 2;

/// Longer texts in a stranger's headers are not read.
const MAX_TEXT: usize = 1024;
/// CloudEvents has a handful of attributes.
const MAX_CLOUD_ATTRIBUTES: usize = 32;
/// An error's text in a header; frames hold 128 KiB for all headers together.
const MAX_MESSAGE_CHARS: usize = 500;

pub(super) fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// What the pipeline may know of a delivery. Everything here comes from a stranger.
pub(super) fn attributes(lane: Lane, quarantined: bool, properties: &BasicProperties) -> Attributes {
    let content_type = properties.content_type().as_ref().and_then(short);
    let structured = content_type.as_deref().is_some_and(|kind| kind.starts_with("application/cloudevents"));
    let counted = header(properties, DELIVERY_COUNT).and_then(number).unwrap_or(0);
    let known = if quarantined { header(properties, STARTS).and_then(number).unwrap_or(0) } else { 0 };
    let cloud_event = if structured { BTreeMap::new() } else { cloud_attributes(properties) };
    Attributes {
        lane,
        message_id: properties.message_id().as_ref().and_then(short),
        correlation_id: properties.correlation_id().as_ref().and_then(short),
        content_type,
        announced_at: *properties.timestamp(),
        traceparent: header(properties, TRACEPARENT)
            .and_then(text)
            .or_else(|| cloud_event.get(TRACEPARENT).cloned()),
        attempt: header(properties, ATTEMPT).and_then(number).unwrap_or(0),
        refused_since: header(properties, REFUSED_SINCE).and_then(timestamp),
        delivery_count: counted.saturating_add(known),
        quarantined,
        redriven: matches!(header(properties, REDRIVEN), Some(AMQPValue::Boolean(true))),
        arrived: None,
        cloud_event,
    }
}

/// The header of a quarantined message that was started so often.
pub(super) fn starts(count: u32) -> (&'static str, AMQPValue) {
    (STARTS, AMQPValue::LongUInt(count))
}

/// The wire form of a message that we make ourselves; one that was not published before is from now.
pub(super) fn properties(attributes: &Attributes) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(ATTEMPT.into(), AMQPValue::LongUInt(attributes.attempt));
    if let Some(since) = attributes.refused_since {
        headers.insert(REFUSED_SINCE.into(), AMQPValue::Timestamp(since));
    }
    if attributes.redriven {
        headers.insert(REDRIVEN.into(), AMQPValue::Boolean(true));
    }
    if let Some(trace) = &attributes.traceparent {
        headers.insert(TRACEPARENT.into(), long(trace));
    }
    for (name, value) in &attributes.cloud_event {
        if let Ok(name) = ShortString::try_new(format!("cloudEvents:{name}")) {
            headers.insert(name, long(value));
        }
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
        .with_timestamp(attributes.announced_at.unwrap_or_else(unix_now));
    if let Some(id) = short_string(attributes.message_id.as_deref()) {
        properties = properties.with_message_id(id);
    }
    if let Some(id) = short_string(attributes.correlation_id.as_deref()) {
        properties = properties.with_correlation_id(id);
    }
    if let Some(kind) = short_string(attributes.content_type.as_deref()) {
        properties = properties.with_content_type(kind);
    }
    properties
}

/// `None` also for a text that is longer than properties take.
fn short_string(text: Option<&str>) -> Option<ShortString> {
    ShortString::try_new(text?).ok()
}

/// A copy for publishing again. Leaves behind what would harm it: `x-death` (RabbitMQ takes the copy's next death
/// for a cycle and drops it), counters of the broker and of quarantine, `CC` and `BCC` (a stranger's routing), `expiration` (it would
/// die in a delay), `user_id` (checked against *our* login; a mismatch closes the channel) and `reply_to`.
pub(super) fn copied(original: &BasicProperties) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in original.headers().iter().flat_map(FieldTable::inner) {
        if !is_brokers(name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    let mut copy = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    if let Some(value) = original.content_type() {
        copy = copy.with_content_type(value.clone());
    }
    if let Some(value) = original.content_encoding() {
        copy = copy.with_content_encoding(value.clone());
    }
    if let Some(value) = original.message_id() {
        copy = copy.with_message_id(value.clone());
    }
    if let Some(value) = original.correlation_id() {
        copy = copy.with_correlation_id(value.clone());
    }
    if let Some(value) = original.timestamp() {
        copy = copy.with_timestamp(*value);
    }
    copy
}

/// Sets headers on a copy.
pub(super) fn with(
    properties: BasicProperties,
    more: impl IntoIterator<Item = (&'static str, AMQPValue)>,
) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in more {
        headers.insert(name.into(), value);
    }
    properties.with_headers(headers)
}

/// Removes headers from a copy.
pub(super) fn without(properties: BasicProperties, names: &[&str]) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if !names.contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    properties.with_headers(headers)
}

/// The headers of a retry: which try comes next, and why.
pub(super) fn retry_headers(attempt: u32, error: &JobError) -> [(&'static str, AMQPValue); 2] {
    [(ATTEMPT, AMQPValue::LongUInt(attempt)), (LAST_ERROR, long(error.code.as_str()))]
}

/// The header of a copy whose container refuses.
pub(super) fn refused_since(since: u64) -> (&'static str, AMQPValue) {
    (REFUSED_SINCE, AMQPValue::Timestamp(since))
}

/// The headers of a dead letter.
pub(super) fn dead_headers(
    lane: Lane,
    attempt: u32,
    at: u64,
    error: &JobError,
) -> [(&'static str, AMQPValue); 6] {
    let message: String = error.in_full().chars().take(MAX_MESSAGE_CHARS).collect();
    [
        (ERROR_CODE, long(error.code.as_str())),
        (ERROR_MESSAGE, long(&message)),
        (STAGE, long(error.stage.as_str())),
        (LANE, long(lane.as_str())),
        (ATTEMPT, AMQPValue::LongUInt(attempt)),
        (DEAD_AT, AMQPValue::Timestamp(at)),
    ]
}

/// Every header as text, for people.
pub(super) fn shown(properties: &BasicProperties) -> Vec<(String, String)> {
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    headers.map(|(name, value)| (name.as_str().to_owned(), shown_value(value))).collect()
}

fn shown_value(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::Timestamp(at) => at.to_string(),
        AMQPValue::FieldArray(items) => {
            let items: Vec<_> = items.as_slice().iter().map(shown_value).collect();
            format!("[{}]", items.join(", "))
        }
        AMQPValue::FieldTable(table) => {
            let entries: Vec<_> = table
                .inner()
                .iter()
                .map(|(name, value)| format!("{}: {}", name.as_str(), shown_value(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        AMQPValue::ByteArray(bytes) => format!("{} bytes", bytes.as_slice().len()),
        number => number_of_any_kind(number),
    }
}

fn number_of_any_kind(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Void => String::new(),
        other => number(other).map_or_else(|| format!("{other:?}"), |number| number.to_string()),
    }
}

fn is_brokers(name: &str) -> bool {
    matches!(
        name,
        "x-death" | STARTS | DELIVERY_COUNT | "x-acquired-count" | "CC" | "BCC" | "x-opt-delivery-count"
    ) || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
        || name == super::topology::DELAY_HEADER
}

fn cloud_attributes(properties: &BasicProperties) -> BTreeMap<String, String> {
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    headers
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("cloudEvents")?.strip_prefix([':', '_'])?;
            Some((name.to_owned(), text(value)?))
        })
        .take(MAX_CLOUD_ATTRIBUTES)
        .collect()
}

pub(super) fn text(value: &AMQPValue) -> Option<String> {
    let bytes = match value {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        _ => return None,
    };
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT).map(ToOwned::to_owned)
}

#[expect(clippy::unnecessary_wraps, reason = "used where Option is chained")]
fn short(value: &ShortString) -> Option<String> {
    Some(value.as_str().to_owned())
}

fn number(value: &AMQPValue) -> Option<u32> {
    let number = match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    };
    u32::try_from(number.max(0)).ok()
}

fn timestamp(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::Timestamp(at) => Some(*at),
        _ => None,
    }
}

pub(super) fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// For tests: properties with these headers and nothing else.
#[cfg(test)]
pub(super) fn headers(entries: &[(&str, AMQPValue)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(ShortString::from(*name), value.clone());
    }
    BasicProperties::default().with_headers(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_leaves_the_brokers_headers_and_a_strangers_routing_behind() {
        let original = headers(&[
            ("x-death", long("history")),
            ("x-first-death-queue", long("q")),
            ("x-last-death-reason", long("r")),
            ("x-delivery-count", AMQPValue::LongLongInt(3)),
            ("CC", long("elsewhere")),
            ("BCC", long("elsewhere")),
            ("delay", long("5s")),
            ("attempt", AMQPValue::LongUInt(2)),
            ("baggage", long("kept")),
        ])
        .with_expiration("1".into())
        .with_user_id("somebody".into())
        .with_reply_to("elsewhere".into())
        .with_message_id("m".into());
        let copy = copied(&original);
        let left: Vec<_> =
            copy.headers().iter().flat_map(FieldTable::inner).map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["attempt", "baggage"]);
        assert_eq!(copy.message_id().as_ref().map(ShortString::as_str), Some("m"));
        assert!(copy.expiration().is_none() && copy.user_id().is_none() && copy.reply_to().is_none());
        assert_eq!(*copy.delivery_mode(), Some(PERSISTENT));
    }

    #[test]
    fn attributes_survive_the_wire() {
        let mut sent = Attributes::for_lane(Lane::Bulk);
        sent.message_id = Some("m".to_owned());
        sent.correlation_id = Some("c".to_owned());
        sent.content_type = Some("application/json".to_owned());
        sent.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
        sent.announced_at = Some(1_700_000_000);
        sent.attempt = 4;
        sent.refused_since = Some(1_700_000_000);
        sent.redriven = true;
        sent.cloud_event = BTreeMap::from([("type".to_owned(), "t".to_owned())]);
        assert_eq!(attributes(Lane::Bulk, false, &properties(&sent)), sent);
    }

    #[test]
    fn odd_headers_are_passed_over() {
        let odd = headers(&[
            ("attempt", long("three")),
            ("redriven", long("true")),
            ("traceparent", AMQPValue::LongString(vec![0xff].into())),
            ("cloudEvents:type", AMQPValue::Boolean(true)),
            ("cloudEvents_source", long(&"x".repeat(MAX_TEXT + 1))),
            ("cloudEventsid", long("x")),
            ("x-delivery-count", AMQPValue::LongLongInt(-1)),
        ]);
        assert_eq!(attributes(Lane::Ingest, false, &odd), Attributes::for_lane(Lane::Ingest));
    }
}
