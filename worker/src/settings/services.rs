//! The broker, and the services beside the worker: Storage queues of events, webhook, backlog, Azure's notices.

use std::path::PathBuf;
use std::time::Duration;

use nightread_domain::{Lane, PerLane};

use super::keys::{self, Key};
use super::raw::{Problems, RawSettings};
use super::{
    AssembleSettings, BacklogSettings, BrokerSettings, MetricsSettings, QueueAccess, RelaySettings, Secret,
    WebhookSettings,
};

/// In seconds. Whatever cannot be settled must be recorded within half of it.
const SHORTEST_CONSUMER_TIMEOUT: u64 = 10;

pub(super) fn broker(raw: &RawSettings, problems: &mut Problems) -> Option<BrokerSettings> {
    let url = raw.text(keys::BROKER_URL)?;
    if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
        problems.add("[broker] url: an amqp:// or amqps:// URL is expected");
    }
    let hosts = raw.list(keys::BROKER_HOSTS);
    for host in hosts.iter().filter(|host| !is_host(host)) {
        problems.add(format!("[broker] hosts: {host:?} is not a host, nor a host:port"));
    }
    let weights = PerLane::from_fn(|lane| raw.integer(keys::weight_of(lane)).unwrap_or_default());
    if weights.iter().any(|(_, weight)| *weight == 0) {
        problems.add("[broker] weights: at least 1 is expected for each lane, or it would never be served");
    }
    let ca_file = raw.text(keys::BROKER_CA_FILE).map(PathBuf::from);
    if ca_file.as_deref().is_some_and(|file| !file.is_file()) {
        problems.add("[broker] ca_file: no such file");
    }
    let consumer_timeout = raw.integer(keys::BROKER_CONSUMER_TIMEOUT_SECONDS).unwrap_or_default();
    if consumer_timeout < SHORTEST_CONSUMER_TIMEOUT {
        problems.add(format!(
            "[broker] consumer_timeout_seconds: at least {SHORTEST_CONSUMER_TIMEOUT} is expected"
        ));
    }
    let of_volumes = raw.integer(keys::BROKER_VOLUMES_CONSUMER_TIMEOUT_SECONDS).unwrap_or(consumer_timeout);
    if of_volumes < consumer_timeout {
        problems
            .add("[broker] volumes_consumer_timeout_seconds: at least consumer_timeout_seconds is expected");
    }
    let consumer_timeout = PerLane::from_fn(|lane| {
        Duration::from_secs(if lane == Lane::Volumes { of_volumes } else { consumer_timeout })
    });
    Some(BrokerSettings { url: Secret::new(url), hosts, ca_file, weights, consumer_timeout })
}

