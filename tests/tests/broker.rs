//! The RabbitMQ adapter on a real broker: nothing is lost between two queues, and every session can die.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use nightread::adapters::amqp::{
    Courier, DeadLetters, Handling, Publisher, RabbitIntake, RabbitOptions, ResultData, ResultEvent,
    SessionState, Swept, topology,
};
use nightread::flow::valve::{PauseReason, Valve};
use nightread_domain::message::Attributes;
use nightread_domain::{
    Delivery, Disposition, ErrorCode, Intake, JobError, Lane, Message, PerLane, Settlement, Stage, Status,
};
use nightread_tests::parts::Ending;
use nightread_tests::rabbit::{Observer, Rabbit, Release, options};
use nightread_tests::wait;

/// A declared virtual host with an intake on it.
struct Bench {
    options: RabbitOptions,
    publisher: Arc<Publisher>,
    courier: Arc<Courier>,
    intake: RabbitIntake,
    observer: Observer,
}

impl Bench {
    async fn new(rabbit: &Rabbit, permits: usize) -> Self {
        let mut options = rabbit.declared().await;
        options.permits = permits;
        Self::over(options).await
    }

    async fn over(options: RabbitOptions) -> Self {
        let publisher = Arc::new(Publisher::new(options.clone()));
        let courier = Courier::new(Arc::clone(&publisher), Valve::default(), None);
        let intake = RabbitIntake::with(options.clone(), Arc::clone(&courier));
        let observer = Observer::connect(&options.url).await;
        Self { options, publisher, courier, intake, observer }
    }

    async fn announce(&self, lane: Lane, body: &str) {
        let message = Message { body: Bytes::from(body.to_owned()), attributes: Attributes::for_lane(lane) };
        self.publisher.announce(&message).await.expect("confirmed");
    }

    async fn next(&mut self) -> Delivery {
        let next =
            tokio::time::timeout(wait::patience(), self.intake.next()).await.expect("a delivery in time");
        next.expect("a session").expect("a delivery")
    }

    async fn depth(&self, lane: Lane, depth: u32) {
        self.observer.wait_for_depth(&topology::lane_queue(lane), depth).await;
    }
}

fn transient() -> JobError {
    JobError::new(Stage::Fetch, ErrorCode::StorageUnavailable, "storage is away")
}

fn retry() -> Disposition {
    Disposition::RetryAfter { delay: Duration::from_secs(1), error: transient() }
}

