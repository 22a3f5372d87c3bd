//! What was handed out twice and not finished is set aside on a real broker, and handed out singly from there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nightread::adapters::amqp::{Courier, DeadLetters, Publisher, RabbitIntake, RabbitOptions, topology};
use nightread::flow::valve::{Pause, PauseReason, Valve};
use nightread_domain::message::Attributes;
use nightread_domain::{Delivery, Disposition, ErrorCode, Intake, JobError, Lane, Message, Stage};
use nightread_tests::rabbit::{Observer, Rabbit};
use nightread_tests::wait;

async fn next(intake: &mut RabbitIntake) -> Delivery {
    let next = tokio::time::timeout(wait::patience(), intake.next()).await.expect("a delivery in time");
    next.expect("a session").expect("a delivery")
}

/// An intake on a declared virtual host with these messages already in quarantine.
async fn quarantining(
    rabbit: &Rabbit,
    bodies: &[&str],
    lane: Lane,
) -> (RabbitOptions, RabbitIntake, Observer) {
    let mut options = rabbit.declared().await;
    options.permits = 8;
    let publisher = Arc::new(Publisher::new(options.clone()));
    for body in bodies {
        let attributes = Attributes { message_id: Some((*body).to_owned()), ..Attributes::for_lane(lane) };
        let message = Message { body: Bytes::from((*body).to_owned()), attributes };
        publisher.announce(&message).await.expect("confirmed");
    }
    let mut intake = RabbitIntake::start(options.clone(), publisher);
    let mut held = Vec::new();
    for _ in bodies {
        held.push(next(&mut intake).await);
    }
    for delivery in held {
        assert!(!delivery.message.attributes.quarantined);
        delivery.settlement.settle(Disposition::Quarantine { started: false }).await.expect("set aside");
    }
    let observer = Observer::connect(&options.url).await;
    (options, intake, observer)
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantined_messages_come_one_at_a_time_and_only_a_start_is_counted() {
    let Some(rabbit) =
        Rabbit::shared("quarantined_messages_come_one_at_a_time_and_only_a_start_is_counted").await
    else {
        return;
    };
    let (options, mut intake, observer) = quarantining(rabbit, &["first", "second"], Lane::Bulk).await;
    observer.wait_for_depth(&topology::lane_queue(Lane::Bulk), 0).await;
    for start in 0..3 {
        let first = next(&mut intake).await;
        assert_eq!(first.message.body, "first");
        let attributes = &first.message.attributes;
        assert_eq!((attributes.quarantined, attributes.lane), (true, Lane::Bulk), "it remembers its lane");
        assert_eq!(attributes.delivery_count, start);
        let another = tokio::time::timeout(Duration::from_millis(300), intake.next()).await;
        assert!(another.is_err(), "the second waits for the first: {another:?}");
        drop(first);
    }
    next(&mut intake).await.settlement.settle(Disposition::Done).await.expect("settled");
    let second = next(&mut intake).await;
    assert_eq!(second.message.body, "second");
    assert_eq!(second.message.attributes.delivery_count, 0, "it was never blamed for the first");
    second.settlement.settle(Disposition::Done).await.expect("settled");
    observer.wait_for_depth(topology::QUARANTINE_QUEUE, 0).await;
    assert_eq!(DeadLetters::open(&options).await.expect("opened").count().await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_message_that_only_failed_goes_back_to_its_lane_and_one_that_is_given_up_keeps_its_lane()
 {
    let test = "a_quarantined_message_that_only_failed_goes_back_to_its_lane_and_one_that_is_given_up_keeps_its_lane";
    let Some(rabbit) = Rabbit::shared(test).await else { return };
    let (options, mut intake, observer) = quarantining(rabbit, &["scan"], Lane::Volumes).await;
    let error = || JobError::new(Stage::Fetch, ErrorCode::StorageUnavailable, "away");
    let delay = Duration::from_secs(1);
    let quarantined = next(&mut intake).await;
    quarantined.settlement.settle(Disposition::RetryAfter { delay, error: error() }).await.expect("settled");
    let retried = next(&mut intake).await;
    let attributes = &retried.message.attributes;
    assert_eq!((attributes.lane, attributes.quarantined, attributes.attempt), (Lane::Volumes, false, 1));
    retried.settlement.settle(Disposition::Quarantine { started: false }).await.expect("settled");
    let quarantined = next(&mut intake).await;
    assert_eq!(quarantined.message.attributes.attempt, 1, "real failures are remembered");
    quarantined.settlement.settle(Disposition::DeadLetter { error: error() }).await.expect("settled");
    observer.wait_for_depth(topology::DEAD_QUEUE, 1).await;
    let letters = DeadLetters::open(&options).await.expect("opened").peek(1).await.expect("peeked");
    assert_eq!(letters[0].message.attributes.lane, Lane::Volumes);
    assert_eq!(letters[0].message.attributes.message_id.as_deref(), Some("scan"));
}

/// A worker's intake, its valve, and a place for what it takes.
struct Taker {
    valve: Valve,
    intake: RabbitIntake,
}

impl Taker {
    fn start(options: &RabbitOptions, permits: usize) -> Self {
        let options = RabbitOptions { permits, ..options.clone() };
        let valve = Valve::default();
        let publisher = Arc::new(Publisher::new(options.clone()));
        let courier = Courier::new(publisher, valve.clone(), None);
        Self { valve, intake: RabbitIntake::with(options, courier) }
    }

    fn pause(&self) -> Pause {
        self.valve.pause(PauseReason::Storage, "a test says so")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_with_quarantined_messages_waiting_blame_nobody() {
    const QUARANTINED: usize = 12;
    const IMAGES: usize = 60;
    let Some(rabbit) = Rabbit::shared("pauses_with_quarantined_messages_waiting_blame_nobody").await else {
        return;
    };
    let options = rabbit.declared().await;
    let publisher = Publisher::new(options.clone());
    let observer = Observer::connect(&options.url).await;
    let message =
        |body: String| Message { body: body.into(), attributes: Attributes::for_lane(Lane::Ingest) };
    for number in 0..QUARANTINED {
        publisher.announce(&message(format!("quarantined {number}"))).await.expect("confirmed");
    }
    let mut first = Taker::start(&options, QUARANTINED);
    let mut held = Vec::new();
    for _ in 0..QUARANTINED {
        held.push(next(&mut first.intake).await);
    }
    for delivery in held {
        delivery.settlement.settle(Disposition::Quarantine { started: false }).await.expect("set aside");
    }
    first.intake.stop().await;
    drop(first);
    for number in 0..IMAGES {
        publisher.announce(&message(format!("image {number}"))).await.expect("confirmed");
    }
    // Nobody asks these for deliveries: whatever they prefetch goes back at the next pause, not begun.
    let takers: Vec<_> = (0..8).map(|_| Taker::start(&options, 4)).collect();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let pauses: Vec<_> = takers.iter().map(Taker::pause).collect();
        let all = IMAGES + QUARANTINED;
        wait::until("everything to be back", || async {
            let back = observer.depth(&topology::lane_queue(Lane::Ingest)).await
                + observer.depth(topology::QUARANTINE_QUEUE).await;
            (back as usize == all).then_some(())
        })
        .await;
        drop(pauses);
    }
    drop(takers);
    let mut last = Taker::start(&options, 4);
    let mut counts = Vec::new();
    for _ in 0..IMAGES + QUARANTINED {
        let delivery = next(&mut last.intake).await;
        let attributes = &delivery.message.attributes;
        let was_quarantined = delivery.message.body.starts_with(b"quarantined");
        assert_eq!(attributes.quarantined, was_quarantined);
        // What was on its way to a consumer that was cancelled the broker itself returned and counted, before we could.
        counts.push(attributes.delivery_count);
        delivery.settlement.settle(Disposition::Done).await.expect("settled");
    }
    assert!(counts.iter().all(|count| *count <= 2), "nothing adds up over 160 pauses: {counts:?}");
    assert_eq!(observer.depth(topology::DEAD_QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_message_remembers_that_a_worker_failed_over_it_and_begins_anew_when_it_is_given_back()
{
    let Some(rabbit) = Rabbit::shared(
        "a_quarantined_message_remembers_that_a_worker_failed_over_it_and_begins_anew_when_it_is_given_back",
    )
    .await
    else {
        return;
    };
    let (_, mut intake, observer) = quarantining(rabbit, &["killer"], Lane::Ingest).await;
    // A worker that dies of it, one that fails over it, and one that gives it back at a drain.
    drop(next(&mut intake).await);
    let second = next(&mut intake).await;
    assert_eq!(second.message.attributes.delivery_count, 1);
    second.settlement.settle(Disposition::Quarantine { started: true }).await.expect("set aside");
    let third = next(&mut intake).await;
    assert_eq!((third.message.attributes.delivery_count, third.message.attributes.quarantined), (2, true));
    third.settlement.settle(Disposition::Return).await.expect("given back");
    let fourth = next(&mut intake).await;
    assert_eq!(fourth.message.attributes.delivery_count, 0, "whatever was counted, it begins anew");
    fourth.settlement.settle(Disposition::Done).await.expect("settled");
    observer.wait_for_depth(topology::QUARANTINE_QUEUE, 0).await;
}
