//! Whether exchanges, queues, bindings and policies are as they should be, as the management plug-in tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use nightread_domain::{JobError, Lane, PerLane};
use serde::Deserialize;
use serde_json::Value;

use super::management::Management;
use crate::adapters::amqp::names::FORMER_QUEUES;
use crate::adapters::amqp::topology;

/// What a policy must not do to queues that hold work or what became of it.
const HARMFUL: [&str; 6] =
    ["message-ttl", "expires", "max-length", "max-length-bytes", "delivery-limit", "dead-letter-exchange"];

#[derive(Clone, Debug, Default, Deserialize)]
struct FoundQueue {
    name: String,
    #[serde(default)]
    durable: bool,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
    policy: Option<String>,
    operator_policy: Option<String>,
    /// An empty list where there is none.
    #[serde(default)]
    effective_policy_definition: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct FoundBinding {
    source: String,
    destination: String,
    destination_type: String,
    routing_key: String,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct FoundExchange {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    durable: bool,
}

impl Management {
    /// Everything that is not as `topology` declares it, or that a policy makes dangerous, one line each.
    /// `timeouts` are the consumer timeouts that workers reckon with.
    pub async fn differences(&self, timeouts: &PerLane<Duration>) -> Result<Vec<String>, JobError> {
        let queues = self.queues().await?;
        let columns = "source,destination,destination_type,routing_key,arguments";
        let bindings: Vec<FoundBinding> = self.ask("bindings", columns).await?;
        let exchanges: Vec<FoundExchange> = self.ask("exchanges", "name,type,durable").await?;
        let mut differences = of_exchanges(&exchanges);
        differences.extend(of_queues(&queues));
        differences.extend(of_timeouts(&queues, timeouts));
        differences.extend(of_bindings(&bindings));
        Ok(differences)
    }

    /// Where policies give queues less patience than workers reckon with, one line each.
    pub async fn impatience(&self, timeouts: &PerLane<Duration>) -> Result<Vec<String>, JobError> {
        Ok(of_timeouts(&self.queues().await?, timeouts))
    }

    async fn queues(&self) -> Result<Vec<FoundQueue>, JobError> {
        self.ask("queues", "name,durable,arguments,policy,operator_policy,effective_policy_definition").await
    }
}

fn of_exchanges(found: &[FoundExchange]) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, kind) in topology::exchanges() {
        let kind = name_of(&kind);
        match found.iter().find(|exchange| exchange.name == name) {
            None => differences.push(format!("exchange {name} is missing")),
            Some(exchange) if exchange.kind != kind => {
                differences.push(format!("exchange {name} is of type {}, not {kind}", exchange.kind));
            }
            Some(exchange) if !exchange.durable => {
                differences.push(format!("exchange {name} is not durable"));
            }
            Some(_) => {}
        }
    }
    differences
}

fn name_of(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(name) => name,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

fn of_queues(found: &[FoundQueue]) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, arguments) in topology::layout() {
        let Some(queue) = found.iter().find(|queue| queue.name == name) else {
            differences.push(format!("queue {name} is missing"));
            continue;
        };
        if !queue.durable {
            differences.push(format!("queue {name} is not durable"));
        }
        let expected = as_json(&arguments);
        for (argument, value) in &expected {
            match queue.arguments.get(argument) {
                Some(found) if found == value => {}
                Some(found) => differences.push(format!("queue {name}: {argument} is {found}, not {value}")),
                None => differences.push(format!("queue {name}: {argument} is missing, {value} is expected")),
            }
        }
        for argument in queue.arguments.keys().filter(|argument| !expected.contains_key(*argument)) {
            differences.push(format!("queue {name}: {argument} is not expected"));
        }
        differences.extend(of_policy(queue));
    }
    differences
}

