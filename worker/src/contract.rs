//! What others may rely on, as data: settings, commands, broker names, endpoints, metrics, codes, event types. It is written to
//! `worker/contract.json`, which `infra/tests` and whoever deploys the worker read instead of its source.

use clap::{ArgAction, CommandFactory};
use nightread_domain::announcement::EVENT_TYPES;
use nightread_domain::{ErrorCode, Lane, WarningCode};
use serde_json::{Map, Value, json};

use crate::adapters::amqp::{FORMER_QUEUES, topology};
use crate::adapters::azure::queue::POISON_SUFFIX;
use crate::adapters::azure::{imds, monitor};
use crate::cli::Cli;
use crate::services::backlog;
use crate::services::health;
use crate::settings::keys::{Key, Kind, published};
use crate::telemetry::logs;
use crate::telemetry::metrics::process;
use crate::telemetry::metrics::table::{self, METRICS, Teller};
use nightread_domain::retry::Delay;

/// Changes when a reader of the file would have to.
const VERSION: u32 = 1;

/// The text of `worker/contract.json`: keys in alphabetical order, so that a change is a small one; no line ends the last.
pub fn text() -> String {
    serde_json::to_string_pretty(&contract()).unwrap_or_default()
}

fn contract() -> Value {
    json!({
        "contract": VERSION,
        "settings": published().map(setting).collect::<Vec<_>>(),
        "variables": [logs::FILTER],
        "commands": commands(),
        "broker": broker(),
        "storage_queue": { "poison_suffix": POISON_SUFFIX },
        "http": {
            "alive": health::ALIVE,
            "alive_body": health::alive_body(),
            "ready": health::READY,
            "metrics": health::METRICS,
        },
        "metrics": METRICS.iter().map(metric).collect::<Vec<_>>(),
        "process_metrics": process::names().collect::<Vec<_>>(),
        "azure_monitor": {
            "namespace": monitor::NAMESPACE,
            "scope": monitor::SCOPE,
            "metrics": backlog::PUBLISHED,
        },
        "imds": { "scheduled_events": imds::EVENTS },
        "event_types": EVENT_TYPES,
        "error_codes": error_codes().collect::<Vec<_>>(),
        "warning_codes": WarningCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
    })
}

fn setting(key: &Key) -> Value {
    let kind = match key.kind {
        Kind::Text => "text",
        Kind::Integer => "integer",
        Kind::Boolean => "boolean",
        Kind::List => "list",
        Kind::IntegerOrAuto => "integer_or_auto",
    };
    json!({
        "section": key.section,
        "name": key.name,
        "variable": key.variable(),
        "kind": kind,
        "default": key.default,
        "secret": key.secret,
    })
}

/// Commands by their words, each with its long options and what it takes besides; hidden are those for packages
/// and for the worker itself.
fn commands() -> Value {
    let mut found = Map::new();
    let mut cli = Cli::command();
    cli.build();
    collect(&cli, "", &mut found);
    Value::Object(found)
}

fn collect(command: &clap::Command, above: &str, found: &mut Map<String, Value>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let words = format!("{above}{}", sub.get_name());
        let visible = || sub.get_arguments().filter(|argument| !argument.is_hide_set());
        let options = visible().filter_map(|argument| {
            let name = argument.get_long()?;
            let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            Some((format!("--{name}"), json!({ "takes_value": takes, "variable": variable })))
        });
        let inputs = visible().filter(|argument| argument.is_positional());
        let inputs: Vec<_> = inputs.map(|argument| argument.get_id().as_str().to_owned()).collect();
        let options: Map<String, Value> = options.collect();
        found.insert(
            words.clone(),
            json!({ "hidden": sub.is_hide_set(), "options": options, "positional": inputs }),
        );
        collect(sub, &format!("{words} "), found);
    }
}

fn broker() -> Value {
    let by_lane = |name: fn(Lane) -> String| -> Map<String, Value> {
        Lane::ALL.into_iter().map(|lane| (lane.as_str().to_owned(), name(lane).into())).collect()
    };
    let delays =
        Delay::ALL.into_iter().map(|delay| (delay.as_str().to_owned(), topology::delay_queue(delay).into()));
    json!({
        "exchanges": {
            "jobs": topology::JOBS,
            "dead": topology::DEAD,
            "delay": topology::DELAY,
            "quarantine": topology::QUARANTINE,
            "results": topology::RESULTS,
            "deliveries_dead": topology::DELIVERIES_DEAD,
        },
        "lane_queues": by_lane(topology::lane_queue),
        "lane_keys": by_lane(topology::lane_key),
        "delay_queues": delays.collect::<Map<String, Value>>(),
        "former_queues": FORMER_QUEUES.map(|former| former.queue),
        "quarantine_queue": topology::QUARANTINE_QUEUE,
        "parked_queue": topology::PARKED,
        "dead_queue": topology::DEAD_QUEUE,
        "reports_queue": topology::REPORTS,
        "deliveries_queue": topology::DELIVERIES,
        "deliveries_dead_queue": topology::DELIVERIES_DEAD,
        "delivery_key": topology::DELIVERY_KEY,
    })
}

fn metric(metric: &table::Metric) -> Value {
    let buckets = match metric.kind {
        table::Kind::Histogram(bounds) => Some(bounds),
        table::Kind::Counter | table::Kind::Gauge => None,
    };
    let tellers: Vec<_> = Teller::ALL
        .into_iter()
        .filter(|teller| metric.told_by.contains(teller))
        .map(Teller::as_str)
        .collect();
    json!({
        "name": metric.name,
        "kind": metric.kind.as_str(),
        "labels": metric.labels,
        "buckets": buckets,
        "told_by": tellers,
    })
}

fn error_codes() -> impl Iterator<Item = Value> {
    ErrorCode::ALL.iter().map(|code| json!({ "code": code, "class": code.class() }))
}
