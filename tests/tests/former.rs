//! A broker on which an earlier version ran: whatever bears its key finds to the lane of now, and nothing is stranded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Stdio;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};
use nightread::adapters::amqp::{FORMER_KEY, FORMER_QUEUES, FormerQueue, topology};
use nightread_domain::Lane;
use nightread_domain::retry::Delay;
use nightread_tests::azurite::Azurite;
use nightread_tests::bench::Bench;
use nightread_tests::images::grey;
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;
use nightread_tests::worker::Worker;
use serde_json::json;

const SCANS: FormerQueue = FORMER_QUEUES[0];
const SUSPECTS: FormerQueue = FORMER_QUEUES[1];

/// What lies in the former lane when its binding is taken away.
const IN_THE_LANE: usize = 3;

fn table(entries: &[(&'static str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Takes the broker back to what the earlier version declared.
async fn go_back(observer: &Observer) {
    let channel = observer.channel();
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let suspects = SUSPECTS.exchange.into();
    let declared = channel.exchange_declare(suspects, ExchangeKind::Fanout, durable, FieldTable::default());
    declared.await.expect("declared");
    let arguments = table(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(50)),
        ("x-dead-letter-exchange", text(topology::DEAD)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]);
    for FormerQueue { queue, exchange, key, heir, .. } in FORMER_QUEUES {
        channel.queue_delete(heir.into(), QueueDeleteOptions::default()).await.expect("deleted");
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, arguments.clone()).await.expect("declared");
        let bind = QueueBindOptions::default();
        let bound =
            channel.queue_bind(queue.into(), exchange.into(), key.into(), bind, FieldTable::default());
        bound.await.expect("bound");
    }
}

/// One study of its own, announced under the former key into an exchange.
async fn send(bench: &Bench, observer: &Observer, name: &str, exchange: &str, properties: BasicProperties) {
    bench.upload(name, grey(name.len() as u8, 64, 1)).await;
    let body = json!({"blob": format!("{}/{name}", bench.incoming)}).to_string();
    let publish = BasicPublishOptions { mandatory: true, ..Default::default() };
    let key = FORMER_KEY.into();
    let properties = properties.with_delivery_mode(2).with_message_id(name.into());
    let sent = observer.channel().basic_publish(exchange.into(), key, publish, body.as_bytes(), properties);
    let confirmed = sent.await.expect("sent").await.expect("confirmed");
    assert_eq!(confirmed, Confirmation::Ack(None), "{name} is taken by a queue");
}

fn topology_says(bench: &Bench, arguments: &[&str]) -> String {
    let mut command = bench.settings().command(&["topology"]);
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_left_in_any_queue_is_read() {
    let test = "what_an_earlier_version_left_in_any_queue_is_read";
    let (Some(rabbit), Some(azurite)) = (Rabbit::managed(test).await, Azurite::shared(test).await) else {
        return;
    };
    if !Worker::is_built(test) {
        return;
    }
    let bench = Bench::over(test, rabbit, azurite).await;
    let observer = bench.observer().await;
    observer.channel().confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    go_back(&observer).await;

    let mut names = Vec::new();
    for number in 0..IN_THE_LANE {
        names.push(format!("lane-{number}"));
        send(&bench, &observer, &names[number], topology::JOBS, BasicProperties::default()).await;
    }
    for delay in Delay::ALL {
        let name = format!("delayed-{}", delay.as_str());
        let headers = table(&[("delay", text(delay.as_str())), ("attempt", AMQPValue::LongUInt(1))]);
        // The longest takes minutes: of its own time and the queue's the shorter counts.
        let properties = BasicProperties::default().with_headers(headers).with_expiration("5000".into());
        send(&bench, &observer, &name, topology::DELAY, properties).await;
        names.push(name);
    }
    for (name, exchange) in [("suspect", SUSPECTS.exchange), ("dead", topology::DEAD)] {
        send(&bench, &observer, name, exchange, BasicProperties::default()).await;
        names.push(name.to_owned());
    }
    observer.wait_for_depth(SCANS.queue, IN_THE_LANE as u32).await;
    observer.wait_for_depth(SUSPECTS.queue, 1).await;

    let said = topology_says(&bench, &[]);
    assert!(said.contains(&format!("{} of an earlier version holds 3 messages", SCANS.queue)), "{said}");
    assert!(said.contains(&format!("{} of an earlier version holds 1 messages", SUSPECTS.queue)), "{said}");
    assert_eq!(topology_says(&bench, &["--check"]), said, "looking tells the same");
    names.push("older-announcer".to_owned());
    send(&bench, &observer, "older-announcer", topology::JOBS, BasicProperties::default()).await;
    // A worker of that version still sets studies aside.
    names.push("later-suspect".to_owned());
    send(&bench, &observer, "later-suspect", SUSPECTS.exchange, BasicProperties::default()).await;
    observer.wait_for_depth(topology::QUARANTINE_QUEUE, 1).await;
    let lane = topology::lane_queue(Lane::Volumes);
    // The announcer's, and every delayed one whose time is over.
    observer.wait_for_depth(&lane, 1 + Delay::ALL.len() as u32).await;
    observer.wait_for_depth(SCANS.queue, IN_THE_LANE as u32).await;

    // As the page on upgrades says.
    rabbit.enable("rabbitmq_shovel").await;
    let host = bench.options.url.rsplit_once('/').expect("a virtual host").1;
    let uri = format!("amqp:///{host}");
    for former in FORMER_QUEUES {
        let shovel = json!({
            "src-protocol": "amqp091", "src-uri": uri, "src-queue": former.queue, "src-delete-after": "queue-length",
            "dest-protocol": "amqp091", "dest-uri": uri, "dest-exchange": former.way, "ack-mode": "on-confirm",
        });
        let shovel = shovel.to_string();
        rabbit.control(&["set_parameter", "--vhost", host, "shovel", former.queue, &shovel]).await;
    }
    observer.wait_for_depth(&lane, (1 + Delay::ALL.len() + IN_THE_LANE) as u32).await;
    observer.wait_for_depth(topology::QUARANTINE_QUEUE, 2).await;
    let said = wait::until("the shovel to end", || async {
        let said = topology_says(&bench, &["--check"]);
        (said.matches("is empty").count() == FORMER_QUEUES.len()).then_some(said)
    })
    .await;
    assert!(said.contains("delete_queue"), "{said}");

    let mut redrive = bench.settings().command(&["dead", "redrive", "--all"]);
    let redriven = redrive.stdin(Stdio::null()).output().expect("the command runs");
    assert!(redriven.status.success(), "{}", String::from_utf8_lossy(&redriven.stderr));
    let worker = bench.start();
    for name in &names {
        let document = bench.wait_for_result(name).await;
        assert_eq!(document["status"], "ok", "{name}: {document}");
    }
    bench.settled(&[&worker], wait::patience()).await;
    assert!(bench.dead().await.is_empty(), "nothing is left");

    for former in FORMER_QUEUES {
        rabbit.control(&["delete_queue", "--vhost", host, former.queue]).await;
    }
    assert_eq!(topology_says(&bench, &[]), "", "it is not spoken of again");
}