/// A name or an address, with a port or without: nothing of a URL, and no secret.
fn is_host(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    !text.is_empty() && is_plain && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The settings of a Storage queue: of the relay, or of who assembles series.
struct QueueKeys {
    section: &'static str,
    queue_url: Key,
    sas_url: Key,
    connection_string: Key,
    queue: Key,
    hidden_seconds: Key,
    most_takes: Key,
}

const RELAY: QueueKeys = QueueKeys {
    section: "relay",
    queue_url: keys::RELAY_QUEUE_URL,
    sas_url: keys::RELAY_SAS_URL,
    connection_string: keys::RELAY_CONNECTION_STRING,
    queue: keys::RELAY_QUEUE,
    hidden_seconds: keys::RELAY_HIDDEN_SECONDS,
    most_takes: keys::RELAY_MOST_TAKES,
};

const ASSEMBLE: QueueKeys = QueueKeys {
    section: "assemble",
    queue_url: keys::ASSEMBLE_QUEUE_URL,
    sas_url: keys::ASSEMBLE_SAS_URL,
    connection_string: keys::ASSEMBLE_CONNECTION_STRING,
    queue: keys::ASSEMBLE_QUEUE,
    hidden_seconds: keys::ASSEMBLE_HIDDEN_SECONDS,
    most_takes: keys::ASSEMBLE_MOST_TAKES,
};

fn queue(raw: &RawSettings, keys: &QueueKeys, problems: &mut Problems) -> Option<RelaySettings> {
    let section = keys.section;
    let sas_url = raw.text(keys.sas_url).map(Secret::new);
    let connection_string = raw.text(keys.connection_string).map(Secret::new);
    let access = match (raw.text(keys.queue_url), sas_url, connection_string) {
        (None, None, None) => return None,
        (Some(url), None, None) => {
            if !url.starts_with("https://") || url.contains('?') {
                problems.add(format!("[{section}] queue_url: an https URL without a signature is expected"));
            }
            QueueAccess::Identity { queue_url: url.to_owned() }
        }
        (None, Some(url), None) => QueueAccess::SasUrl(url),
        (None, None, Some(text)) => {
            QueueAccess::ConnectionString { text, queue: raw.text(keys.queue).unwrap_or_default().to_owned() }
        }
        _ => {
            problems.add(format!("[{section}] takes one of queue_url, sas_url and connection_string"));
            return None;
        }
    };
    let hidden = raw.integer(keys.hidden_seconds).unwrap_or_default();
    // Azure's longest is seven days; a few seconds cannot hold a retry.
    if !(10..=604_800).contains(&hidden) {
        problems.add(format!("[{section}] hidden_seconds: 10 to 604800 is expected"));
    }
    let most_takes = raw.integer(keys.most_takes).unwrap_or_default();
    if most_takes == 0 {
        problems.add(format!("[{section}] most_takes: at least 1 is expected"));
    }
    Some(RelaySettings { access, hidden: Duration::from_secs(hidden), most_takes })
}

pub(super) fn relay(raw: &RawSettings, problems: &mut Problems) -> Option<RelaySettings> {
    queue(raw, &RELAY, problems)
}

pub(super) fn assemble(raw: &RawSettings, problems: &mut Problems) -> Option<AssembleSettings> {
    let queue = queue(raw, &ASSEMBLE, problems)?;
    let quiet = raw.at_least_one(keys::ASSEMBLE_QUIET_SECONDS, problems);
    Some(AssembleSettings { queue, quiet: Duration::from_secs(quiet) })
}

pub(super) fn webhook(raw: &RawSettings, problems: &mut Problems) -> Option<WebhookSettings> {
    let token = raw.text(keys::WEBHOOK_TOKEN)?;
    if token.len() < 16 {
        problems.add("[webhook] token: at least 16 characters are expected");
    }
    let listen = raw.text(keys::WEBHOOK_LISTEN).unwrap_or_default().parse().ok();
    if listen.is_none() {
        problems.add("[webhook] listen: an address with a port is expected, for example 127.0.0.1:8090");
    }
    Some(WebhookSettings {
        listen: listen?,
        token: Secret::new(token),
        origins: raw.list(keys::WEBHOOK_ORIGINS),
        per_minute: raw.integer(keys::WEBHOOK_PER_MINUTE).filter(|rate| *rate > 0),
    })
}

pub(super) fn backlog(raw: &RawSettings, problems: &mut Problems) -> BacklogSettings {
    let management_url = raw.text(keys::BACKLOG_MANAGEMENT_URL);
    if management_url.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        problems.add("[backlog] management_url: an http:// or https:// URL is expected");
    }
    let milliseconds = PerLane::from_fn(|lane| raw.integer(keys::milliseconds_of(lane)).unwrap_or_default());
    if milliseconds.iter().any(|(_, each)| *each == 0) {
        problems.add("[backlog] ingest_ms, bulk_ms, volumes_ms: at least 1 is expected");
    }
    let seconds_each = milliseconds.map(|each| each as f64 / 1e3);
    let endpoint = match (raw.text(keys::BACKLOG_ENDPOINT), raw.text(keys::BACKLOG_REGION)) {
        (Some(endpoint), _) => Some(endpoint.trim_end_matches('/').to_owned()),
        (None, Some(region)) if region.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Some(format!("https://{region}.monitoring.azure.com"))
        }
        (None, Some(_)) => {
            problems
                .add("[backlog] region: a name of letters and digits is expected, for example westeurope");
            None
        }
        (None, None) => None,
    };
    let resource_id = raw.text(keys::BACKLOG_RESOURCE_ID).map(|id| id.trim_end_matches('/'));
    if resource_id.is_some_and(|id| !id.starts_with("/subscriptions/")) {
        problems.add("[backlog] resource_id: /subscriptions/... is expected");
    }
    BacklogSettings {
        management_url: management_url.map(Secret::new),
        seconds_each,
        scale_out_seconds: raw.integer(keys::BACKLOG_SCALE_OUT_SECONDS).unwrap_or_default() as f64,
        metrics: endpoint
            .zip(resource_id)
            .map(|(endpoint, id)| MetricsSettings { endpoint, resource_id: id.to_owned() }),
    }
}

pub(super) fn scheduled_events(raw: &RawSettings, problems: &mut Problems) -> Option<String> {
    let endpoint = raw.text(keys::WORKER_IMDS_ENDPOINT).unwrap_or_default();
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        problems.add("[worker] imds_endpoint: an http:// URL is expected");
    }
    raw.boolean(keys::WORKER_SCHEDULED_EVENTS).then(|| endpoint.to_owned())
}