fn dead() -> Disposition {
    Disposition::DeadLetter { error: JobError::new(Stage::Decode, ErrorCode::NoRoute, "no model reads this") }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_declared_once_and_checked_ever_after() {
    let Some(rabbit) = Rabbit::shared("the_topology_is_declared_once_and_checked_ever_after").await else {
        return;
    };
    let options = options(&rabbit.fresh_url());
    let missing = topology::check(&options).await.expect_err("nothing is there");
    assert_eq!(missing.code, ErrorCode::BrokerRejected);
    for name in topology::queues() {
        assert!(missing.message.contains(&name), "{name} is named: {missing}");
    }
    let version = topology::declare(&options).await.expect("declared");
    assert!(version.major >= 3);
    topology::declare(&options).await.expect("declaring again changes nothing");
    topology::check(&options).await.expect("all is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_refused() {
    let Some(rabbit) = Rabbit::shared("a_queue_with_other_arguments_is_refused").await else { return };
    let options = options(&rabbit.fresh_url());
    let observer = Observer::connect(&options.url).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let classic = topology::lane_queue(Lane::Bulk);
    observer
        .channel()
        .queue_declare(classic.as_str().into(), durable, FieldTable::default())
        .await
        .expect("classic");
    let error = topology::declare(&options).await.expect_err("not a quorum queue");
    assert_eq!(error.code, ErrorCode::BrokerRejected);
    assert!(error.message.contains(&classic), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_topology_or_login_is_told_so() {
    let Some(rabbit) = Rabbit::shared("a_worker_without_topology_or_login_is_told_so").await else { return };
    let bare = rabbit.fresh_url();
    let stranger = bare.replace("guest:guest", "guest:wrong");
    for url in [bare, stranger] {
        let options = options(&url);
        let mut intake = RabbitIntake::start(options.clone(), Arc::new(Publisher::new(options)));
        let refused = tokio::time::timeout(wait::patience(), intake.next()).await.expect("an answer in time");
        let error = refused.expect_err("refused");
        assert_eq!(error.code, ErrorCode::BrokerRejected, "{error}");
        assert!(!format!("{error:?}").contains("wrong"), "no error shows a password");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_body_arrive_as_they_were_sent() {
    let Some(rabbit) = Rabbit::shared("attributes_and_body_arrive_as_they_were_sent").await else { return };
    let mut bench = Bench::new(rabbit, 4).await;
    for lane in Lane::ALL {
        let mut attributes = Attributes::for_lane(lane);
        attributes.message_id = Some("m-1".to_owned());
        attributes.correlation_id = Some("c-1".to_owned());
        attributes.content_type = Some("application/json".to_owned());
        attributes.announced_at = Some(1_700_000_000);
        attributes.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
        attributes.cloud_event = BTreeMap::from([("type".to_owned(), "x".to_owned())]);
        let sent = Message { body: Bytes::from_static(b"{}"), attributes };
        bench.publisher.announce(&sent).await.expect("confirmed");
        let mut delivery = bench.next().await;
        assert!(delivery.message.attributes.arrived.take().is_some(), "its time runs from here on");
        assert_eq!(delivery.message, sent);
        delivery.settlement.settle(Disposition::Done).await.expect("settled");
        bench.depth(lane, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_in_the_broker_and_comes_back_to_its_lane_again_and_again() {
    let Some(rabbit) =
        Rabbit::shared("a_retry_waits_in_the_broker_and_comes_back_to_its_lane_again_and_again").await
    else {
        return;
    };
    let mut bench = Bench::new(rabbit, 4).await;
    bench.announce(Lane::Bulk, "again").await;
    // The second time round the message has died in this very queue before: with `x-death` it would vanish.
    for attempt in 0..3 {
        let delivery = bench.next().await;
        assert_eq!(delivery.message.body, "again");
        assert_eq!(delivery.message.attributes.lane, Lane::Bulk);
        assert_eq!(delivery.message.attributes.attempt, attempt);
        assert_eq!(delivery.message.attributes.delivery_count, 0, "a copy is a new message");
        delivery.settlement.settle(retry()).await.expect("settled");
        bench.depth(Lane::Bulk, 0).await;
    }
    let delivery = bench.next().await;
    assert_eq!(delivery.message.attributes.attempt, 3);
    let postpone = Disposition::Postpone { delay: Duration::ZERO, error: transient(), refused_since: None };
    delivery.settlement.settle(postpone).await.expect("settled");
    let delivery = bench.next().await;
    assert_eq!(delivery.message.attributes.attempt, 3, "an outage counts no attempt");
    delivery.settlement.settle(Disposition::Done).await.expect("settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_letter_that_fails_again_arrives_again() {
    let Some(rabbit) = Rabbit::shared("a_redriven_letter_that_fails_again_arrives_again").await else {
        return;
    };
    let mut bench = Bench::new(rabbit, 4).await;
    bench.announce(Lane::Volumes, "scan").await;
    let letters = DeadLetters::open(&bench.options).await.expect("opened");
    for round in 0..3 {
        let delivery = bench.next().await;
        assert_eq!(delivery.message.attributes.redriven, round > 0);
        assert_eq!(delivery.message.attributes.lane, Lane::Volumes);
        assert_eq!(delivery.message.attributes.attempt, 0);
        delivery.settlement.settle(retry()).await.expect("settled");
        let delivery = bench.next().await;
        assert_eq!(delivery.message.attributes.attempt, 1);
        assert_eq!(delivery.message.attributes.redriven, round > 0, "a retry remembers the redrive");
        delivery.settlement.settle(dead()).await.expect("settled");
        bench.observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
        let found = letters.peek(10).await.expect("peeked");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code, found[0].stage), (ErrorCode::NoRoute, Some(Stage::Decode)));
        assert_eq!(found[0].reason.as_deref(), Some("no model reads this"));
        assert_eq!(found[0].message.attributes.lane, Lane::Volumes);
        assert!(found[0].dead_at.is_some());
        bench.observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
        let mut swept = Swept::default();
        letters.sweep(Some(&bench.publisher), &mut swept, |_| Handling::Redrive).await.expect("redriven");
        assert_eq!(swept, Swept { seen: 1, redriven: 1, discarded: 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_stays_in_flight_and_nothing_more_is_taken() {
    let test = "what_cannot_be_published_stays_in_flight_and_nothing_more_is_taken";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let mut bench = Bench::new(rabbit, 4).await;
    let channel = bench.observer.channel();
    let (queue, exchange) = (topology::DEAD_QUEUE, topology::DEAD);
    let nothing = FieldTable::default;
    channel.queue_unbind(queue.into(), exchange.into(), "".into(), nothing()).await.expect("unbound");
    bench.announce(Lane::Ingest, "stays").await;
    let delivery = bench.next().await;
    let settling = tokio::spawn(delivery.settlement.settle(dead()));
    let valve = bench.courier.valve().clone();
    tokio::time::timeout(wait::patience(), valve.closed()).await.expect("a pause in time");
    let why = valve.reasons().remove(&PauseReason::Publishing).expect("the reason");
    assert!(why.contains(topology::DEAD), "{why}");
    // What was announced meanwhile waits in its lane, untouched.
    for body in ["one", "two", "three"] {
        bench.announce(Lane::Ingest, body).await;
    }
    bench.depth(Lane::Ingest, 3).await;
    let taken = tokio::time::timeout(Duration::from_secs(1), bench.intake.next()).await;
    assert!(taken.is_err(), "nothing is taken during a pause: {taken:?}");
    assert!(!settling.is_finished(), "the delivery is still in flight");
    let channel = bench.observer.channel();
    let bound =
        channel.queue_bind(queue.into(), exchange.into(), "".into(), QueueBindOptions::default(), nothing());
    bound.await.expect("bound");
    settling.await.expect("no panic").expect("settled after all");
    bench.observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let next = bench.next().await;
        // What came while the consumers were being cancelled went back once.
        assert!(next.message.attributes.delivery_count <= 1, "{:?}", next.message.attributes);
        seen.insert(next.message.body.clone());
        next.settlement.settle(Disposition::Done).await.expect("settled");
    }
    assert_eq!(seen.len(), 3);
    bench.depth(Lane::Ingest, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_dropped_unsettled_comes_again_and_is_counted_and_ends_as_worker_died() {
    let test = "a_delivery_dropped_unsettled_comes_again_and_is_counted_and_ends_as_worker_died";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let mut bench = Bench::new(rabbit, 4).await;
    bench.announce(Lane::Ingest, "poison").await;
    for deliveries in 0..=50 {
        let delivery = bench.next().await;
        assert_eq!(delivery.message.attributes.delivery_count, deliveries);
        drop(delivery);
    }
    // The broker's own limit is the safety net behind the worker's rule.
    bench.observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let letters = DeadLetters::open(&bench.options).await.expect("opened");
    let found = letters.peek(10).await.expect("peeked");
    assert_eq!(found[0].code, ErrorCode::WorkerDied);
    assert_eq!(found[0].message.body, "poison");
    assert_eq!(found[0].message.attributes.lane, Lane::Ingest);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arriving_image_does_not_wait_behind_a_relabelling() {
    let Some(rabbit) = Rabbit::shared("an_arriving_image_does_not_wait_behind_a_relabelling").await else {
        return;
    };
    let mut bench = Bench::new(rabbit, 8).await;
    for number in 0..300 {
        bench.announce(Lane::Bulk, &format!("bulk {number}")).await;
    }
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(bench.next().await);
    }
    assert!(
        held.iter().all(|delivery| delivery.message.attributes.lane == Lane::Bulk),
        "bulk has the worker to itself"
    );
    let waiting = tokio::time::timeout(Duration::from_millis(300), bench.intake.next()).await;
    assert!(waiting.is_err(), "but for one permit");
    bench.announce(Lane::Ingest, "image").await;
    let image = bench.next().await;
    assert_eq!(image.message.body, "image");
    image.settlement.settle(Disposition::Done).await.expect("settled");
    // While images keep coming, bulk falls back to its share and goes on.
    let mut lanes = BTreeMap::from([(Lane::Ingest, 0), (Lane::Bulk, 0)]);
    for number in 0..100 {
        bench.announce(Lane::Ingest, &format!("image {number}")).await;
    }
    let mut held: std::collections::VecDeque<_> = held.into();
    for _ in 0..120 {
        if let Some(oldest) = held.pop_front() {
            oldest.settlement.settle(Disposition::Done).await.expect("settled");
        }
        let delivery = bench.next().await;
        *lanes.entry(delivery.message.attributes.lane).or_default() += 1;
        held.push_back(delivery);
    }
    assert!(lanes[&Lane::Ingest] >= 60, "{lanes:?}");
    assert!(lanes[&Lane::Bulk] >= 10, "bulk is slowed down and not stopped: {lanes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_intake_gives_back_what_it_had_not_handed_out() {
    let Some(rabbit) = Rabbit::shared("a_stopped_intake_gives_back_what_it_had_not_handed_out").await else {
        return;
    };
    let mut bench = Bench::new(rabbit, 8).await;
    for number in 0..20 {
        bench.announce(Lane::Ingest, &number.to_string()).await;
    }
    let in_flight = [bench.next().await, bench.next().await];
    let watcher = bench.intake.watcher();
    bench.intake.stop().await;
    assert!(bench.intake.next().await.expect("no error").is_none());
    assert!(bench.intake.next().await.expect("no error").is_none(), "and none after that");
    bench.depth(Lane::Ingest, 18).await;
    let [first, second] = in_flight;
    first.settlement.settle(Disposition::Done).await.expect("the session stands until all is settled");
    second.settlement.settle(retry()).await.expect("settled");
    drop(bench.intake);
    assert!(watcher.closed(wait::patience()).await);
    bench.observer.wait_for_depth(&topology::lane_queue(Lane::Ingest), 19).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_split_into_messages_of_the_same_lane() {
    let Some(rabbit) = Rabbit::shared("a_batch_is_split_into_messages_of_the_same_lane").await else {
        return;
    };
    let mut bench = Bench::new(rabbit, 8).await;
    bench.announce(Lane::Bulk, "batch").await;
    let delivery = bench.next().await;
    let part = |number: usize| Message {
        body: Bytes::from(format!("part {number}")),
        attributes: delivery.message.attributes.clone(),
    };
    let parts = (0..500).map(part).collect();
    delivery.settlement.settle(Disposition::Split(parts)).await.expect("settled");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let delivery = bench.next().await;
        assert_eq!(delivery.message.attributes.lane, Lane::Bulk);
        seen.insert(delivery.message.body.clone());
        delivery.settlement.settle(Disposition::Done).await.expect("settled");
    }
    assert_eq!(seen.len(), 500);
    bench.depth(Lane::Bulk, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_hears_of_results() {
    let Some(rabbit) = Rabbit::shared("whoever_listens_hears_of_results").await else { return };
    let bench = Bench::new(rabbit, 1).await;
    let event = ResultEvent::new(
        "id-1".to_owned(),
        time::OffsetDateTime::UNIX_EPOCH,
        ResultData {
            status: Status::Failed,
            result: "results/m/1/incoming/a.png.json".to_owned(),
            source: "incoming/a.png".to_owned(),
            model: "m".to_owned(),
            version: "1".to_owned(),
            code: Some(ErrorCode::NotAnImage),
            correlation_id: Some("c".to_owned()),
        },
    );
    bench.publisher.tell(&event).await.expect("nobody listens, and that is fine");
    let channel = bench.observer.channel();
    channel
        .queue_declare("ear".into(), QueueDeclareOptions::default(), FieldTable::default())
        .await
        .expect("a queue");
    channel
        .queue_bind(
            "ear".into(),
            topology::RESULTS.into(),
            "result.failed.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("bound");
    bench.publisher.tell(&event).await.expect("told");
    let heard = bench.observer.take("ear").await;
    let body: serde_json::Value = serde_json::from_slice(&heard.data).expect("JSON");
    assert_eq!(body["specversion"], "1.0");
    assert_eq!(body["type"], "nightread.result");
    assert_eq!(body["data"]["status"], "failed");
    assert_eq!(body["data"]["code"], "not_an_image");
    assert_eq!(body["data"]["result"], "results/m/1/incoming/a.png.json");
    let kind = heard.properties.content_type().as_ref().map(lapin::types::ShortString::as_str);
    assert_eq!(kind, Some("application/cloudevents+json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_are_handed_on_and_never_routed_by_their_own_word() {
    let Some(rabbit) =
        Rabbit::shared("hostile_messages_are_handed_on_and_never_routed_by_their_own_word").await
    else {
        return;
    };
    let mut bench = Bench::new(rabbit, 4).await;
    let channel = bench.observer.channel();
    channel
        .queue_declare("trap".into(), QueueDeclareOptions::default(), FieldTable::default())
        .await
        .expect("a queue");
    let mut headers = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert("attempt".into(), text("many"));
    headers.insert("x-delivery-count".into(), text("lies"));
    headers.insert("traceparent".into(), AMQPValue::LongString(vec![0xff, 0xfe].into()));
    headers.insert("cloudEvents:type".into(), AMQPValue::FieldTable(FieldTable::default()));
    headers.insert("delay".into(), text("1000y"));
    headers.insert("x-death".into(), text("not a table"));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_reply_to("trap".into())
        .with_user_id("guest".into())
        .with_content_type("text/\u{fffd}".into());
    let huge = vec![b'['; 10_000_000];
    let publish = BasicPublishOptions::default();
    let sent =
        channel.basic_publish(topology::JOBS.into(), "job.ingest.x".into(), publish, &huge, properties).await;
    sent.expect("sent").await.expect("taken");
    let delivery = bench.next().await;
    assert_eq!(delivery.message.body.len(), huge.len());
    assert_eq!(delivery.message.attributes.attempt, 0);
    assert!(delivery.message.attributes.cloud_event.is_empty());
    let refused = nightread_domain::announcement::parse(&delivery.message).expect_err("too large");
    assert_eq!(refused.code, ErrorCode::MessageTooLarge);
    delivery.settlement.settle(retry()).await.expect("settled");
    let delivery = bench.next().await;
    assert_eq!(delivery.message.attributes.attempt, 1);
    delivery.settlement.settle(Disposition::DeadLetter { error: refused }).await.expect("settled");
    bench.observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    assert_eq!(bench.observer.depth("trap").await, 0);
    let letters = DeadLetters::open(&bench.options).await.expect("opened");
    assert_eq!(letters.peek(1).await.expect("peeked")[0].code, ErrorCode::MessageTooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_in_a_lane_without_workers_died_of_that() {
    let test = "what_expires_in_a_lane_without_workers_died_of_that";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let options = rabbit.declared().await;
    let observer = Observer::connect(&options.url).await;
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id("late".into())
        .with_content_type("application/json".into())
        .with_expiration("100".into());
    let (exchange, key) = (topology::JOBS.into(), topology::lane_key(Lane::Ingest));
    let body = br#"{"blob": "incoming/late.png"}"#;
    let sent = observer.channel().basic_publish(
        exchange,
        key.as_str().into(),
        BasicPublishOptions::default(),
        body,
        properties,
    );
    drop(sent.await.expect("sent"));
    observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let letters = DeadLetters::open(&options).await.expect("opened");
    let letter = letters.peek(1).await.expect("peeked").swap_remove(0);
    assert_eq!(letter.code, ErrorCode::MessageExpired, "and of no worker");
    assert_eq!(letter.message.attributes.message_id.as_deref(), Some("late"));
    letters.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_dies_is_followed_by_another_and_nothing_is_lost_or_doubled() {
    let test = "a_session_that_dies_is_followed_by_another_and_nothing_is_lost_or_doubled";
    let Some(mut rabbit) = Rabbit::start(None).await else {
        return nightread_tests::parts::skipped(test, "RabbitMQ");
    };
    let mut bench = Bench::new(&rabbit, 4).await;
    let mut state = bench.intake.watcher().state();
    for number in 0..6 {
        bench.announce(Lane::Ingest, &number.to_string()).await;
    }
    let mut orphans = vec![bench.next().await, bench.next().await, bench.next().await];
    rabbit.pause(Ending::Kill);
    state.wait_for(|state| *state == SessionState::Down).await.expect("seen");
    let early =
        orphans.pop().expect("three").settlement.settle(retry()).await.expect_err("the session is over");
    assert_eq!(early.code, ErrorCode::BrokerUnavailable);
    rabbit.resume().await;
    tokio::time::timeout(wait::patience(), state.wait_for(|state| state.is_up()))
        .await
        .expect("a new session in time")
        .expect("seen");
    let late = orphans.pop().expect("two").settlement.settle(dead()).await.expect_err("another session");
    assert_eq!(late.code, ErrorCode::BrokerUnavailable);
    drop(orphans);
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..6 {
        let delivery = bench.next().await;
        seen.push(String::from_utf8_lossy(&delivery.message.body).into_owned());
        delivery.settlement.settle(Disposition::Done).await.expect("settled");
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5"], "each once");
    bench.announce(Lane::Ingest, "the publisher is back too").await;
    bench.next().await.settlement.settle(Disposition::Done).await.expect("settled");
    let observer = Observer::connect(&bench.options.url).await;
    for queue in topology::queues() {
        observer.wait_for_depth(&queue, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_start_before_its_broker() {
    let Some(mut rabbit) = Rabbit::start(None).await else {
        return nightread_tests::parts::skipped("a_worker_may_start_before_its_broker", "RabbitMQ");
    };
    let mut options = rabbit.declared().await;
    options.longest_backoff = Duration::from_secs(1);
    rabbit.pause(Ending::Term);
    let publisher = Arc::new(Publisher::new(options.clone()));
    let mut intake = RabbitIntake::start(options.clone(), Arc::clone(&publisher));
    let nothing = tokio::time::timeout(Duration::from_secs(2), intake.next()).await;
    assert!(nothing.is_err(), "it waits");
    assert_eq!(*intake.watcher().state().borrow(), SessionState::Down);
    rabbit.resume().await;
    let message = Message { body: Bytes::from_static(b"x"), attributes: Attributes::for_lane(Lane::Ingest) };
    publisher.announce(&message).await.expect("confirmed");
    let delivery = tokio::time::timeout(wait::patience(), intake.next()).await.expect("in time");
    let settlement: Box<dyn Settlement> = delivery.expect("a session").expect("a delivery").settlement;
    settlement.settle(Disposition::Done).await.expect("settled");
}

/// A volume may take longer than the broker lets anything else be unacknowledged: by a policy where brokers know one, else not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_gives_volumes_more_time_and_brokers_without_one_are_refused() {
    let test = "a_policy_gives_volumes_more_time_and_brokers_without_one_are_refused";
    let release = Release::asked_for();
    let Some(rabbit) = Rabbit::start_of(release, "consumer_timeout = 5000\n").await else {
        return release.skipped(test);
    };
    rabbit.control(&["eval", "application:set_env(rabbit, channel_tick_interval, 1000)."]).await;
    let mut options = rabbit.declared().await;
    let brief = Duration::from_secs(5);
    options.consumer_timeout = PerLane { ingest: brief, bulk: brief, volumes: Duration::from_mins(2) };
    let mut bench = Bench::over(options.clone()).await;
    let Ok(version) = topology::check(&options).await else {
        let refused = bench.intake.next().await.expect_err("its volumes would be taken back");
        assert_eq!(refused.code, ErrorCode::BrokerRejected);
        assert!(refused.message.contains("volumes_consumer_timeout_seconds"), "{refused}");
        assert_eq!(release, Release::Installed);
        return;
    };
    let host = options.url.rsplit_once('/').expect("a virtual host").1;
    let queues = r"^nightread\.jobs\.(volumes|quarantine)$";
    let definition = r#"{"consumer-timeout":120000}"#;
    rabbit.control(&["set_policy", "-p", host, "volumes", queues, definition, "--apply-to", "queues"]).await;
    bench.announce(Lane::Volumes, "abdomen").await;
    let volume = bench.next().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    volume.settlement.settle(Disposition::Done).await.expect("still ours");
    bench.depth(Lane::Volumes, 0).await;
    // The same patience on another lane: the broker takes the delivery back.
    bench.announce(Lane::Ingest, "radiograph").await;
    let held = bench.next().await;
    let again = bench.next().await;
    assert_eq!(again.message.body, held.message.body, "RabbitMQ {version} has lost patience");
    again.settlement.settle(Disposition::Done).await.expect("settled");
    drop(held);
}