/// What a policy says of a queue's consumer timeout, against what workers reckon with. The broker's own is not told here.
fn of_timeouts(found: &[FoundQueue], timeouts: &PerLane<Duration>) -> Vec<String> {
    let lanes = Lane::ALL.map(|lane| (topology::lane_queue(lane), timeouts[lane]));
    // Any lane's deliveries may come to the quarantine.
    let queues = lanes.into_iter().chain([(topology::QUARANTINE_QUEUE.to_owned(), timeouts.volumes)]);
    let mut differences = Vec::new();
    for (name, expected) in queues {
        let Some(queue) = found.iter().find(|queue| queue.name == name) else { continue };
        let by_policy = queue.effective_policy_definition.get("consumer-timeout").and_then(Value::as_u64);
        let expected_ms = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
        match by_policy {
            Some(found) if found < expected_ms => differences.push(format!(
                "queue {name}: its policy's consumer-timeout is {found} ms, and workers reckon with {expected_ms}: long work \
                 would be taken back in the middle"
            )),
            None if expected > timeouts.ingest => differences.push(format!(
                "queue {name}: no policy sets consumer-timeout, and workers reckon with {expected_ms} ms \
                 ([broker] volumes_consumer_timeout_seconds)"
            )),
            Some(_) | None => {}
        }
    }
    differences
}

/// A policy is part of how a queue behaves, but not of how it was declared.
fn of_policy(queue: &FoundQueue) -> Vec<String> {
    let Value::Object(definition) = &queue.effective_policy_definition else { return Vec::new() };
    let policies = [&queue.policy, &queue.operator_policy];
    let named: Vec<_> =
        policies.into_iter().flatten().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let harmful = definition.iter().filter(|(key, _)| HARMFUL.contains(&key.as_str()));
    harmful
        .map(|(key, value)| {
            let harm = match key.as_str() {
                "message-ttl" | "expires"
                    if [topology::DEAD_QUEUE, topology::DELIVERIES_DEAD].contains(&queue.name.as_str()) =>
                {
                    "dead letters would vanish unseen"
                }
                "message-ttl" | "expires" => "what waits there would not be read",
                "max-length" | "max-length-bytes" => "publishers would be refused, or messages dropped",
                "delivery-limit" => "the limit that was declared would not hold",
                _ => "what dies there would go elsewhere",
            };
            format!("queue {}: policy {} sets {key} to {value}: {harm}", queue.name, named.join(" and "))
        })
        .collect()
}

/// Whether it leads into a queue of an earlier version; every queue is bound to the nameless exchange.
fn is_former(binding: &FoundBinding) -> bool {
    binding.destination_type == "queue"
        && !binding.source.is_empty()
        && FORMER_QUEUES.iter().any(|former| former.queue == binding.destination)
}

fn of_bindings(found: &[FoundBinding]) -> Vec<String> {
    let mut differences = Vec::new();
    for wanted in topology::bindings() {
        let arguments = as_json(&wanted.arguments);
        let is_there = found.iter().any(|binding| {
            binding.destination_type == "queue"
                && binding.destination == wanted.queue
                && binding.source == wanted.exchange
                && binding.routing_key == wanted.key
                && binding.arguments == arguments
        });
        if !is_there {
            let topology::Binding { queue, exchange, key, .. } = wanted;
            differences
                .push(format!("nothing leads from exchange {exchange} by key {key:?} into queue {queue}"));
        }
    }
    differences.extend(found.iter().filter(|binding| is_former(binding)).map(|binding| {
        format!(
            "key {:?} of exchange {} still leads into queue {} of an earlier version, from which nothing is read",
            binding.routing_key, binding.source, binding.destination
        )
    }));
    // What else leads into a lane's exchange is the operator's; out of it, into a lane, nothing else may.
    for lane in Lane::ALL {
        let queue = topology::lane_queue(lane);
        let foreign = found.iter().filter(|binding| {
            binding.destination_type == "queue"
                && binding.destination == queue
                && binding.source == topology::JOBS
                && !is_own(binding)
        });
        for binding in foreign {
            let key = &binding.routing_key;
            differences.push(format!(
                "key {key:?} leads into queue {queue} too: one announcement would be read as two"
            ));
        }
    }
    differences
}

