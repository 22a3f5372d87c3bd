//! What may be meant, and should not be overlooked.

use std::net::IpAddr;

use super::keys;
use super::raw::RawSettings;

/// Words on settings that work and that a hospital would not want: secrets and studies over lines that anybody on the way
/// can read, a worker that is told to crash.
pub fn of(raw: &RawSettings) -> Vec<String> {
    let open = [
        (keys::BROKER_URL, "amqp://", "amqps://"),
        (keys::BACKLOG_MANAGEMENT_URL, "http://", "https://"),
        (keys::BACKLOG_ENDPOINT, "http://", "https://"),
        (keys::STORAGE_SAS_URL, "http://", "https://"),
        (keys::RELAY_SAS_URL, "http://", "https://"),
        (keys::ASSEMBLE_SAS_URL, "http://", "https://"),
        (keys::DELIVER_ARCHIVE, "http://", "https://"),
        (keys::DELIVER_ARCHIVE, "dicom://", "dicom+tls://"),
    ];
    let mut doubts: Vec<String> = open
        .into_iter()
        .filter_map(|(key, plain, safe)| {
            let rest = raw.text(key)?.strip_prefix(plain)?;
            let host = host(rest).filter(|host| !is_this_machine(host))?;
            Some(format!("{key} goes to {host} by {plain}, which anybody on the way can read: use {safe}"))
        })
        .collect();
    if raw.text(keys::BROKER_URL).is_some_and(|url| url.starts_with("amqp://"))
        && let Some(host) = raw
            .list(keys::BROKER_HOSTS)
            .iter()
            .find(|name| host(name).is_some_and(|host| !is_this_machine(host)))
    {
        doubts.push(format!(
            "[broker] hosts are reached as [broker] url is, {host} by amqp://, which anybody on the way can read: use amqps://"
        ));
    }
    for (key, endpoint) in [
        (keys::STORAGE_CONNECTION_STRING, "BlobEndpoint"),
        (keys::RELAY_CONNECTION_STRING, "QueueEndpoint"),
        (keys::ASSEMBLE_CONNECTION_STRING, "QueueEndpoint"),
    ] {
        let text = raw.text(key).unwrap_or_default();
        let parts: Vec<_> = text.split(';').filter_map(|part| part.split_once('=')).collect();
        let url = field(&parts, endpoint);
        let plain = url.and_then(|url| url.strip_prefix("http://")).and_then(host);
        let elsewhere = plain.is_some_and(|host| !is_this_machine(host))
            || (url.is_none() && field(&parts, "DefaultEndpointsProtocol") == Some("http"));
        if elsewhere {
            doubts.push(format!("{key} goes by http://, which anybody on the way can read"));
        }
    }
    if let Some(point) = raw.text(keys::WORKER_FAILPOINT) {
        doubts.push(format!("[worker] failpoint is {point}: the worker will crash there"));
    }
    if raw.boolean(keys::MODELS_RUNTIME_TELEMETRY) {
        doubts.push("[models] runtime_telemetry lets ONNX Runtime report its use to Microsoft".to_owned());
    }
    doubts
}

/// The value of a field of a connection string.
fn field<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
}

/// The host of what follows an address's scheme.
fn host(rest: &str) -> Option<&str> {
    let place = rest.split(['/', '?', '#']).next()?;
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    match place.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => place.split(':').next(),
    }
}

fn is_this_machine(host: &str) -> bool {
    host.is_empty()
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