/// Whether this is a binding of the topology, whatever its arguments.
fn is_own(binding: &FoundBinding) -> bool {
    topology::bindings().iter().any(|wanted| {
        wanted.queue == binding.destination
            && wanted.exchange == binding.source
            && wanted.key == binding.routing_key
    })
}

fn as_json(arguments: &FieldTable) -> BTreeMap<String, Value> {
    let arguments = arguments.inner().iter();
    arguments.map(|(name, value)| (name.as_str().to_owned(), value_as_json(value))).collect()
}

fn value_as_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongString(text) => Value::from(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Boolean(yes) => Value::from(*yes),
        // Nothing else is declared here.
        other => Value::from(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a broker would answer on which everything is as it should be.
    fn sound() -> (Vec<FoundQueue>, Vec<FoundBinding>) {
        let queues = topology::layout().into_iter().map(|(name, arguments)| FoundQueue {
            name,
            durable: true,
            arguments: as_json(&arguments),
            effective_policy_definition: json!([]),
            ..FoundQueue::default()
        });
        let bindings = topology::bindings().into_iter().map(|binding| FoundBinding {
            source: binding.exchange.to_owned(),
            destination: binding.queue,
            destination_type: "queue".to_owned(),
            routing_key: binding.key,
            arguments: as_json(&binding.arguments),
        });
        (queues.collect(), bindings.collect())
    }

    #[test]
    fn what_is_as_declared_has_no_differences() {
        let (queues, bindings) = sound();
        assert_eq!(of_queues(&queues), Vec::<String>::new());
        assert_eq!(of_bindings(&bindings), Vec::<String>::new());
    }

    #[test]
    fn every_binding_and_every_argument_is_missed() {
        let (queues, bindings) = sound();
        for left_out in 0..bindings.len() {
            let mut bindings = bindings.clone();
            let gone = bindings.remove(left_out);
            let differences = of_bindings(&bindings);
            assert_eq!(differences.len(), 1, "{differences:?}");
            assert!(differences[0].contains(&gone.destination) && differences[0].contains(&gone.source));
        }
        for (number, queue) in queues.iter().enumerate() {
            for argument in queue.arguments.keys() {
                let mut queues = queues.clone();
                queues[number].arguments.remove(argument);
                let differences = of_queues(&queues);
                assert_eq!(differences.len(), 1, "{differences:?}");
                assert!(differences[0].contains(argument.as_str()));
            }
        }
    }

    #[test]
    fn less_patience_than_workers_reckon_with_is_named() {
        let (mut queues, _) = sound();
        let minutes = |ingest, volumes| PerLane { ingest, bulk: ingest, volumes }.map(Duration::from_mins);
        assert_eq!(of_timeouts(&queues, &minutes(30, 30)), Vec::<String>::new());
        let differences = of_timeouts(&queues, &minutes(30, 240));
        assert_eq!(differences.len(), 2, "volumes and quarantine: {differences:?}");
        assert!(differences.iter().all(|line| line.contains("14400000 ms")), "{differences:?}");
        for queue in &mut queues {
            queue.effective_policy_definition = json!({"consumer-timeout": 14_400_000});
        }
        assert_eq!(of_timeouts(&queues, &minutes(30, 240)), Vec::<String>::new());
        let differences = of_timeouts(&queues, &minutes(30, 241));
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences[0].contains("consumer-timeout is 14400000 ms"), "{differences:?}");
    }

    #[test]
    fn a_policy_that_lets_dead_letters_vanish_is_named() {
        let (mut queues, _) = sound();
        queues[0].policy = Some("tidy".to_owned());
        queues[0].effective_policy_definition = json!({"message-ttl": 1000, "ha-mode": "all"});
        let differences = of_queues(&queues);
        assert_eq!(
            differences,
            [
                "queue nightread.jobs.dead: policy tidy sets message-ttl to 1000: dead letters would vanish unseen"
            ]
        );
    }
}
